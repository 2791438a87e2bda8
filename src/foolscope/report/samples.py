"""The report's pictures: images, what was added to them, and what the networks make of both.

Beside each image stands one row an attack, with a column for each way of meeting it, so that rows can be compared.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from foolscope.attacks import Attack
from foolscope.attacks.minimum_norm import length
from foolscope.experiments.cells import PLAIN
from foolscope.experiments.grid import UNRESTRICTED, norm_of, without_eps
from foolscope.experiments.results import Results, Sample
from foolscope.images import encode_png
from foolscope.report.markup import Html, breakable, folded, join, tag
from foolscope.report.words import NORM_SYMBOLS, Radii, class_name, counted, defense_name, number

_OPEN = 1
"""So many images of a group are seen at once; the others are folded."""

_SMALL = 100
"""Images of fewer pixels a side are shown with visible pixels."""

_WORDS = {"none": defense_name(PLAIN), "oblivious": "oblivious", "adaptive": "adaptive"}

_MOST_PIXELS = 1_500_000
"""So many pixels the shown images have together at most, so that the page can be mailed."""


def sample_section(results: Results, norms: Sequence[Radii]) -> Html:
    """Every image that is shown, with each attack's noise and result: at each norm's reference radius, then without."""
    attacks = {record.attack.spec(): record.attack for record in results.records}
    shown = [(sample, attacks[sample.attack]) for sample in results.samples]
    groups = {
        f"{NORM_SYMBOLS.get(radii.norm, radii.norm)}, ε = {radii.text(radii.reference)}": [
            (sample, attack)
            for sample, attack in shown
            if norm_of(attack) == radii.norm and sample.eps in (radii.reference, None)
        ]
        for radii in norms
    }
    groups["Without a radius"] = [(sample, attack) for sample, attack in shown if norm_of(attack) == UNRESTRICTED]
    groups = {title: chosen for title, chosen in groups.items() if chosen}
    if not groups:
        return tag("p", "No image is shown: the network classifies none of the first right.", class_="note")
    return join(_group(results, title, chosen, _MOST_PIXELS // len(groups)) for title, chosen in groups.items())


def _group(results: Results, title: str, chosen: Sequence[tuple[Sample, Attack]], budget: int) -> Html:
    """One image after the other, as many as the budget of pixels allows, and at least one."""
    subjects: list[Html] = []
    left = budget
    for index in dict.fromkeys(sample.index for sample, _ in chosen):
        mine = [entry for entry in chosen if entry[0].index == index]
        left -= (1 + 2 * len(mine)) * mine[0][0].image[0].size
        if subjects and left < 0:
            break
        subjects.append(_subject(results, mine))
    first, rest = subjects[:_OPEN], subjects[_OPEN:]
    return join((tag("h3", title), *first, folded(f"{counted(len(rest), 'more image')}", rest) if rest else ""))


def _subject(results: Results, attacked: Sequence[tuple[Sample, Attack]]) -> Html:
    """One image with everything that was done to it."""
    samples = [sample for sample, _ in attacked]
    first = samples[0]
    name = class_name(results, first.label)
    credit = results.about["data"].get("credits", {}).get(str(results.place(first.index)))
    title = [f"Image {results.place(first.index):,}: ", name]
    if credit:
        title += [" ", tag("span", credit, class_="credit")]
    small = max(first.image.shape[1:]) < _SMALL
    body = (_original(results, samples, name), _grid(results, attacked, name))
    kind = "subject pixels" if small else "subject"
    return tag("section", tag("h4", *title), tag("div", *body, class_="display"), class_=kind)


def _grid(results: Results, attacked: Sequence[tuple[Sample, Attack]], name: str) -> Html:
    """A row an attack and a column a mode, the same for all images; without a defense the plates run on."""
    modes = [mode for mode in _WORDS if mode in {_mode(sample) for sample in results.samples}]
    cells: dict[tuple[str, str], list[Html]] = {}
    for sample, by in attacked:
        cells.setdefault((without_eps(by), _mode(sample)), []).append(_attacked(results, sample, by, name))
    attacks = dict.fromkeys(without_eps(by) for _, by in attacked)
    plates = [tag("div", *cells.get((attack, mode), ()), class_="cell") for attack in attacks for mode in modes]
    return tag("div", *plates, class_="plates" if len(modes) == 1 else f"plates columns-{len(modes)}")


def _original(results: Results, samples: Sequence[Sample], name: str) -> Html:
    merged = {victim: answer for sample in samples for victim, answer in sample.clean_predictions.items()}
    picture = _picture(samples[0].image, f"Image {results.place(samples[0].index)} as it is: {name}")
    return _plate("untouched", None, (picture,), results, merged, samples[0].label)


def _attacked(results: Results, sample: Sample, by: Attack, name: str) -> Html:
    what, place = f"{without_eps(by)}, {_WORDS[_mode(sample)]}", results.place(sample.index)
    noise, factor = magnified(sample.image, sample.adversarial)
    told = f"noise {factor}" if factor else "nothing was added"
    if by.minimum_norm and factor:
        change = torch.from_numpy(sample.adversarial - sample.image)[None]
        told += f", {NORM_SYMBOLS[norm_of(by)]} {number(float(length(norm_of(by), change)))}"
    pictures = (
        _picture(noise, f"What {what}, adds to image {place}: {told}, around gray"),
        _picture(sample.adversarial, f"Image {place} ({name}) after {what}"),
    )
    return _plate(what, told, pictures, results, sample.predictions, sample.label)


def _mode(sample: Sample) -> str:
    """How the attack met a defense: one of `_WORDS`."""
    if sample.source:
        return "adaptive"
    return "none" if PLAIN in sample.predictions else "oblivious"


def _plate(
    what: str, told: str | None, pictures: Sequence[Html], results: Results, answers: dict[str, int], label: int
) -> Html:
    lines = [tag("span", what, class_="what")]
    for victim, answer in answers.items():
        verdict = "" if answer == label else " (wrong)"
        seen = breakable(defense_name(victim))
        lines.append(tag("span", seen, ": ", tag("b", class_name(results, answer)), verdict, class_="answer"))
    if told:
        lines.append(tag("span", told, class_="answer"))
    return tag("figure", tag("div", *pictures, class_="pair"), tag("figcaption", *lines), class_="plate")


def magnified(image: NDArray[np.float32], adversarial: NDArray[np.float32]) -> tuple[NDArray[np.float32], str]:
    """The difference around gray, as large as fits into [0, 1] by a whole factor, and that factor: '× 12'.

    Differences above one half are made smaller, by a factor with two decimals; equal images have the factor ''.
    """
    difference = adversarial - image
    largest = float(np.abs(difference).max())
    if largest == 0:
        return np.full_like(image, 0.5), ""
    factor = 0.5 / largest
    # The tolerance keeps 0.5 / 0.1 at 5: float32 differences lie a hair above what was asked for.
    factor = math.floor(factor + 1e-3) if factor >= 1 - 1e-3 else math.floor(100 * factor) / 100
    return np.clip(0.5 + factor * difference, 0, 1).astype(np.float32), f"×\u00a0{factor}"


def _picture(image: NDArray[np.float32], words: str) -> Html:
    png = base64.b64encode(encode_png(torch.from_numpy(np.ascontiguousarray(image)))).decode()
    _, height, width = image.shape
    return tag("img", src=f"data:image/png;base64,{png}", alt=words, width=width, height=height)


def shown_note(results: Results) -> str:
    """What is to be known of the pictures."""
    count = counted(len({sample.index for sample in results.samples}), "image")
    return (
        f"The first {count} that the attacked network classifies right untouched, at the radius of the summary; of "
        "attacks that look for the nearest image what they found, however far. "
        "Of each pair, the left picture is what the attack added, around gray and magnified by the factor under it, "
        "the right one the image with it. Pictures are rounded to 8 bits; predictions are of the images before that."
    )
