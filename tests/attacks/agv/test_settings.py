"""The search's settings: the thesis' values, and refusals."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from foolscope.attacks.agv import OBJECTIVES, Evaluator, Search, Settings
from foolscope.errors import InputError, ParameterError, SpecError
from tests.attacks.agv.worlds import colors, labeled, named, settings, world
from tests.attacks.cases import network


def test_the_thesis_values_are_the_defaults() -> None:
    known = Settings()
    assert (known.filters, known.pool, known.population, known.epochs, known.batch) == (5, "thesis", 10, 3, 100)
    assert (known.samples, known.generations, known.rate, known.decay, known.mutation) == (5, 3, 0.1, 0.75, 0.5)
    assert known.objectives == ("detection",)
    assert known.rates() == pytest.approx([0.1, 0.075, 0.05625])
    assert (known.against, known.several, known.max_linf) == ("label", "worst", None)


def test_specs_build_the_same_again() -> None:
    known = Settings(objective="linf,color", pool="juno,lark", max_linf=0.5, strategy="plain")
    assert Settings.from_spec(known.spec()) == known
    assert known.objectives == known.distances == ("linf", "color")
    assert Settings(objective="linf, detection").distances == ("linf",)


OBJECTIVE = f"agv: objective must be one or several of {', '.join(OBJECTIVES)}, each once, got"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"filters": 0}, ParameterError, "agv: filters must be between 1 and 10, got 0."),
        ({"filters": 11}, ParameterError, "agv: filters must be between 1 and 10, got 11."),
        ({"population": 1}, ParameterError, "agv: population must be between 2 and 1000, got 1."),
        ({"epochs": 0}, ParameterError, "agv: epochs must be between 1 and 10000, got 0."),
        ({"epochs": 10_001}, ParameterError, "agv: epochs must be between 1 and 10000, got 10001."),
        ({"batch": 0}, ParameterError, "agv: batch must be at least 1, got 0."),
        ({"samples": 1}, ParameterError, "agv: samples must be at least 2, got 1."),
        ({"generations": -1}, ParameterError, "agv: generations must be at least 0, got -1."),
        ({"rate": -0.1}, ParameterError, "agv: rate must be at least 0, got -0.1."),
        ({"decay": 1.5}, ParameterError, "agv: decay must be between 0 and 1, got 1.5."),
        ({"mutation": 1.01}, ParameterError, "agv: mutation must be between 0 and 1, got 1.01."),
        ({"max_linf": 2}, ParameterError, "agv: max_linf must be between 0 and 1, got 2."),
        ({"pool": "thesis,juno"}, SpecError, "unknown filter 'thesis'."),
        ({"pool": "juno,juno"}, ParameterError, "agv: pool must name each filter once, got 'juno,juno'."),
        ({"objective": "speed"}, ParameterError, f"{OBJECTIVE} 'speed'."),
        ({"objective": "linf,linf"}, ParameterError, f"{OBJECTIVE} 'linf,linf'."),
        ({"objective": ""}, ParameterError, f"{OBJECTIVE} ''."),
        ({"against": "truth"}, ParameterError, "agv: against must be one of label, prediction, got 'truth'."),
        ({"several": "best"}, ParameterError, "agv: several must be one of worst, mean, got 'best'."),
        (
            {"strategy": "random"},
            ParameterError,
            "agv: strategy must be one of racing, gradient, plain, got 'random'.",
        ),
    ],
)
def test_settings_out_of_range(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        Settings(**changes)


def test_an_objective_without_what_it_needs() -> None:
    message = (
        "the objective 'detection' needs a detector for each model: give the evaluator detectors, or choose a "
        "distance, such as objective=linf."
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        Search(settings(), world(detectors=False))
    message = "the objective 'ssim' needs a function: Evaluator(distances={'ssim': ...})."
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        Search(settings(objective="ssim"), world())


def test_filters_that_color_are_refused_on_gray_images() -> None:
    images, model = colors(6, shape=(1, 5, 5)), network("conv", (1, 5, 5), 0)
    evaluator = Evaluator(model, images, labeled(model, images, wrong=0))
    with pytest.raises(InputError, match=r"would color gray images; gingham, juno, lark, stinson do not\.$"):
        Search(settings(objective="linf"), evaluator).step()
    search = Search(settings(objective="linf", pool="gingham,juno,lark"), evaluator)
    assert search.run().candidates


def test_the_search_does_not_touch_the_model_or_the_images() -> None:
    model, images = named(0).train(), colors(6)
    before = images.clone(), [p.clone() for p in model.parameters()], torch.get_rng_state()
    evaluator = Evaluator(model, images, labeled(model, images))
    Search(settings(objective="linf"), evaluator).run()
    assert model.training
    assert torch.equal(images, before[0])
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before[1], strict=True))
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), before[2])
    assert evaluator.queries.sum() == 0
