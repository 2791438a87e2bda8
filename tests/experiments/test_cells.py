"""Cells: what decides them, and what they hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from foolscope.attacks import FGSM, PGD
from foolscope.experiments.cells import (
    PLAIN,
    SAMPLES,
    AttackJob,
    Subject,
    block_rows,
    clean_cell,
    clean_spec,
)
from foolscope.experiments.store import cell_key
from foolscope.models.classifier import Classifier
from tests.experiments.networks import SINGULAR, Linear, Noisy, Rooted, digits, digits_lenet

JPEG = "jpeg:quality=50"


def subject(model: nn.Module, *defenses: str) -> Subject:
    return Subject.of(model, defenses, "float32", None)


def job(attack: FGSM | PGD, source: str = PLAIN, victims: tuple[str, ...] = (PLAIN,)) -> AttackJob:
    return AttackJob(attack=attack, source=source, victims=victims, seed=0, precision="float32")


def classifier(*preprocess: nn.Module) -> Classifier:
    return Classifier(Linear(), name="n", input_shape=(1, 28, 28), num_classes=10, preprocess=preprocess)


def test_blocks_cover_every_image_once() -> None:
    rows = block_rows(digits(500))
    assert rows == [slice(0, 500)]
    many = digits(500).rows(torch.arange(500).repeat(3))
    assert block_rows(many) == [slice(0, 512), slice(512, 1024), slice(1024, 1500)]


def test_a_clean_cell_by_hand() -> None:
    data, model = digits(20), Linear()
    arrays = clean_cell(subject(model, JPEG), data, (PLAIN, JPEG))
    logits = model(data.images)
    assert np.array_equal(arrays["label"], data.labels.numpy())
    assert np.array_equal(arrays["prediction_0"], logits.argmax(1).numpy())
    assert arrays["prediction_1"].shape == (20,)
    assert np.allclose(arrays["confidence"], logits.softmax(1).amax(1).detach().numpy(), atol=1e-6)
    assert not arrays["looks_like_probabilities"].any()
    assert not arrays["repeat_difference"].any()
    assert (arrays["gradient_linf"] > 0).all()


def test_images_with_broken_gradients_are_marked_in_cells() -> None:
    data = digits(6)
    pixels = data.pixels.copy()
    pixels[2, 0, 0] = SINGULAR
    marked, model = replace(data, pixels=pixels), subject(Rooted(digits_lenet()))
    assert np.flatnonzero(np.isnan(clean_cell(model, marked, (PLAIN,))["gradient_linf"])).tolist() == [2]
    arrays, _ = job(FGSM(eps=0.1)).run(model, marked, keeps_samples=True)
    assert np.flatnonzero(arrays["broken"]).tolist() == [2]
    assert np.array_equal(arrays["sample_adversarial"][2], arrays["sample_images"][2])
    assert not job(FGSM(eps=0.1)).run(model, data, keeps_samples=False)[0]["broken"].any()


def test_what_decides_a_clean_cell() -> None:
    data, model = digits(4), Linear()
    base = clean_spec(subject(model), data, (PLAIN,))
    other = Subject.of(model, (), "float64", None)
    keys = {
        cell_key(spec)
        for spec in (
            base,
            clean_spec(subject(nn.Sequential(model)), data, (PLAIN,)),
            clean_spec(subject(model), digits(5), (PLAIN,)),
            clean_spec(subject(model), data, (PLAIN, JPEG)),
            clean_spec(other, data, (PLAIN,)),
        )
    }
    assert len(keys) == 5
    assert cell_key(clean_spec(subject(Linear()), digits(4), (PLAIN,))) in keys


def test_what_decides_an_attack_cell() -> None:
    data, model = digits(4), subject(Linear(), JPEG)
    one = job(PGD(eps=0.1))
    changed: list[tuple[AttackJob, bool]] = [
        (one, True),
        (one, False),
        (job(PGD(eps=0.2)), True),
        (job(PGD(eps=0.1, steps=41)), True),
        (job(FGSM(eps=0.1)), True),
        (job(PGD(eps=0.1), JPEG, (JPEG,)), True),
        (job(PGD(eps=0.1), PLAIN, (JPEG,)), True),
        (AttackJob(attack=one.attack, source=PLAIN, victims=(PLAIN,), seed=1, precision="float32"), True),
        (AttackJob(attack=one.attack, source=PLAIN, victims=(PLAIN,), seed=0, precision="bfloat16"), True),
    ]
    keys = {cell_key(each.spec(model, data, samples)) for each, samples in changed}
    assert len(keys) == len(changed)


def test_only_where_others_look_do_images_stay_to_the_end() -> None:
    attack = PGD(eps=0.1)
    assert job(attack).executed == attack
    assert job(attack, JPEG, (JPEG,)).executed == attack
    assert job(attack, PLAIN, (JPEG,)).executed == attack.replace(early_stop=False)
    assert job(FGSM(eps=0.1), PLAIN, (JPEG,)).executed == FGSM(eps=0.1)


def test_an_attack_cell_agrees_with_the_attack_itself() -> None:
    data, model = digits(12), digits_lenet()
    arrays, info = job(FGSM(eps=0.1)).run(subject(model), data, keeps_samples=True)
    assert info["seconds"] > 0
    adversarial = torch.from_numpy(arrays["sample_adversarial"])
    assert adversarial.shape == (SAMPLES, 1, 28, 28)
    assert np.array_equal(arrays["sample_images"], data.images[:SAMPLES].numpy())
    predicted = model(adversarial).argmax(1).numpy()
    assert np.array_equal(arrays["prediction_0"][:SAMPLES], predicted)
    assert np.array_equal(arrays["success"], arrays["prediction_0"] != data.labels.numpy())
    saved = model((adversarial * 255).round() / 255).argmax(1).numpy()
    assert np.array_equal(arrays["prediction_saved_0"][:SAMPLES], saved)
    assert (arrays["linf"] <= 0.1 + 1e-6).all()
    without, _ = job(FGSM(eps=0.1)).run(subject(model), data, keeps_samples=False)
    assert not [name for name in without if name.startswith("sample_")]


def test_cells_of_a_random_model_are_repeatable_and_leave_the_random_numbers() -> None:
    data, noisy = digits(8), subject(Noisy(Linear()))

    def found() -> list[dict[str, Any]]:
        return [clean_cell(noisy, data, (PLAIN,)), job(PGD(eps=0.05, steps=2)).run(noisy, data, True)[0]]

    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = found()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    for one, other in zip(first, found(), strict=True):
        for name, values in one.items():
            assert np.array_equal(values, other[name]), name
    assert (first[0]["repeat_difference"] > 0).all()
