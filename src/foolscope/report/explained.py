"""The audit's section on explanations: where the network looks before and after its strongest attack, and the noise."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import torch
from torch import Tensor

from foolscope.data.imageset import ImageSet
from foolscope.experiments.explained import Explained, ExplainedMaps
from foolscope.experiments.results import Results
from foolscope.images import to_uint8
from foolscope.report.explain_frequency import spectrum_part
from foolscope.report.explain_maps import (
    METHODS,
    agreement_measures,
    attacked_sheet,
    blank_told,
    energy_chart,
    energy_measures,
)
from foolscope.report.explain_parts import Part, Subject
from foolscope.report.explain_section import section
from foolscope.report.figures import Styles
from foolscope.report.markup import Html, tag
from foolscope.report.words import counted, listed

_MORE = 100
"""Images that the command for more takes."""


def explained(results: Results, styles: Styles) -> list[Html]:
    """The section without its heading, or nothing where no explanation was asked for."""
    found = results.explained
    if found is None:
        return []
    parts = [html for part in _parts(results, found) for html in (tag("h3", part.title), *section(part, styles))]
    return [tag("p", _told(found), class_="note"), *parts, *_credits(results, found), *_more(results, found)]


def _told(found: Explained) -> str:
    looked_at = f"the first {counted(found.looked_at, 'image')}"
    told = f"{found.attack} leaves least of the network without a defense at the radius of the summary."
    if not len(found.index):
        return f"{told} It changed none of {looked_at}, so there is nothing to explain."
    return f"{told} Of {looked_at} it changed {len(found.index):,}, which are explained: few, as the intervals tell."


def _credits(results: Results, found: Explained) -> list[Html]:
    """Who is to be credited for the pictures, if anybody."""
    lines = results.about["data"].get("credits", {})
    mine = (lines.get(str(results.place(index))) for index in found.index.tolist())
    told = "; ".join(dict.fromkeys(line for line in mine if line))
    return [tag("p", f"Pictures: {told}", class_="note")] if told else []


def _more(results: Results, found: Explained) -> list[Html]:
    """The command that explains the same attack on more images; nothing where no spec names model or data."""
    model, data = (results.about[kind]["spec"] for kind in ("model", "data"))
    if not found.maps or model is None or data is None:
        return []
    methods = ",".join([*(maps.method for maps in found.maps), "stability", "spectrum"])
    split, seed = results.about["data"]["split"], results.about["seed"]
    command = ["foolscope", "explain", data, "--model", model, "--method", methods, "--attack", found.attack,
               *(["--split", split] if split != "test" else []), "--limit", str(_MORE),
               *(["--seed", str(seed)] if seed else [])]  # fmt: skip
    told = tag("p", "The same on more images:", class_="note")
    return [told, tag("pre", tag("code", shlex.join(command)), class_="wrap")]


def _parts(results: Results, found: Explained) -> list[Part]:
    if found.spectrum is None:
        return []
    subject, everything = _subject(results, found), torch.arange(len(found.index))
    return [
        _maps(subject, found.maps, everything),
        _effect(found.maps),
        spectrum_part(subject, found.spectrum, everything),
    ]


def _maps(subject: Subject, found: Sequence[ExplainedMaps], rows: Tensor) -> Part:
    """Originals and adversarial images with the maps of every method."""
    words = {maps.method: METHODS[maps.method] for maps in found}
    told = [f"{words[maps.method][0]}: {words[maps.method][2].format(layer=maps.layer)}" for maps in found]
    for maps in found:
        told += blank_told(torch.cat([maps.original, maps.adversarial]), f"{words[maps.method][0]} map")
    columns = {words[maps.method][0]: (maps.original, maps.adversarial) for maps in found}
    caption = "Maps explain the true class; the two of an image and method share one scale."
    sheet = attacked_sheet(subject, rows, columns, "explained-maps", caption)
    return Part(method="maps", title="Maps", told=tuple(told), charts=(sheet,), measures=(), data={})


def _subject(results: Results, found: Explained) -> Subject:
    """The images that the attack changed, as the parts take them."""
    data = results.about["data"]
    images = ImageSet(
        name=data["spec"] or "", split=data["split"], pixels=to_uint8(found.images), labels=found.labels,
        num_classes=_classes(results, found), digest=data["digest"], total=data["of"],
        class_names=results.class_names, origin=torch.tensor([results.place(n) for n in found.index.tolist()]),
    )  # fmt: skip
    return Subject(
        model=results.about["model"]["name"], data=images, class_names=results.class_names,
        predictions=found.predictions, attack=found.attack, adversarial=found.adversarial, answers=found.answers,
    )  # fmt: skip


def _classes(results: Results, found: Explained) -> int:
    return len(results.class_names) if results.class_names else 1 + int(found.labels.max())


def _effect(found: Sequence[ExplainedMaps]) -> Part:
    """How much the maps agree before and after, and where the noise falls, each beside its null level."""
    measures = agreement_measures({maps.method: (maps.agreement, maps.null) for maps in found})
    measures += energy_measures({maps.method: maps.energy for maps in found})
    names = listed([maps.method for maps in found])
    told = (
        f"How much the maps of the true class by {names} agree before and after the attack, and how much of its noise "
        "falls on the pixels that they rank first. The null level is that of random noise of the same ℓ2 norm, and of "
        "noise that ignores the map: an attack says something about explanations only where it does more than that."
    )
    chart = energy_chart({f"by {maps.method}": maps.energy for maps in found})
    return Part(
        method="stability", title="How the maps change, and where the noise falls", told=(told,), charts=(chart,),
        measures=tuple(measures), data={},
    )  # fmt: skip
