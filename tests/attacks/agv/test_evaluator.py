"""What a chain does to images: both success rates by hand, every query counted, refusals."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from foolscope.attacks.agv import Candidate, Evaluator
from foolscope.attacks.agv.candidate import packed, unpacked
from foolscope.defenses import FeatureSqueezing
from foolscope.errors import InputError, ParameterError
from foolscope.filters import Chain, Gingham, Juno
from foolscope.models.classifier import Classifier
from foolscope.models.engine import Engine
from tests.attacks.agv.worlds import SHAPE, Bright, Counting, colors, labeled, named, world
from tests.attacks.cases import Fixed

GRAYS = torch.tensor([0.30, 0.47, 0.49, 0.60])
LABELS = torch.tensor([0, 0, 1, 1])
BRIGHTER = Chain((Gingham(),))
"""Gingham on one gray: saturation and contrast do nothing, brightness multiplies by 1.1."""


def grays() -> Tensor:
    return GRAYS.view(4, 1, 1, 1).expand(4, 3, 2, 2).contiguous()


def above(threshold: float, name: str = "net") -> nn.Module:
    """Class 1 where an image's mean is above the threshold, else 0."""
    weight = torch.stack([torch.zeros(12), torch.ones(12)])
    model = Fixed(weight, torch.tensor([0.0, -12 * threshold]))
    return Classifier(model, name=name, input_shape=(3, 2, 2), num_classes=2)


def test_both_success_rates_by_hand() -> None:
    """Filtered: 0.33, 0.517, 0.539, 0.66.  The third was misclassified and becomes right, the second turns wrong."""
    evaluator = Evaluator(above(0.5), grays(), LABELS, detectors=Bright(0.6))
    found = evaluator.judge(BRIGHTER)
    assert found.right.tolist() == [[True, True, False, True]]
    assert found.fooled.tolist() == [[False, True, False, False]]
    assert found.changed.tolist() == [[False, True, True, False]]
    assert found.detected is not None
    assert found.detected.tolist() == [[False, False, False, True]]
    assert found.asr == pytest.approx(1 / 3)
    assert found.asr_clean == pytest.approx(2 / 4)
    assert found.detection == pytest.approx(1 / 4)
    (tally,) = found.tallies
    assert (tally.model, tally.images, tally.right, tally.fooled, tally.changed, tally.detected) == (
        ("net", 4, 3, 1, 2, 1)
    )
    assert found.distances["linf"] == pytest.approx(float(0.1 * GRAYS.mean()), rel=1e-5)
    assert found.distances["l2"] == pytest.approx(float(0.1 * GRAYS.mean()) * 12**0.5, rel=1e-5)
    assert found.chain == BRIGHTER
    assert (found.step, found.queries) == (0, 4)


@pytest.mark.parametrize(
    ("several", "asr", "asr_clean", "detection"), [("worst", 0, 0, 3 / 4), ("mean", 2 / 9, 1 / 4, 4 / 12)]
)
def test_several_models_by_hand(several: str, asr: float, asr_clean: float, detection: float) -> None:
    """Thresholds 0.5, 0.32 and 0.9: 1 of 3, 1 of 3 and 0 of 2 images are fooled, 2, 1 and 0 predictions change."""
    models = [above(0.5, "first"), above(0.32, "second"), above(0.9, "third")]
    evaluator = Evaluator(models, grays(), LABELS, detectors=[Bright(0.6), Bright(0.5), Bright(0.9)])
    found = evaluator.judge(BRIGHTER, several=several)
    assert [(tally.model, tally.right, tally.fooled, tally.changed, tally.detected) for tally in found.tallies] == [
        ("first", 3, 1, 2, 1),
        ("second", 3, 1, 1, 3),
        ("third", 2, 0, 0, 0),
    ]
    assert found.asr == pytest.approx(asr)
    assert found.asr_clean == pytest.approx(asr_clean)
    assert found.detection == pytest.approx(detection)
    assert found.queries == 12
    assert evaluator.queries.tolist() == evaluator.detections.tolist() == [[1] * 4] * 3


def test_without_a_detector_there_is_no_detection() -> None:
    found = Evaluator(above(0.5), grays(), LABELS).judge(BRIGHTER)
    assert found.detected is None
    assert found.detection is None
    assert found.tallies[0].detection is None


