"""Feature squeezing on models whose scores are known, calibration, what is saved, and ROC against scikit-learn."""

from __future__ import annotations

import copy
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor, nn

from foolscope import measure
from foolscope.attacks import Untargeted, parse_attack
from foolscope.data import load_data
from foolscope.defenses import (
    DETECTORS,
    CalibratedDetector,
    Detector,
    FeatureSqueezing,
    halves,
    parse_defense,
    parse_detector,
    roc,
    threshold_at,
)
from foolscope.errors import CorruptError, FoolscopeError, InputError, MissingError, ParameterError, SpecError
from foolscope.models import load_model
from foolscope.models.engine import Engine
from tests.support import needs_data

SLOPE = 3.0


class Brightness(nn.Module):
    """Two logits: `SLOPE` times the mean of the image, and 0.  Counts the images that it sees."""

    slope: Tensor

    def __init__(self, slope: float = SLOPE, name: str = "brightness") -> None:
        super().__init__()
        self.register_buffer("slope", torch.tensor(slope))
        self.name = name
        self.seen = 0

    def forward(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        first = self.slope * images.flatten(1).mean(1)
        return torch.stack([first, torch.zeros_like(first)], 1)


class BlackBox(nn.Module):
    """Logits from a file, as an ONNX graph has them: no parameters, but a digest."""

    differentiable = False

    def __init__(self, digest: str) -> None:
        super().__init__()
        self.digest = digest

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :2]


def flat(*values: float) -> Tensor:
    """Gray images of one level each."""
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()


def confidence(value: float) -> float:
    """The first class's probability."""
    return 1 / (1 + math.exp(-SLOPE * value))


def calibrated(**changes: Any) -> CalibratedDetector:
    detector = parse_detector("fs:squeezers=(bits:depth=1)")
    return detector.calibrate(Brightness(**changes), flat(*torch.linspace(0, 0.4, 100).tolist()))


@pytest.mark.parametrize(("value", "rounded"), [(0.0, 0.0), (0.2, 0.0), (0.4, 0.0), (0.6, 1.0), (0.9, 1.0)])
def test_the_score_is_the_l1_distance_of_the_probabilities(value: float, rounded: float) -> None:
    got = parse_detector("fs:squeezers=(bits:depth=1)").score(Brightness(), flat(value))
    assert got.tolist() == pytest.approx([2 * abs(confidence(value) - confidence(rounded))], abs=1e-6)


def test_the_largest_distance_counts_of_all_squeezers() -> None:
    images = torch.cat([flat(0.2, 0.45, 0.7), torch.eye(4).view(1, 1, 4, 4)])
    singles = ("bits:depth=1", "bits:depth=2", "median:size=3")
    scores = torch.stack([parse_detector(f"fs:squeezers=({one})").score(Brightness(), images) for one in singles])
    together = parse_detector(f"fs:squeezers=({';'.join(singles)})").score(Brightness(), images)
    assert torch.equal(together, scores.amax(0))
    assert scores.argmax(0).tolist() == [0, 0, 0, 2]  # the median wipes out a thin line, which bits leave alone


