"""`foolscope attack`: images in, adversarial PNGs out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foolscope.cli import console
from foolscope.cli.options import Device, Folder, Json, Limit, Offline, Precision, Seed, Split

if TYPE_CHECKING:
    from torch import Tensor, nn

    from foolscope.attacks import Attack, AttackResult
    from foolscope.data import ImageSet
    from foolscope.models.engine import Engine


def attack(
    attack: Annotated[str, typer.Argument(help="Attack: 'foolscope attacks' lists them.")],
    model: Annotated[str, typer.Option("--model", help="Model: 'foolscope models' lists them.")],
    images: Annotated[list[Path] | None, typer.Argument(help="Image files.")] = None,
    data: Annotated[str | None, typer.Option("--data", help="A data set instead of files.")] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", help="True class of the files, by name or number; without it what the model sees."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--target", help="Class that the attack shall reach, or all, one after the other; else any."),
    ] = None,
    split: Split = "test",
    limit: Limit = None,
    out: Folder = None,
    seed: Seed = 0,
    precision: Precision = "float32",
    device: Device = None,
    offline: Offline = False,
    json: Json = False,
) -> None:
    """Attack images and save what comes out as PNG, exactly the pixels that were judged.

    The images of a data set are named by their places in it.
    """
    from foolscope.attacks import parse_attack
    from foolscope.cli.options import check_device, check_folder, check_originals, check_precision
    from foolscope.errors import SpecError
    from foolscope.models.engine import Engine

    console.log_to_stderr()
    check_precision(precision)
    check_device(device)
    if bool(images) == bool(data):
        raise SpecError("name image files or a data set with --data: one of the two.")
    if data and label:
        raise SpecError("--label is for image files: the images of --data have labels.")
    if images and (limit is not None or split != "test"):
        raise SpecError("--limit and --split are for --data: leave them out with image files.")
    folder = check_folder(out or Path("foolscope-attacked"))
    chosen = parse_attack(attack)
    asked = (
        _from_data(model, data, split, limit, seed, offline)
        if data
        else _from_files(model, images or [], label, offline)
    )
    engine = Engine(asked.network, precision=precision, device=device)  # type: ignore[arg-type]
    asked = asked if target is None else _aimed(asked, target, engine)
    targets = [folder / f"{name}.png" for name in asked.names]
    check_originals(images or [], targets, "adversarial")
    rows = _attacked(asked, engine, chosen, seed, targets)
    _show(rows, chosen.spec(), asked.data, json)


@dataclass(frozen=True)
class _Asked:
    """What to attack: batches of images of one size with their places among all, and what all are called.

    `truth` is None where the model's own answers stand for it, `wanted` where any wrong class will do; `data` is the
    set that the images were taken from, if any.
    """

    network: nn.Module
    batches: list[tuple[list[int], Tensor]]
    names: list[str]
    truth: Tensor | None
    data: ImageSet | None = None
    wanted: Tensor | None = None


def _aimed(asked: _Asked, target: str, engine: Engine) -> _Asked:
    """With the class that is wanted, without images of a data set that show it.

    Raises `SpecError` where a file shows it, or all images do.
    """
    import torch

    from foolscope.errors import SpecError

    count = engine.num_classes(asked.batches[0][1])
    if target == "all":
        return _towards_all(asked, engine, count)
    wanted = class_index(asked.network, target, count)
    if asked.data is None:
        if asked.truth is not None and (asked.truth == wanted).any():
            raise SpecError(f"--target {target} is the true class by --label: name another one.")
        for places, images in asked.batches if asked.truth is None else ():
            if shown := (engine.predict(images) == wanted).nonzero()[:, 0].tolist():
                raise SpecError(f"--target {target} is what the model sees in {asked.names[places[shown[0]]]}.")
        return replace(asked, wanted=torch.full((len(asked.names),), wanted))
    return _without(asked, target, wanted)


def _without(asked: _Asked, target: str, wanted: int) -> _Asked:
    """The images of a data set that do not show the wanted class."""
    import torch

    from foolscope.errors import SpecError

    assert asked.truth is not None, "a data set has labels"
    ((_, images),) = asked.batches
    kept = (asked.truth != wanted).nonzero()[:, 0]
    if len(kept) == 0:
        raise SpecError(f"--target {target} is what all images show: name another one.")
    if left := len(asked.truth) - len(kept):
        console.say(f"{left:,} of {len(asked.truth):,} images show {target} already and are left out.")
    return replace(
        asked,
        batches=[(list(range(len(kept))), images[kept])],
        names=[asked.names[place] for place in kept.tolist()],
        truth=asked.truth[kept],
        wanted=torch.full((len(kept),), wanted),
    )


def _towards_all(asked: _Asked, engine: Engine, count: int) -> _Asked:
    """Every image towards every class but its own."""
    import torch

    from foolscope.attacks.goal import every_target

    batches, names, truths, wanted = [], list[str](), [], []
    for places, images in asked.batches:
        labels = engine.predict(images) if asked.truth is None else asked.truth[places]
        rows, goal = every_target(labels, count)
        batches.append((list(range(len(names), len(names) + len(rows))), images[rows]))
        pairs = zip(rows.tolist(), goal.targets.tolist(), strict=True)
        names += [f"{asked.names[places[row]]}-to-{number}" for row, number in pairs]
        truths.append(labels[rows])
        wanted.append(goal.targets)
    return replace(asked, batches=batches, names=names, truth=torch.cat(truths), wanted=torch.cat(wanted))


def _attacked(asked: _Asked, engine: Engine, attack: Attack, seed: int, targets: list[Path]) -> list[dict[str, Any]]:
    """Attack every batch, write what comes out, and tell of it, one row an image."""
    from foolscope.attacks import Goal, Progress, Targeted, Untargeted
    from foolscope.files import write_bytes
    from foolscope.images import encode_png
    from foolscope.randomness import generator

    rows: dict[int, dict[str, Any]] = {}
    with console.progress() as shown:
        for places, images in asked.batches:
            labels = engine.predict(images) if asked.truth is None else asked.truth[places]
            goal: Goal = Untargeted(labels) if asked.wanted is None else Targeted(asked.wanted[places])
            task = shown.add_task(attack.spec(), total=1.0)

            def watch(p: Progress, task: Any = task) -> None:
                console.check_interrupt()
                shown.update(task, completed=(p.done + p.active * p.step / p.steps) / p.total)

            result = attack(engine, images, goal, rng=generator(seed), quantize=True, watch=watch)
            for number, place in enumerate(places):
                write_bytes(targets[place], encode_png(result.images[number]))
                target = None if asked.wanted is None else int(asked.wanted[place])
                rows[place] = _row(targets[place], number, result, labels, asked.network, target)
    return [rows[place] for place in sorted(rows)]


def _from_data(model: str, data: str, split: str, limit: int | None, seed: int, offline: bool) -> _Asked:
    from foolscope.data import load_data
    from foolscope.models import load_model

    loaded = load_data(data, split, limit, seed, offline=offline)
    network = load_model(model, loaded.task, offline=offline)
    loaded = loaded.aligned_to(network)
    loaded.check_against(network)
    places = list(range(len(loaded)))
    names = [f"{number:05d}" for number in (places if loaded.origin is None else loaded.origin.tolist())]
    return _Asked(network, [(places, loaded.images)], names, loaded.labels, loaded)


def _from_files(model: str, paths: list[Path], label: list[str] | None, offline: bool) -> _Asked:
    import torch

    from foolscope.errors import InputError
    from foolscope.images import batches_by_size, decode_image
    from foolscope.models import describe, load_model
    from foolscope.models.classifier import check_shape

    network = load_model(model, offline=offline)
    shape = describe(network).input_shape
    batches = batches_by_size([decode_image(path, shape[0] if shape else None) for path in paths])
    for _, images in batches:
        check_shape(network, images)
    truth = None
    if label:
        if len(label) not in (1, len(paths)):
            raise InputError(f"{len(label)} labels for {len(paths)} images: give one, or one for each.")
        count = describe(network).num_classes
        numbers = [class_index(network, text, count) for text in label]
        truth = torch.tensor(numbers * (len(paths) if len(numbers) == 1 else 1))
    names = [f"{number:03d}-{path.stem}" if len(paths) > 1 else path.stem for number, path in enumerate(paths)]
    return _Asked(network, batches, names, truth)


def class_index(network: nn.Module, text: str, count: int | None) -> int:
    """A class by number or name.  Raises `SpecError` where the model has none such, with the nearest names."""
    from foolscope.data.imageset import normalized
    from foolscope.errors import SpecError, nearest
    from foolscope.models import describe

    known = describe(network).class_names or ()
    names = [normalized(name) for name in known]
    if text.isascii() and text.isdigit() and text not in names:
        if count is not None and int(text) >= count:
            raise SpecError(f"class {text}: {describe(network).name} has classes 0 to {count - 1}.")
        return int(text)
    fitting = [index for index, name in enumerate(names) if name == normalized(text)]
    if len(fitting) > 1:
        raise SpecError(f"'{text}' is class {' and '.join(map(str, fitting))} of {describe(network).name}: give one.")
    if fitting:
        return fitting[0]
    top = "" if count is None else f" to {count - 1}"
    near = nearest(text, [name.lower() for name in known])
    raise SpecError(f"{describe(network).name} has no class '{text}'.{near} A number from 0{top} will do.")


def _row(
    path: Path, number: int, result: AttackResult, labels: Tensor, network: nn.Module, target: int | None
) -> dict[str, Any]:
    from foolscope.models import describe

    names = describe(network).class_names

    def named(index: int) -> str:
        return names[index] if names else str(index)

    return {
        "file": str(path),
        "label": named(int(labels[number])),
        "target": None if target is None else named(target),
        "prediction": named(int(result.predictions[number])),
        "success": bool(result.success[number]),
        "already": bool(result.already[number]),
        "broken": bool(result.broken[number]),
        "l2": round(float(result.distance("l2")[number]), 6),
        "linf": round(float(result.distance("linf")[number]), 6),
        "forwards": int(result.forwards[number]),
        "backwards": int(result.backwards[number]),
    }


def _show(rows: list[dict[str, Any]], attack: str, data: ImageSet | None, json: bool) -> None:
    if broken := [row["file"] for row in rows if row["broken"]]:
        console.say(
            f"warning: NaN or infinite gradients on {len(broken):,} of {len(rows):,} images, first for {broken[0]}: "
            "the attack stopped there, which says nothing about robustness."
        )
    if json:
        told = None if data is None else console.data_record(data)
        console.print_json({"attack": attack, "data": told, "images": rows})
        return
    out = console.stdout()
    if data is not None and data.is_preview:
        out.print(console.preview(data), style="bold", markup=False)
    aimed = any(row["target"] is not None for row in rows)
    columns = ("file", "label", *(["target"] if aimed else []), "prediction", "fooled", ">l2", ">linf", ">passes")
    made = console.table(*columns)
    for row in rows:
        fooled = "already" if row["already"] else "yes" if row["success"] else "no"
        numbers = (f"{row['l2']:.3f}", f"{row['linf']:.4f}", str(row["forwards"] + row["backwards"]))
        classes = [row[name] for name in ("label", "target", "prediction") if name != "target" or aimed]
        made.add_row(row["file"], *classes, fooled, *numbers)
    out.print(made)