def test_every_query_is_counted_image_by_image() -> None:
    detector = Counting()
    model = named(0)
    evaluator = Evaluator(model, colors(6), labeled(model, colors(6)), detectors=detector)
    assert evaluator.queries.tolist() == evaluator.detections.tolist() == [[0] * 6]
    rows = torch.tensor([1, 4, 1, 1])
    known = evaluator.probabilities(evaluator.images[rows], rows)
    torch.testing.assert_close(known[0].sum(1), torch.ones(4))
    assert evaluator.queries.tolist() == [[0, 3, 0, 0, 1, 0]]
    flags = evaluator.detected(evaluator.images[rows], rows, known)
    assert flags.shape == (1, 4)
    assert detector.seen == 4
    assert evaluator.detections.tolist() == [[0, 3, 0, 0, 1, 0]]
    objective = lambda logits, index: logits.square().sum(1)  # noqa: E731
    (passed,) = evaluator.gradients(evaluator.images[rows], rows, [objective])
    assert passed.images.shape == (4, *SHAPE)
    assert evaluator.queries.tolist() == [[0, 6, 0, 0, 2, 0]]
    fresh = evaluator.fresh()
    fresh.judge(Chain((Juno(),)))
    assert fresh.queries.tolist() == [[1] * 6]
    assert evaluator.queries.tolist() == [[0, 6, 0, 0, 2, 0]], "a fresh evaluator counts for itself"


def test_a_filter_that_does_nothing_does_nothing() -> None:
    evaluator = world()
    found = evaluator.judge(Chain((Juno(strength=0.0),)), distances=("color",))
    assert (found.asr, found.asr_clean) == (0, 0)
    assert dict(found.distances) == {"linf": 0, "l2": 0, "color": 0}
    assert torch.equal(found.changed, torch.zeros(1, 12, dtype=torch.bool))


def test_the_identity_tells_what_decides_the_results_apart() -> None:
    model, pixels = named(0), colors(6)
    labels = labeled(model, pixels)

    def identity(**changes: Any) -> tuple[str, ...]:
        given = {"models": model, "images": pixels, "labels": labels, "detectors": Bright(), **changes}
        return tuple(Evaluator(**given).identity().values())

    assert identity() == identity(models=Engine(model), detectors=[Bright()])
    others = [
        identity(images=colors(6, seed=1)),
        identity(labels=(labels + 1) % 4, models=named(1)),
        identity(labels=labeled(model, pixels, wrong=1)),
        identity(models=[model, model], detectors=[Bright(), Bright()]),
        identity(detectors=Bright(0.5)),
        identity(detectors=None),
    ]
    assert len({identity(), *others}) == 7


def test_flags_as_text() -> None:
    flags = torch.tensor([[True, False, False, True, True], [False] * 5])
    assert packed(flags) == ["13", "0"]
    assert torch.equal(unpacked(["13", "0"], 5), flags)
    for text in ("13", "-1"):
        with pytest.raises(ValueError, match=r"^not 4 flags$"):
            unpacked([text], 4)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Evaluator([], grays(), LABELS), "a search needs at least one model and one image."),
        (lambda: Evaluator(above(0.5), grays()[:0], LABELS[:0]), "a search needs at least one model and one image."),
        (lambda: Evaluator(above(0.5), grays()[0], LABELS), "images must have shape (N, C, H, W) with C 1 or 3"),
        (
            lambda: Evaluator(above(0.5), grays(), LABELS[:3]),
            "labels must have shape (4,), one for each image, got (3,).",
        ),
        (lambda: Evaluator(above(0.5), grays(), LABELS + 1), "labels must be class indices from 0 to 1, found 1 to 2."),
        (
            lambda: Evaluator(above(0.5), grays(), LABELS, detectors=[Bright(), Bright()]),
            "a search needs one detector for each model, got 2 for 1.",
        ),
        (
            lambda: Evaluator([above(0.5), above(0.5)], grays(), LABELS, detectors=Bright()),
            "a search needs one detector for each model, got 1 for 2.",
        ),
        (
            lambda: Evaluator([above(0.5), above(0.7, "blind")], grays(), torch.tensor([1, 1, 1, 1])),
            "blind misclassifies all 4 images untouched: there is nothing to attack.",
        ),
    ],
)
def test_refusals(build: Callable[[], Evaluator], message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        build()


def test_a_detector_that_does_not_fit_is_found_at_once() -> None:
    model, images = named(0), colors(40)
    labels = labeled(model, images)
    detector = FeatureSqueezing(squeezers="bits:depth=3")
    message = "fs has no threshold: calibrate it on clean images"
    with pytest.raises(ParameterError, match=f"^{message}"):
        Evaluator(model, images, labels, detectors=detector)
    calibrated = detector.calibrate(named(1), images)
    with pytest.raises(InputError, match=r"^the detector was calibrated for Sequential \(\w+\), not for Sequential"):
        Evaluator(model, images, labels, detectors=calibrated)
    for fitting in (detector.replace(threshold=1.0), detector.calibrate(model, images)):
        assert Evaluator(model, images, labels, detectors=fitting).judge(BRIGHTER).detection is not None


def test_a_candidate_shows_what_matters() -> None:
    found = world().judge(BRIGHTER)
    assert isinstance(found, Candidate)
    assert "right" not in repr(found)
    assert "Gingham" in repr(found)