def test_a_squeezer_can_be_a_chain() -> None:
    images = torch.rand(5, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    score = parse_detector("fs:squeezers=(median:size=3|bits:depth=2)").score(Brightness(), images)
    squeezed = parse_defense("median:size=3|bits:depth=2")(images)
    change = Brightness()(images).softmax(1) - Brightness()(squeezed).softmax(1)
    assert torch.equal(score, change.abs().sum(1))


def test_known_probabilities_save_a_pass() -> None:
    images, detector = flat(0.1, 0.3, 0.8), parse_detector("fs:squeezers=(bits:depth=1;median)")
    model, other = Brightness(), Brightness()
    plain = detector.score(Engine(model, chunk=2), images)
    known = detector.score(Engine(other, chunk=2), images, other(images).softmax(1))
    assert torch.equal(known, plain)
    assert torch.equal(detector.score(Brightness(), images), plain)


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        (torch.ones(2, 2) / 2, "probabilities must have shape (3, K), one row an image, got (2, 2)."),
        (torch.ones(3), "probabilities must have shape (3, K), one row an image, got (3,)."),
        (torch.ones(3, 5) / 5, "probabilities are of 5 classes, brightness has 2."),
    ],
)
def test_probabilities_that_do_not_fit(probabilities: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        parse_detector("fs").score(Brightness(), flat(0.1, 0.2, 0.3), probabilities)


def test_images_that_break_the_contract() -> None:
    with pytest.raises(InputError, match=r"^images must be in \[0, 1\], found values from 2 to 2"):
        parse_detector("fs").score(Brightness(), flat(2.0))


def test_no_images_have_no_scores() -> None:
    assert parse_detector("fs:threshold=1").detects(Brightness(), flat()).shape == (0,)


@pytest.mark.parametrize(
    ("shape", "squeezers"),
    [
        ((1, 28, 28), "bits:depth=1;median"),
        ((1, 224, 224), "bits:depth=1;median"),
        ((3, 32, 32), "bits;median;nlm"),
        ((200, 3, 64, 64), "bits;median;nlm"),
        ((3, 224, 224), "bits;median;nlm:search=11,strength=4"),
        ((3, 32, 65), "bits;median;nlm:search=11,strength=4"),
        ((3, None, None), "bits;median;nlm:search=11,strength=4"),
    ],
)
def test_the_papers_squeezers(shape: tuple[int | None, ...], squeezers: str) -> None:
    usual = FeatureSqueezing.usual(shape)
    assert usual.squeezers == squeezers
    assert parse_detector("fs").resolved(shape) == usual
    assert usual.resolved((1, 2, 3)) == usual
    assert ";".join(defense.spec() for defense in parse_detector("fs").defenses(shape)) == squeezers


def test_usual_goes_by_the_images() -> None:
    images = flat(0.2, 0.4)
    gray = parse_detector("fs:squeezers=(bits:depth=1;median)").score(Brightness(), images)
    assert torch.equal(parse_detector("fs").score(Brightness(), images), gray)
    color = images.expand(-1, 3, -1, -1)
    assert not torch.equal(parse_detector("fs").score(Brightness(), color), gray)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("fs", "fs"),
        ("fs:threshold=1.5", "fs:threshold=1.5"),
        ("fs:squeezers=(bits:depth=5;median:size=2)", "fs:squeezers=bits;median"),
        ("fs:squeezers=(nlm:search=13,patch=3,strength=2.5)", "fs:squeezers=(nlm:strength=2.5)"),
        ("fs:squeezers=(jpeg|bits;median:size=3),threshold=0", "fs:squeezers=(jpeg|bits;median:size=3),threshold=0"),
    ],
)
def test_specs(text: str, spec: str) -> None:
    detector = parse_detector(text)
    assert detector.spec() == spec
    assert parse_detector(spec) == detector
    assert list(DETECTORS) == ["fs"]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("sf", SpecError, "unknown detector 'sf'. Did you mean fs? 'foolscope detectors' lists all."),
        ("fs:treshold=1", SpecError, "fs has no parameter 'treshold'. Did you mean threshold? 'foolscope detectors fs' "
         "lists all."),
        ("fs:threshold=3", ParameterError, "fs: threshold must be between 0 and 2, got 3."),
        ("fs:squeezers=(bit:depth=2)", SpecError, "unknown defense 'bit'. Did you mean bits? 'foolscope defenses' "
         "lists all."),
        ("fs:squeezers=(median:size=9)", ParameterError, "median: size must be between 2 and 7, got 9."),
        ("fs:squeezers=(bits;)", SpecError, "malformed spec '': expected NAME or NAME:KEY=VALUE,KEY=VALUE."),
        (f"fs:squeezers=({';'.join(['bits'] * 33)})", ParameterError, "fs: there can be at most 32 squeezers, got 33."),
    ],
)  # fmt: skip
def test_bad_specs(text: str, error: type[FoolscopeError], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        parse_detector(text)


def test_detects_by_the_threshold() -> None:
    images = flat(0.0, 0.2, 0.4)  # scores 0, 0.29, 0.54
    detector: Detector = parse_detector("fs:squeezers=(bits:depth=1),threshold=0.4")
    assert detector.detects(Brightness(), images).tolist() == [False, False, True]
    exact = FeatureSqueezing(squeezers="bits:depth=1", threshold=float(detector.score(Brightness(), images)[1]))
    assert exact.detects(Brightness(), images).tolist() == [False, False, True]


def test_detecting_needs_a_threshold() -> None:
    message = (
        "fs has no threshold: calibrate it on clean images ('foolscope detector MODEL --data DATA'), or give one as in "
        "'fs:threshold=1.75'."
    )
    with pytest.raises(ParameterError, match=f"^{re.escape(message)}$"):
        parse_detector("fs").detects(Brightness(), flat(0.1))


@pytest.mark.parametrize(
    ("scores", "rate", "threshold"),
    [
        (range(100), 0.05, 94),
        (range(99), 0.05, 94),  # four may exceed it
        (range(20), 0.05, 18),
        (range(100), 0.29, 70),
        ([0.0] * 90 + [1.0] * 10, 0.05, 1),  # the ten that are equal are all let through
        ([0.0] * 90 + [1.0] * 10, 0.1, 0),
        ([3.0, 1.0, 2.0, 0.0], 0.5, 1),
        ([3.0, 1.0, 2.0, 0.0], 0.99, 0),
    ],
)
def test_the_threshold_at_a_rate(scores: Any, rate: float, threshold: float) -> None:
    values = torch.tensor([float(score) for score in scores])
    assert threshold_at(values, rate) == threshold
    assert threshold_at(values.flip(0), rate) == threshold


@settings(max_examples=200, deadline=None)
@given(scores=st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.7, 1.3, 2.0]) | st.floats(0, 2, width=32), min_size=1),
       rate=st.floats(0.01, 0.99))  # fmt: skip
