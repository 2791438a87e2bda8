"""`foolscope detector`: calibrate a detector for a model, judge it on attacks, or look at image files with it."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foolscope.cli import console
from foolscope.cli.options import Device, Json, Limit, Offline, Seed, Split

if TYPE_CHECKING:
    from torch import Tensor

    from foolscope.attacks import Attack, Progress
    from foolscope.data import ImageSet
    from foolscope.defenses.detector import CalibratedDetector
    from foolscope.models.engine import Engine

_DETECTOR, _RATE = "fs", 0.05


def detector(
    model: Annotated[str, typer.Argument(help="Model: 'foolscope models' lists them.")],
    images: Annotated[
        list[Path] | None, typer.Argument(help="Image files, or folders of them, to look at with --use.")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="Clean images: one half to calibrate on, the other to judge by.")
    ] = None,
    detector: Annotated[
        str, typer.Option("--detector", help="Detector to calibrate: 'foolscope detectors' lists them.")
    ] = _DETECTOR,
    rate: Annotated[float, typer.Option("--rate", help="Share of clean images that may be detected.")] = _RATE,
    attack: Annotated[
        list[str] | None, typer.Option("--attack", help="Judge it on this attack's images. May be repeated.")
    ] = None,
    use: Annotated[
        Path | None, typer.Option("--use", help="A detector that --out wrote; then all of --data judges it.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="JSON file to write the calibrated detector to.")] = None,
    split: Split = "test",
    limit: Limit = None,
    seed: Seed = 0,
    device: Device = None,
    offline: Offline = False,
    json: Json = False,
) -> None:
    """Calibrate a detector of adversarial images and judge it, or look at image files with a calibrated one.

    Says which share of clean images that it was not calibrated on it takes for adversarial, and of the images that fool
    the model under each attack, with 95 % intervals, and the area under the ROC curve.
    """
    from foolscope.attacks import parse_attack
    from foolscope.cli.options import check_device, check_folder
    from foolscope.defenses.detector import CalibratedDetector, halves, parse_detector
    from foolscope.errors import SpecError

    console.log_to_stderr()
    check_device(device)
    if bool(images) == bool(data):
        raise SpecError("name a data set with --data, or image files to look at: one of the two.")
    if images and (limit is not None or split != "test"):
        raise SpecError("--limit and --split are for --data: leave them out with image files.")
    if images and (use is None or attack):
        raise SpecError("image files are looked at with a saved detector, --use FILE, and without --attack.")
    if use and (out or detector != _DETECTOR or rate != _RATE):
        raise SpecError("--use takes the detector as it was saved: leave out --detector, --rate and --out.")
    chosen = parse_detector(detector)
    if chosen.threshold is not None:
        raise SpecError(f"calibrating finds the threshold: leave it out of --detector '{detector}'.")
    attacks = [parse_attack(spec) for spec in attack or ()]
    if out is not None:
        check_folder(out.parent)
    saved = CalibratedDetector.load(use) if use else None
    if saved is not None and images:
        _look(saved, _engine(model, device, offline), images, json)
        return
    assert data is not None
    engine, loaded = _with_data(model, data, split, limit, seed, device, offline)
    if saved is None:
        first, second = halves(len(loaded), seed)
        calibrated = chosen.calibrate(engine, loaded.rows(first).images, rate)
        loaded = loaded.rows(second)
    else:
        calibrated = saved
        calibrated.check(engine)
    record = _judged(calibrated, engine, loaded, attacks, seed)
    if out is not None:
        calibrated.save(out)
    _print_judged(record, calibrated, json)
    if out is not None:
        console.say(f"Detector: {out.resolve()}")


def _engine(model: str, device: str | None, offline: bool) -> Engine:
    from foolscope.models import load_model
    from foolscope.models.engine import Engine

    return Engine(load_model(model, offline=offline), device=device)


def _with_data(
    model: str, data: str, split: str, limit: int | None, seed: int, device: str | None, offline: bool
) -> tuple[Engine, ImageSet]:
    from foolscope.data import load_data
    from foolscope.models import load_model
    from foolscope.models.engine import Engine

    loaded = load_data(data, split, limit, seed, offline=offline)
    network = load_model(model, loaded.task, offline=offline)
    loaded = loaded.aligned_to(network)
    loaded.check_against(network)
    return Engine(network, device=device), loaded


def _judged(
    calibrated: CalibratedDetector, engine: Engine, data: ImageSet, attacks: list[Attack], seed: int
) -> dict[str, Any]:
    """What the detector does on clean images and on those that attacks have made of them."""
    from foolscope.attacks import Untargeted
    from foolscope.randomness import generator

    images = data.images
    clean = calibrated.score(engine, images)
    record: dict[str, Any] = {
        "detector": calibrated.to_json(),
        "model": engine.info.name,
        "data": {"spec": data.name, "split": data.split, "images": len(data), "digest": data.digest},
        "seed": seed,
        "clean": _share(clean > calibrated.threshold),
        "attacks": [],
    }
    with console.progress() as shown:
        for attack in attacks:
            task = shown.add_task(attack.spec(), total=1.0)

            def watch(p: Progress, task: Any = task) -> None:
                console.check_interrupt()
                shown.update(task, completed=(p.done + p.active * p.step / p.steps) / p.total)

            result = attack(engine, images, Untargeted(data.labels), rng=generator(seed), watch=watch)
            fooled = result.success & ~result.already
            record["attacks"].append(_judged_attack(calibrated, engine, attack.spec(), clean, result.images[fooled]))
    return record


def _judged_attack(
    calibrated: CalibratedDetector, engine: Engine, attack: str, clean: Tensor, fooling: Tensor
) -> dict[str, Any]:
    from foolscope.defenses.detector import roc

    if not len(fooling):
        return {"attack": attack, "fooled": 0, "detected": None, "auc": None, "roc": None}
    scores = calibrated.score(engine, fooling)
    curve = roc(clean, scores)
    return {
        "attack": attack,
        "fooled": len(fooling),
        "detected": _share(scores > calibrated.threshold),
        "auc": curve.auc,
        "roc": {
            "false_positive": curve.false_positive.tolist(),
            "true_positive": curve.true_positive.tolist(),
            "thresholds": [*curve.thresholds[:-1].tolist(), None],  # JSON has no minus infinity
        },
    }


def _share(flags: Tensor) -> dict[str, Any]:
    from foolscope.measure import accuracy

    share = accuracy(flags)
    return {
        "successes": share.successes,
        "trials": share.trials,
        "value": share.value,
        "low": share.low,
        "high": share.high,
    }


def _print_judged(record: dict[str, Any], calibrated: CalibratedDetector, json: bool) -> None:
    if json:
        console.print_json(record)
        return
    out = console.stdout()
    out.print(f"{calibrated.detector.spec()} for {calibrated.model}", style="bold", markup=False)
    calibration = (
        f"calibrated on {calibrated.images:,} clean images to detect {100 * calibrated.rate:g} % of them at most"
    )
    out.print(f"threshold {calibrated.threshold:.4g}, {calibration}", markup=False)
    made = console.table("images", ">number", ">detected %", ">95 % interval", ">AUC")
    made.add_row("clean", *_numbers(record["clean"]), "")
    for row in record["attacks"]:
        if row["detected"] is None:
            made.add_row(f"{row['attack']}, none that fools", "0", "", "", "")
        else:
            made.add_row(f"{row['attack']}, those that fool", *_numbers(row["detected"]), f"{row['auc']:.4f}")
    out.print(made)


def _numbers(share: dict[str, Any]) -> tuple[str, str, str]:
    interval = f"{100 * share['low']:.1f} to {100 * share['high']:.1f}"
    return f"{share['trials']:,}", f"{100 * share['value']:.1f}", interval


def _look(calibrated: CalibratedDetector, engine: Engine, paths: list[Path], json: bool) -> None:
    """Score image files."""
    calibrated.check(engine)
    files = [file for path in paths for file in _files(path)]
    scores, predictions = _scores(calibrated, engine, files)
    names = engine.info.class_names
    rows: list[dict[str, Any]] = [
        {
            "file": str(file),
            "score": score,
            "detected": score > calibrated.threshold,
            "prediction": names[prediction] if names else str(prediction),
        }
        for file, score, prediction in zip(files, scores, predictions, strict=True)
    ]
    if json:
        console.print_json({"detector": calibrated.to_json(), "images": rows})
        return
    made = console.table("file", "prediction", ">score", "detected")
    for row in rows:
        made.add_row(row["file"], row["prediction"], f"{row['score']:.4f}", "yes" if row["detected"] else "no")
    console.stdout().print(made)
    console.say(f"detected: score above {calibrated.threshold:.4f}")


def _files(path: Path) -> list[Path]:
    """The file, or the image files of the folder, sorted.  Raises `MissingError` for a folder without any."""
    from foolscope.errors import MissingError

    if not path.is_dir():
        return [path]
    found = sorted(
        f for f in path.iterdir() if (mimetypes.guess_type(f.name, strict=False)[0] or "").startswith("image/")
    )
    if not found:
        raise MissingError(f"{path}: no image files in this folder.")
    return found


def _scores(calibrated: CalibratedDetector, engine: Engine, files: list[Path]) -> tuple[list[float], list[int]]:
    """Scores and predictions, images of one size together."""
    from foolscope.images import batches_by_size, decode_image

    shape = engine.info.input_shape
    decoded = [decode_image(file, shape[0] if shape else None) for file in files]
    scores, predictions = [0.0] * len(files), [0] * len(files)
    for places, images in batches_by_size(decoded):
        probabilities = engine.logits(images).softmax(1)
        found = calibrated.score(engine, images, probabilities).tolist()
        for place, score, prediction in zip(places, found, probabilities.argmax(1).tolist(), strict=True):
            scores[place], predictions[place] = score, prediction
    return scores, predictions
