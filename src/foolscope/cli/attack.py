"""`foolscope attack`: images in, adversarial PNGs out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foolscope.cli import console
from foolscope.cli.options import Device, Folder, Json, Limit, Offline, Precision, Seed, Split

if TYPE_CHECKING:
    from torch import Tensor, nn

    from foolscope.attacks import AttackResult
    from foolscope.data import ImageSet


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
        str | None, typer.Option("--target", help="Class that the attack shall reach; without it any wrong one.")
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
    """Attack images and save what comes out as PNG, exactly the pixels that were judged."""
    import torch

    from foolscope.attacks import Goal, Targeted, Untargeted, parse_attack
    from foolscope.cli.options import check_device, check_folder, check_precision
    from foolscope.errors import SpecError
    from foolscope.files import write_bytes
    from foolscope.images import encode_png
    from foolscope.models.engine import Engine
    from foolscope.randomness import generator

    console.log_to_stderr()
    check_precision(precision)
    check_device(device)
    if bool(images) == bool(data):
        raise SpecError("name image files or a data set with --data: one of the two.")
    if data and label:
        raise SpecError("--label is for image files: the images of --data have labels.")
    folder = check_folder(out or Path("foolscope-attacked"))
    chosen = parse_attack(attack)
    network, loaded, names, truth = (
        _from_data(model, data, split, limit, seed, offline)
        if data
        else _from_files(model, images or [], label, offline)
    )
    targets = [folder / f"{name}.png" for name in names]
    _keep_originals(images or [], targets)
    engine = Engine(network, precision=precision, device=device)  # type: ignore[arg-type]
    labels = engine.predict(loaded) if truth is None else truth
    if target is not None:
        wanted = class_index(network, target, engine.num_classes(loaded))
        goal: Goal = Targeted(torch.full_like(labels, wanted))
    else:
        goal = Untargeted(labels)
    with console.progress() as shown:
        task = shown.add_task(chosen.spec(), total=1.0)
        result = chosen(
            engine, loaded, goal, rng=generator(seed), quantize=True,
            watch=lambda p: shown.update(task, completed=(p.done + p.active * p.step / p.steps) / p.total),
        )  # fmt: skip
    rows = []
    for number, path in enumerate(targets):
        write_bytes(path, encode_png(result.images[number]))
        rows.append(_row(path, number, result, labels, network))
    _show(rows, chosen.spec(), json)


def _keep_originals(images: list[Path], targets: list[Path]) -> None:
    """Raise `StorageError` where an adversarial image would take the place of the image that it is made from."""
    from foolscope.errors import StorageError

    originals = {path.resolve() for path in images}
    for target in targets:
        if target.resolve() in originals:
            raise StorageError(f"{target} would be overwritten by its own adversarial image: name another --out.")


def _from_data(
    model: str, data: str, split: str, limit: int | None, seed: int, offline: bool
) -> tuple[nn.Module, Tensor, list[str], Tensor]:
    from foolscope.data import load_data
    from foolscope.models import load_model

    loaded: ImageSet = load_data(data, split, limit, seed, offline=offline)
    network = load_model(model, loaded.task, offline=offline)
    loaded = loaded.aligned_to(network)
    loaded.check_against(network)
    return network, loaded.images, [f"{number:05d}" for number in range(len(loaded))], loaded.labels


def _from_files(
    model: str, paths: list[Path], label: list[str] | None, offline: bool
) -> tuple[nn.Module, Tensor, list[str], Tensor | None]:
    import torch

    from foolscope.errors import InputError
    from foolscope.images import decode_image, from_uint8
    from foolscope.models import describe, load_model

    network = load_model(model, offline=offline)
    shape = describe(network).input_shape
    decoded = [decode_image(path, shape[0] if shape else None) for path in paths]
    sizes = {array.shape for array in decoded}
    if len(sizes) > 1:
        shown = ", ".join(" x ".join(map(str, size)) for size in sorted(sizes))
        raise InputError(f"the images have different sizes ({shown}): attack them one size at a time.")
    import numpy as np

    truth = None
    if label:
        if len(label) not in (1, len(paths)):
            raise InputError(f"{len(label)} labels for {len(paths)} images: give one, or one for each.")
        count = describe(network).num_classes
        numbers = [class_index(network, text, count) for text in label]
        truth = torch.tensor(numbers * (len(paths) if len(numbers) == 1 else 1))
    names = [f"{number:03d}-{path.stem}" if len(paths) > 1 else path.stem for number, path in enumerate(paths)]
    return network, from_uint8(np.stack(decoded)), names, truth


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


def _row(path: Path, number: int, result: AttackResult, labels: Tensor, network: nn.Module) -> dict[str, Any]:
    from foolscope.models import describe

    names = describe(network).class_names

    def named(index: int) -> str:
        return names[index] if names else str(index)

    return {
        "file": str(path),
        "label": named(int(labels[number])),
        "prediction": named(int(result.predictions[number])),
        "success": bool(result.success[number]),
        "already": bool(result.already[number]),
        "l2": round(float(result.distance("l2")[number]), 6),
        "linf": round(float(result.distance("linf")[number]), 6),
        "forwards": int(result.forwards[number]),
        "backwards": int(result.backwards[number]),
    }


def _show(rows: list[dict[str, Any]], attack: str, json: bool) -> None:
    if json:
        console.print_json({"attack": attack, "images": rows})
        return
    made = console.table("file", "label", "prediction", "fooled", ">l2", ">linf", ">passes")
    for row in rows:
        fooled = "already" if row["already"] else "yes" if row["success"] else "no"
        numbers = (f"{row['l2']:.3f}", f"{row['linf']:.4f}", str(row["forwards"] + row["backwards"]))
        made.add_row(row["file"], row["label"], row["prediction"], fooled, *numbers)
    console.stdout().print(made)