def test_the_threshold_is_the_smallest_score_that_keeps_the_rate(scores: list[float], rate: float) -> None:
    values = torch.tensor(scores)
    if len(scores) * rate < 1:
        with pytest.raises(InputError):
            threshold_at(values, rate)
        return
    threshold = threshold_at(values, rate)
    assert (values > threshold).sum() <= rate * len(scores) + 1e-9
    lower = [score for score in values.tolist() if score < threshold]
    assert not lower or (values > max(lower)).sum() > rate * len(scores)


@pytest.mark.parametrize(
    ("scores", "rate", "error", "message"),
    [
        (torch.zeros(9), 0.0, ParameterError, "the rate of false positives must be between 0 and 1, got 0."),
        (torch.zeros(9), 1.0, ParameterError, "the rate of false positives must be between 0 and 1, got 1."),
        (torch.zeros(9), math.nan, ParameterError, "the rate of false positives must be between 0 and 1, got nan."),
        (torch.zeros(19), 0.05, InputError, "a rate of 0.05 needs at least 20 clean images, got 19."),
        (torch.tensor([0.0, math.nan]), 0.5, InputError, "clean scores must be finite numbers of shape (N,), at least "
         "one, got NaN or infinity among them."),
    ],
)  # fmt: skip
def test_thresholds_that_cannot_be_found(scores: Tensor, rate: float, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        threshold_at(scores, rate)


def test_calibration_at_five_percent_on_known_scores() -> None:
    values = torch.linspace(0, 0.4, 100)  # the brighter, the higher the score
    found = calibrated()
    assert found.threshold == pytest.approx(2 * (confidence(float(values[94])) - 0.5), abs=1e-6)
    detected = found.detects(Brightness(), flat(*values.tolist()))
    assert detected.tolist() == [False] * 95 + [True] * 5
    assert (found.model, found.images, found.rate) == ("brightness", 100, 0.05)
    assert found.detector.squeezers == "bits:depth=1"
    assert torch.equal(found.score(Brightness(), flat(0.3)), found.detector.score(Brightness(), flat(0.3)))


def test_calibration_resolves_the_usual_squeezers_and_takes_known_probabilities() -> None:
    images, model = flat(*torch.linspace(0, 0.4, 40).tolist()), Brightness()
    found = parse_detector("fs:threshold=2").calibrate(model, images)
    assert found.detector.squeezers == "bits:depth=1;median"
    assert found.threshold < 2
    assert parse_detector("fs").calibrate(Engine(model), images, probabilities=model(images).softmax(1)) == found


def test_the_calibration_is_for_one_model() -> None:
    found, images = calibrated(), flat(0.1, 0.3)
    twin = copy.deepcopy(Brightness())
    twin.name = "called otherwise"
    for same in (Brightness(), twin, Engine(Brightness())):
        found.check(same)
        assert found.detects(same, images).shape == (2,)
    other = Brightness(slope=3.5, name="steeper")
    theirs = calibrated(slope=3.5).model_digest[:12]
    message = (
        f"the detector was calibrated for brightness ({found.model_digest[:12]}), not for steeper ({theirs}): "
        "calibrate it for that model."
    )
    for wrong in (other, Engine(other)):
        with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
            found.detects(wrong, images)


def test_the_digest_sees_changed_weights_other_code_and_other_files() -> None:
    found, model = calibrated(), Brightness()
    found.check(model)
    model.slope += 1
    with pytest.raises(InputError, match="calibrated for brightness"):
        found.check(model)
    with pytest.raises(InputError, match="calibrated for brightness"):
        found.check(nn.Sequential(Brightness()))
    images = torch.rand(20, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    black = parse_detector("fs").calibrate(BlackBox("a"), images)
    black.check(BlackBox("a"))
    with pytest.raises(InputError, match="calibrated for BlackBox"):
        black.check(BlackBox("b"))


def test_the_data_digest_is_that_of_the_pixels() -> None:
    detector, images = parse_detector("fs"), flat(*torch.linspace(0, 0.4, 30).tolist())
    digest = detector.calibrate(Brightness(), images).data_digest
    assert detector.calibrate(Brightness(), images.clone()).data_digest == digest
    assert detector.calibrate(Brightness(), images.flip(0)).data_digest != digest
    assert detector.calibrate(Brightness(), images.view(30, 1, 2, 8)).data_digest != digest


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    found = calibrated()
    assert CalibratedDetector.from_json(json.dumps(found.to_json())) == found
    found.save(tmp_path / "new" / "detector.json")
    assert CalibratedDetector.load(tmp_path / "new" / "detector.json") == found
    assert found.to_json() == {
        "schema": "foolscope-detector/1",
        "detector": found.detector.spec(),
        "model": {"name": "brightness", "digest": found.model_digest},
        "data": {"digest": found.data_digest, "images": 100},
        "rate": 0.05,
    }


@settings(max_examples=50, deadline=None)
@given(threshold=st.floats(0, 2), rate=st.floats(0.001, 0.999), images=st.integers(1, 10**9))
def test_every_number_comes_back_as_it_was(threshold: float, rate: float, images: int) -> None:
    found = CalibratedDetector(
        detector=FeatureSqueezing(squeezers="bits|jpeg;nlm:strength=3", threshold=threshold),
        model="résnet",
        model_digest="a" * 64,
        data_digest="0" * 64,
        images=images,
        rate=rate,
    )
    assert CalibratedDetector.from_json(json.dumps(found.to_json()).encode()) == found


def spoiled(*path: str, value: Any) -> str:
    """A saved detector with one value replaced, or removed where the value is `...`."""
    record: Any = calibrated().to_json()
    inner = record
    for key in path[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return json.dumps(record)


NOT_JSON = "it is not valid JSON."
WHOLE = "the whole must be an object with schema, detector, model, data, rate."
NUMBERS = "images must be a whole number from 1 on, and rate a number between 0 and 1."
DIGESTS = "digests must be 64 hexadecimal digits."
MANY = "fs: there can be at most 32 squeezers, got 500."
TEXTS = "detector and model name must be one line of at most 4,000 characters."


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", NOT_JSON),
        ("{", NOT_JSON),
        (b"\xff\xfe\x00", NOT_JSON),
        (b"\x80\x04\x95pickle", NOT_JSON),
        ("[" * 30_000, NOT_JSON),
        ('{"a":' * 10_000, NOT_JSON),
        ("9" * 20_000, NOT_JSON),
        ("null", WHOLE),
        ("[]", WHOLE),
        ("3", WHOLE),
        (spoiled("rate", value=...), WHOLE),
        (spoiled("more", value=1), WHOLE),
        (spoiled("model", value=["name", "digest"]), "model must be an object with name, digest."),
        (spoiled("data", value="digest"), "data must be an object with digest, images."),
        (spoiled("schema", value="foolscope-detector/2"), "its schema is not foolscope-detector/1."),
        (spoiled("detector", value=7), TEXTS),
        (spoiled("detector", value="fs:threshold=1\nfs"), TEXTS),
        (spoiled("model", "name", value="\x1b[2J"), TEXTS),
        (spoiled("model", "digest", value="abc"), DIGESTS),
        (spoiled("data", "digest", value=None), DIGESTS),
        (spoiled("data", "images", value=0), NUMBERS),
        (spoiled("data", "images", value=True), NUMBERS),
        (spoiled("data", "images", value=1.5), NUMBERS),
        (spoiled("rate", value=1), NUMBERS),
        (spoiled("rate", value=1.0), NUMBERS),
        (spoiled("rate", value=math.nan), NUMBERS),
        (spoiled("rate", value=math.inf), NUMBERS),
        (spoiled("detector", value="fs"), "its detector must name squeezers and a threshold."),
        (spoiled("detector", value="fs:threshold=1"), "its detector must name squeezers and a threshold."),
        (spoiled("detector", value="fs:squeezers=bits"), "its detector must name squeezers and a threshold."),
        (spoiled("detector", value="fs:threshold=1e999"), "fs: threshold must be between 0 and 2, got inf."),
        (spoiled("detector", value="pickle:x"), "unknown detector 'pickle'. 'foolscope detectors' lists all."),
        (spoiled("detector", value=f"fs:threshold=1,squeezers=({';'.join(['bits'] * 10_000)})"), TEXTS),
        (spoiled("detector", value=f"fs:threshold=1,squeezers=({';'.join(['bits'] * 500)})"), MANY),
    ],
)  # fmt: skip
def test_hostile_files_are_refused(text: str | bytes, reason: str, tmp_path: Path) -> None:
    message = f"not a saved detector: {reason}"
    with pytest.raises(CorruptError, match=f"^detector: {re.escape(message)}$"):
        CalibratedDetector.from_json(text)
    path = tmp_path / "detector.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CorruptError, match=f"^{re.escape(f'{path}: {message}')}$"):
        CalibratedDetector.load(path)


def test_large_files_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "detector.json"
    path.write_bytes(b" " * 70_000)
    with pytest.raises(CorruptError, match=r"detector\.json: a saved detector has at most 65,536 bytes, this more\.$"):
        CalibratedDetector.load(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    message = f"{tmp_path / 'none.json'}: no such file; 'foolscope detector' makes one with --out."
    with pytest.raises(MissingError, match=f"^{re.escape(message)}$"):
        CalibratedDetector.load(tmp_path / "none.json")
    with pytest.raises(CorruptError, match=f"^{re.escape(str(tmp_path))}: cannot be read \\(Is a directory\\)\\.$"):
        CalibratedDetector.load(tmp_path)


@pytest.mark.parametrize("count", [2, 3, 10, 1001])
def test_halves_share_nothing_and_miss_nothing(count: int) -> None:
    first, second = halves(count, seed=4)
    assert torch.equal(torch.cat([first, second]).sort().values, torch.arange(count))
    assert len(first) - len(second) == count % 2
    for rows, again in zip((first, second), halves(count, seed=4), strict=True):
        assert torch.equal(rows, rows.sort().values)
        assert torch.equal(rows, again)
    assert count < 10 or not torch.equal(first, halves(count, seed=5)[0])


def test_one_image_has_no_halves() -> None:
    with pytest.raises(ParameterError, match=r"^two halves need at least 2 images, got 1\.$"):
        halves(1)


@pytest.mark.parametrize(
    ("clean", "adversarial", "area"),
    [([0.0, 0.1], [0.5, 0.9], 1.0), ([0.5, 0.9], [0.0, 0.1], 0.0), ([0.3], [0.3], 0.5), ([0.0, 1.0], [0.5], 0.5)],
)
def test_roc_by_hand(clean: list[float], adversarial: list[float], area: float) -> None:
    curve = roc(torch.tensor(clean), torch.tensor(adversarial))
    assert curve.auc == area
    ends = [(float(x[0]), float(x[-1])) for x in (curve.false_positive, curve.true_positive)]
    assert ends == [(0, 1), (0, 1)]


SCORES = st.lists(st.integers(0, 9).map(lambda n: n / 8) | st.floats(0, 2, width=32), min_size=1, max_size=40)


@settings(max_examples=200, deadline=None)
@given(clean=SCORES, adversarial=SCORES)
def test_roc_is_scikit_learns(clean: list[float], adversarial: list[float]) -> None:
    first, second = torch.tensor(clean), torch.tensor(adversarial)
    curve = roc(first, second)
    truth, scores = [0] * len(clean) + [1] * len(adversarial), [*first.tolist(), *second.tolist()]
    false_positive, true_positive, thresholds = roc_curve(truth, scores, drop_intermediate=False)
    assert curve.false_positive.tolist() == pytest.approx(false_positive.tolist(), abs=1e-12)
    assert curve.true_positive.tolist() == pytest.approx(true_positive.tolist(), abs=1e-12)
    # Theirs are the lowest scores that are detected, ours the highest that are not.
    assert curve.thresholds[:-1].tolist() == thresholds[1:].tolist()
    assert float(curve.thresholds[-1]) == -math.inf
    assert curve.auc == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    for threshold, share in zip(curve.thresholds, curve.true_positive, strict=True):
        assert float((second > threshold).double().mean()) == pytest.approx(float(share), abs=1e-12)


@pytest.mark.parametrize(
    ("clean", "adversarial", "message"),
    [
        (torch.zeros(0), torch.zeros(1), "clean scores {}, got shape (0,)."),
        (torch.zeros(1), torch.zeros(1, 1), "adversarial scores {}, got shape (1, 1)."),
        (torch.zeros(1), torch.tensor([math.inf]), "adversarial scores {}, got NaN or infinity among them."),
    ],
)
def test_scores_without_a_curve(clean: Tensor, adversarial: Tensor, message: str) -> None:
    whole = message.format("must be finite numbers of shape (N,), at least one")
    with pytest.raises(InputError, match=f"^{re.escape(whole)}$"):
        roc(clean, adversarial)


@needs_data
def test_on_cifar_the_rate_holds_and_attacks_are_told_apart() -> None:
    data = load_data("cifar10", limit=1000)
    engine = Engine(load_model("cifar-cnn", data.task))
    first, second = (data.rows(rows) for rows in halves(len(data)))
    found = parse_detector("fs").calibrate(engine, first.images)
    assert found.detector.squeezers == "bits;median;nlm"
    clean = found.score(engine, second.images)
    rate = measure.accuracy(clean > found.threshold)
    assert rate.low <= 0.05 <= rate.high
    some = second.rows(slice(200))
    areas = []
    for attack in ("fgsm:eps=8/255", "pgd:eps=8/255,steps=10"):
        result = parse_attack(attack)(engine, some.images, Untargeted(some.labels))
        fooling = result.images[result.success & ~result.already]
        areas.append(roc(clean, found.score(engine, fooling)).auc)
    assert areas[0] > 0.65  # both have hardly any chance to come out so high from a detector that knows nothing
    assert areas[1] > 0.85
