"""`foolscope explain`: where a network looks, which frequencies it hears, and what an attack does to both."""

from __future__ import annotations

import math
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foolscope.cli import console
from foolscope.cli.options import Device, Folder, Json, Offline, Seed, Split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from foolscope.cli.explain_inputs import Made
    from foolscope.cli.explain_methods import Method, Study
    from foolscope.data import ImageSet
    from foolscope.models.engine import Engine
    from foolscope.report.explain_parts import Part, Subject

LIST = "list"
_LIMIT = 100
_QUALITIES = "5,10,25,50,90"
_DRAWS = 16
"""Draws that gradients behind a random defense are means over, as in audits."""


def explain(
    images: Annotated[
        list[str] | None, typer.Argument(help="Image files, or a data set: 'foolscope datasets' lists them.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="Model: 'foolscope models' lists them.")] = None,
    method: Annotated[str, typer.Option("--method", help="Methods, joined by commas; 'list' lists them.")] = "saliency",
    attack: Annotated[
        str | None, typer.Option("--attack", help="Attack, such as pgd:eps=8/255, whose images are explained too.")
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option("--against", help="Adversarial file of each image file, instead of --attack. May be repeated."),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option("--layer", help="Layer to explain; logits; 'list' lists them. May be repeated."),
    ] = None,
    reshape: Annotated[
        str | None, typer.Option("--reshape", help="Grad-CAM of transformers: tokens (ViT) or channels-last (Swin).")
    ] = None,
    defense: Annotated[
        str | None, typer.Option("--defense", help="Defense before the network, explained with it: jpeg:quality=50.")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", help="True class of the files, by name or number; without it what the model sees."),
    ] = None,
    resolution: Annotated[
        int | None, typer.Option("--resolution", help="Frequencies along each axis of a transfer function.")
    ] = None,
    direction: Annotated[
        str, typer.Option("--direction", help="Color of a transfer function's waves: gray, red, green, blue.")
    ] = "gray",
    qualities: Annotated[
        str, typer.Option("--qualities", help="JPEG qualities, joined by commas, or FROM:TO:STEP.")
    ] = _QUALITIES,
    norm: Annotated[
        float | None, typer.Option("--norm", help="Norm of a heat map's waves a channel; 4, of large images 15.7.")
    ] = None,
    reach: Annotated[
        int | None, typer.Option("--reach", help="Highest frequency of a heat map, in cycles a side.")
    ] = None,
    bands: Annotated[
        str | None, typer.Option("--bands", help="Edges of bands in cycles per pixel, such as 0,0.1,0.3.")
    ] = None,
    split: Split = "test",
    limit: Annotated[
        int, typer.Option("--limit", help="Images of a data set: so many random ones; 0 takes all.", min=0)
    ] = _LIMIT,
    out: Folder = None,
    seed: Seed = 0,
    device: Device = None,
    offline: Offline = False,
    json: Json = False,
) -> None:
    """Explain a classifier: where it looks, which frequencies it hears, and what an attack does to both.

    Writes explain.html, its figures as SVG and PNG, and explain.json.
    """
    from foolscope.cli import explain_inputs as inputs
    from foolscope.cli.options import check_device, check_folder
    from foolscope.errors import SpecError
    from foolscope.report.explain import explanation_json, write_explanation

    console.log_to_stderr()
    if method == LIST:
        _list_methods(json)
        return
    chosen = inputs.methods(method)
    if model is None:
        raise SpecError("name a model with --model: 'foolscope models' lists them.")
    if layer == [LIST]:
        _list_layers(model, offline, json)
        return
    import torch

    from foolscope.randomness import seeded

    check_device(device)
    folder = check_folder(out or Path("foolscope-explained"))
    options = {
        "resolution": resolution,
        "direction": direction,
        "qualities": inputs.qualities(qualities),
        "norm": norm,
        "reach": reach,
        "bands": inputs.bands(bands),
        "reshape": inputs.reshape(reshape),
    }
    data, network = inputs.read(images or [], model, label or [], split, limit, seed, offline)
    made = inputs.adversarial(against or [], attack, images or [], data)
    network = _behind(network, defense)
    files = None if inputs.names_data(images or []) else inputs.file_names(images or [])
    known = inputs.layers(network, layer or [], defense is not None, model)
    with seeded(seed, torch.device(device or "cpu")):  # for defenses that draw random numbers
        study = _study(chosen, data, files, network, made or attack, known, seed, device, options)
        parts = _parts(study, chosen)
    asked = {
        "--model": model, "--method": method, "--attack": attack, "--against": against, "--layer": layer,
        "--reshape": reshape, "--defense": defense, "--label": label, "--resolution": resolution,
        "--direction": direction, "--qualities": qualities, "--norm": norm, "--reach": reach, "--bands": bands,
        "--split": split, "--limit": limit, "--seed": seed,
    }  # fmt: skip
    about = _about(study, network, defense, _command(images or [], asked))
    page = write_explanation(about, study.subject, parts, folder)
    if json:
        console.print_json(explanation_json(about, study.subject, parts))
    else:
        _print(about, parts)
    console.say(f"Explanation: {page.resolve()}")


_USUAL = {"--direction": "gray", "--qualities": _QUALITIES, "--split": "test", "--limit": _LIMIT, "--seed": 0}


def _command(sources: Sequence[str], asked: dict[str, Any]) -> str:
    """The command line that repeats this, without what is usual."""
    parts = ["foolscope", "explain", *sources]
    for flag, value in asked.items():
        for one in value if isinstance(value, list) else [value]:
            if one is not None and one != _USUAL.get(flag):
                parts += [flag, str(one)]
    return shlex.join(parts)


def _list_methods(json: bool) -> None:
    from foolscope.cli.explain_methods import METHODS

    if json:
        console.print_json({name: entry.summary for name, entry in METHODS.items()})
        return
    made = console.table("method", "needs", "shows")
    for name, entry in METHODS.items():
        needs = {"gradients": entry.needs_gradients, "--attack": entry.needs_attack}
        made.add_row(name, ", ".join(need for need, flag in needs.items() if flag), entry.summary)
    console.stdout().print(made)


def _list_layers(model: str, offline: bool, json: bool) -> None:
    """The names that --layer takes, with their kinds."""
    from foolscope.models import load_model

    kinds = {name: type(layer).__name__ for name, layer in load_model(model, offline=offline).named_modules() if name}
    if json:
        console.print_json(kinds)
        return
    made = console.table("layer", "kind")
    for name, kind in kinds.items():
        made.add_row(name, kind)
    console.stdout().print(made)


def _behind(network: nn.Module, defense: str | None) -> nn.Module:
    """The network behind the defense, with its smooth gradient where it has one and its spec names none."""
    from foolscope.defenses import defended, parse_defense

    if defense is None:
        return network
    smooth = None if "gradient=" in defense else parse_defense(defense).variants().get("differentiable")
    return defended(network, smooth.spec() if smooth else defense)


def _study(
    chosen: dict[str, Method],
    data: ImageSet,
    files: tuple[str, ...] | None,
    network: nn.Module,
    attack: str | Made | None,
    layers: tuple[str, ...],
    seed: int,
    device: str | None,
    options: dict[str, Any],
) -> Study:
    """Predict, attack, and check that every method can do its work."""
    from foolscope.cli import explain_inputs as inputs
    from foolscope.cli.explain_methods import Study
    from foolscope.models import describe
    from foolscope.models.engine import Engine
    from foolscope.models.expectation import Expectation
    from foolscope.report.explain_parts import Subject

    images = data.images
    is_random = bool(getattr(network, "random", False))
    engine = Expectation(network, draws=_DRAWS, device=device) if is_random else Engine(network, device=device)
    inputs.check(chosen, engine, images, attack)
    if flat := int(inputs.of_one_color(images).sum()):
        console.say(f"warning: {flat:,} of {len(images):,} images have one color: nothing can be seen in them.")
    subject = Subject(
        model=engine.info.name, data=data, class_names=describe(network).class_names,
        predictions=engine.predict(images), files=files,
    )  # fmt: skip
    if isinstance(attack, str):
        subject = _attacked(subject, engine, attack, seed)
    elif attack is not None:
        subject = _changed(subject, attack.name, attack.images, engine.predict(attack.images))
    maps = [name for name, entry in chosen.items() if entry.is_map]
    return Study(
        engine=engine, subject=subject, layers=layers, explainer=maps[0] if maps else "saliency", seed=seed, **options
    )


def _attacked(subject: Subject, engine: Engine, attack: str, seed: int) -> Subject:
    """With adversarial images."""
    from foolscope.attacks import Progress, Untargeted, parse_attack
    from foolscope.randomness import generator

    parsed = parse_attack(attack)
    with console.progress() as shown:
        task = shown.add_task(parsed.spec(), total=1.0)

        def watch(p: Progress) -> None:
            shown.update(task, completed=(p.done + p.active * p.step / p.steps) / p.total)

        goal = Untargeted(subject.data.labels)
        result = parsed(engine, subject.data.images, goal, rng=generator(seed), watch=watch)
    return _changed(subject, attack, result.images, result.predictions)


def _changed(subject: Subject, attack: str, images: Tensor, answers: Tensor) -> Subject:
    """With the adversarial images of what is called `attack`.  Raises `InputError` where it changed none."""
    from foolscope.errors import InputError

    found = replace(subject, attack=attack, adversarial=images, answers=answers)
    if not len(found.moved):
        right = int((subject.predictions == subject.data.labels).sum())
        raise InputError(
            f"{attack} changed no image, of {len(subject.data):,} with {right:,} classified right: only those "
            "are attacked."
        )
    return found


def _parts(study: Study, chosen: dict[str, Method]) -> list[Part]:
    """What every method finds."""
    parts = []
    with console.progress() as shown:
        for name, entry in chosen.items():
            task = shown.add_task(name, total=None)

            def watch(done: int, total: int, task: Any = task) -> None:
                shown.update(task, completed=done, total=total)

            parts.append(entry.part(replace(study, watch=watch)))
            shown.update(task, completed=1, total=1)
    return parts


def _about(study: Study, network: nn.Module, defense: str | None, command: str) -> dict[str, Any]:
    """What explain.json says of itself."""
    from foolscope.experiments.provenance import versions
    from foolscope.models import describe

    info, subject = describe(network), study.subject
    model = {"name": info.name, "weights": info.weights, "trained_on": info.trained_on}
    return {
        "model": model,
        "data": {**console.data_record(subject.data), "digest": subject.data.digest},
        "attack": subject.attack,
        "moved": len(subject.moved),
        "fooled": None if subject.answers is None else int((subject.answers != subject.data.labels).sum()),
        "defense": defense,
        "seed": study.seed,
        "command": command,
        "versions": versions(),
    }


def _print(about: dict[str, Any], parts: Sequence[Part]) -> None:
    """Every part's measures as a table."""
    from foolscope.report.words import counted, number

    out = console.stdout()
    title = f"{about['model']['name']} on {about['data']['spec']} ({counted(about['data']['images'], 'image')})"
    out.print(title, style="bold", markup=False)
    if about["attack"]:
        told = f"{about['attack']} changed {counted(about['moved'], 'image')}; wrong afterwards: {about['fooled']:,}"
        out.print(told, style="dim", markup=False)
    for part in parts:
        has_null = any(measure.null is not None for measure in part.measures)
        made = console.table(
            "measure", ">value", ">95 % interval", *([">null level"] if has_null else []), title=part.title
        )
        for measure in part.measures:
            ends = [end for end in (measure.low, measure.high) if end is not None and math.isfinite(end)]
            interval = f"{number(ends[0])} to {number(ends[1])}" if len(ends) == 2 else ""
            null = [number(measure.null) if measure.null is not None else ""] if has_null else []
            made.add_row(measure.what, number(measure.value), interval, *null)
        out.print(made)
