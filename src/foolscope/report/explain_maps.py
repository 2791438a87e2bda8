"""Parts on where a network looks: maps, how an attack changes them, and whether they tell the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from foolscope.experiments.findings import Line
from foolscope.explain import Agreement, Comparison, PixelCurve, RandomizedLayer, SalientEnergy, Stability
from foolscope.measure import Mean, mean_interval
from foolscope.report.explain_figures import MAGNITUDES, SIGNED
from foolscope.report.explain_panels import Curves, Dots, Panels
from foolscope.report.explain_parts import POSITIVE, SHARE, Measure, Part, Subject, as_json
from foolscope.report.explain_pictures import (
    Picture,
    Sheet,
    image_picture,
    map_picture,
    noise_picture,
    on_one_scale,
    overlay_picture,
    signed_map,
)
from foolscope.report.words import counted

_MAGNITUDE = (MAGNITUDES, "0", "99th percentile", "strength of the map")
_SIGNS = (SIGNED, "\u2212", "+", "what brighter pixels do")
METHODS = {
    "saliency": (
        "Saliency", "logits per unit of image",
        "How fast the class's logit changes with every pixel, the slope at the image itself (Simonyan, Vedaldi and "
        "Zisserman 2013, arXiv 1312.6034). The map is the largest magnitude over the channels.",
    ),
    "smooth-grad": (
        "SmoothGrad", "logits per unit of image",
        "The mean of the saliency over 25 noisy versions of the image (Smilkov et al. 2017, arXiv 1706.03825).",
    ),
    "integrated-gradients": (
        "Integrated gradients", "logits",
        "What every pixel adds to the class's logit on the straight way from black to the image (Sundararajan, Taly "
        "and Yan 2017, arXiv 1703.01365). The signed values sum up to the difference of the two logits.",
    ),
    "grad-cam": (
        "Grad-CAM", "logits times activation",
        "Where the layer {layer} sees the class (Selvaraju et al. 2017, arXiv 1610.02391). The map has that layer's "
        "few positions: what looks smooth is interpolated.",
    ),
}  # fmt: skip
"""Title, unit and explanation of every method that gives maps."""

_TOP = 0.1
_ROWS = 8
"""So many layers the table of model randomization has."""


def blank_told(maps: Tensor, what: str) -> tuple[str, ...]:
    """A sentence on maps (N, H, W) that are 0 everywhere; none where none is."""
    count = int((maps.flatten(1).amax(1) == 0).sum())
    if not count:
        return ()
    return (f"{count:,} of {counted(len(maps), what)} {'is' if count == 1 else 'are'} 0 everywhere: nothing speaks for "
            "the class there, and no measure counts them.",)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Maps:
    """Maps of one method: `signed` (N, C, H, W) where they have a sign, and what is shown, `magnitudes` (N, H, W)."""

    magnitudes: Tensor
    signed: Tensor | None = None


def maps_part(
    subject: Subject, method: str, title: str, told: Sequence[str], found: Maps, attacked: Maps | None, unit: str
) -> Part:
    """Maps of the subject's classes; `attacked` are those of the adversarial images for the same classes."""
    columns = ("image", *(["signed"] if found.signed is not None else []), "map", "overlay")
    moved = subject.moved if attacked is not None and len(subject.moved) else None
    rows: list[tuple[str, tuple[Picture | None, ...]]] = []
    for row in subject.shown(moved):
        images = [subject.data.images[row]]
        both = [found]
        names = [subject.title(row)]
        if attacked is not None and subject.adversarial is not None and subject.answers is not None:
            images.append(subject.adversarial[row])
            both.append(attacked)
            names.append(f"after {subject.attack}: seen as {subject.named(int(subject.answers[row]))}")
        shades = on_one_scale(*(one.magnitudes[row] for one in both))
        signs = [signed_map(one.signed[row]) for one in both if one.signed is not None]
        signs = on_one_scale(*signs) if signs else []
        for number, (image, name, shade) in enumerate(zip(images, names, shades, strict=True)):
            signed = [map_picture(signs[number], f"{method}, signed: {name}", signed=True)] if signs else []
            drawn = (map_picture(shade, f"{method}: {name}"), overlay_picture(image, shade, f"overlay: {name}"))
            rows.append((name, (image_picture(image, name), *signed, *drawn)))
    scales = (_MAGNITUDE, *([_SIGNS] if found.signed is not None else []))
    together = " An image and its adversarial image share one scale." if attacked is not None else ""
    sheet = Sheet(
        name=method,
        label=f"{title} of {len(rows)} images; captions name each image and its class.",
        caption=f"Maps explain the class that is named first. Values are in {unit}.{together}",
        columns=columns, rows=tuple(rows), scales=scales,
    )  # fmt: skip
    every = torch.cat([one.magnitudes for one in (found, attacked) if one is not None])
    peaks = found.magnitudes.flatten(1).amax(1)
    measures = [
        Measure.of(
            f"share of the map on its strongest {100 * _TOP:.0f} % of pixels", _concentration(found), _TOP, SHARE
        ),
        Measure.of(f"largest value ({unit})", mean_interval(peaks), within=POSITIVE),
    ]
    arrays = {method: (found.magnitudes if found.signed is None else found.signed).float().cpu().numpy()}
    if attacked is not None:
        after = attacked.magnitudes if attacked.signed is None else attacked.signed
        arrays[f"{method}-attacked"] = after.float().cpu().numpy()
    data = {"unit": unit, "classes": subject.data.labels.tolist(), "largest": as_json(peaks)}
    return Part(
        method=method, title=title, told=(*told, *blank_told(every, "map")), charts=(sheet,), measures=tuple(measures),
        data=data,
        arrays=arrays,
    )  # fmt: skip


def _concentration(found: Maps) -> Mean:
    """The share of each map's sum that lies on its strongest pixels; maps that are 0 everywhere do not count."""
    values = found.magnitudes.flatten(1).double()
    top = values.topk(max(1, round(_TOP * values.shape[1])), dim=1).values.sum(1)
    total = values.sum(1)
    return mean_interval((top / total)[total > 0])


_COMPARED = {
    "true class": "true_class",
    "class before": "before",
    "class after": "after",
    "own class": "predicted",
}
COMPARED_BY = {
    "rank_correlation": ("Rank correlation", "Spearman's, of all pixels", (-1.0, 1.0)),
    "intersection": ("Top pixels in common", "share of the {k} most salient", SHARE),
    "ssim": ("Structural similarity", "SSIM of the maps", (-1.0, 1.0)),
    "center_shift": ("Shift of the center", "pixels", POSITIVE),
}
"""What maps are compared by: the name of each measure, its unit, and where its values lie."""


def stability_part(subject: Subject, explainer: str, found: Stability, energy: SalientEnergy, rows: Tensor) -> Part:
    """Explanations before and after the attack, of the images at `rows` that it changed."""
    comparisons = {name: getattr(found, field) for name, field in _COMPARED.items()}
    if torch.equal(found.true_class.original_classes, found.before.original_classes):
        del comparisons["class before"]  # the same numbers again
    measures = agreement_measures({name: (one.agreement, one.null) for name, one in comparisons.items()})
    measures += energy_measures({"": energy})
    told = (
        f"Maps by {explainer} of {counted(len(rows), 'image')} that {subject.attack} changed, and how much they "
        "agree with those of the untouched images. True class: both maps explain the true class; class before and "
        "after: the class that the network sees in the untouched and in the adversarial image; own class: each "
        "image's map explains the class that the network sees in it, as a user would be shown.",
        "Every number stands beside its null level: the same for random noise of the same ℓ2 norm. An attack says "
        "something about explanations only where it does more than that.",
    )
    data = {"explainer": explainer, "images_taken": as_json(rows), "energy": as_json(energy)}
    for name, field in _COMPARED.items():
        one = getattr(found, field)
        data[field] = {
            "name": name,
            "original_classes": as_json(one.original_classes),
            "adversarial_classes": as_json(one.adversarial_classes),
            "agreement": as_json(one.agreement),
            "null": as_json(one.null),
        }
    falls = energy_chart({"noise of the attack": energy})
    sheet = attacked_sheet(subject, rows, _asked_maps(found), "stability-maps", "Both maps of a class share one scale.")
    charts = (sheet, _agreement_chart(comparisons), falls)
    return Part(
        method="stability", title="Explanations under attack", told=told, charts=charts, measures=tuple(measures),
        data=data,
    )  # fmt: skip


def agreement_measures(compared: Mapping[str, tuple[Agreement, Agreement]]) -> list[Measure]:
    """How much maps agree under an attack, beside their null level: `compared` has both by a name."""
    return [
        Measure.of(f"{what.lower()}, {name}", attacked.means()[key], null.means()[key].value, within)
        for key, (what, _, within) in COMPARED_BY.items()
        for name, (attacked, null) in compared.items()
    ]


def energy_measures(found: Mapping[str, SalientEnergy]) -> list[Measure]:
    """Where a noise falls, beside chance, by the names of the methods whose maps rank the pixels."""
    return [
        Measure.of(f"noise's energy on the {100 * share:.3g} % most salient pixels{name}", mean, share, SHARE)
        for name, energy in ((f", {method}" if method else "", energy) for method, energy in found.items())
        for share, mean in zip(energy.pixels.tolist(), energy.means, strict=True)
    ]


def _asked_maps(found: Stability) -> dict[str, tuple[Tensor, Tensor]]:
    """The maps (M, H, W) of both images for the true class and for those predicted, each class once."""
    asked = {"true class": found.true_class, "class before": found.before, "class after": found.after}
    if torch.equal(found.true_class.original_classes, found.before.original_classes):
        del asked["class before"]
    return {name: (one.original, one.adversarial) for name, one in asked.items()}


def attacked_sheet(
    subject: Subject, rows: Tensor, maps: Mapping[str, tuple[Tensor, Tensor]], name: str, caption: str
) -> Sheet:
    """Original and adversarial image below each other, their maps beside them, and the noise.

    `maps` are those of the originals and of the adversarial images at `rows`, a column each; both share one scale.
    """
    assert subject.adversarial is not None and subject.answers is not None, "only of an attack"
    drawn: list[tuple[str, tuple[Picture | None, ...]]] = []
    for number, place in enumerate(subject.shown(rows)):
        image, moved = subject.data.images[place], subject.adversarial[place]
        told = f"after {subject.attack}: seen as {subject.named(int(subject.answers[place]))}"
        pairs = {column: on_one_scale(*(one[number] for one in both)) for column, both in maps.items()}
        first, second = (
            [map_picture(pair[n], f"{column}, {kind}") for column, pair in pairs.items()]
            for n, kind in enumerate(("original", "adversarial"))
        )
        drawn.append((subject.title(place), (image_picture(image, "original"), *first, None)))
        noise = noise_picture(moved - image, "noise")
        drawn.append((told, (image_picture(moved, "adversarial"), *second, noise)))
    return Sheet(
        name=name, label="Images, adversarial images and the maps that explain both.",
        caption=f"{caption} The noise is shown around gray, as strong as fits.", columns=("image", *maps, "noise"),
        rows=tuple(drawn), scales=(_MAGNITUDE,),
    )  # fmt: skip


def _agreement_chart(comparisons: dict[str, Comparison]) -> Panels:
    panels = []
    for key, (title, unit, _) in COMPARED_BY.items():
        means = [(one.agreement.means()[key], one.null.means()[key]) for one in comparisons.values()]
        groups = [
            (name, tuple(_triple(pair[n]) for pair in means)) for n, name in enumerate(("attack", "random noise"))
        ]
        k = next(iter(comparisons.values())).agreement.k
        top = None if key == "center_shift" else 1.0
        low = None if key in ("rank_correlation", "ssim") else 0.0
        panels.append(
            Dots(
                title=title, y=unit.format(k=k), categories=tuple(comparisons), groups=tuple(groups),
                y_range=(low, top),
            )
        )  # fmt: skip
    return Panels(
        name="stability-agreement", panels=tuple(panels),
        label="How much maps of originals and adversarial images agree, beside random noise; numbers are in the table.",
        caption="Means with 95 % intervals. Random noise of the same ℓ2 norm is the null level.",
    )  # fmt: skip


def _triple(mean: Mean) -> tuple[float, float, float]:
    return (mean.value, mean.low, mean.high)


def energy_chart(found: Mapping[str, SalientEnergy]) -> Panels:
    """The noise's energy on the most salient pixels, a curve for each map that ranks them, beside chance."""
    first = next(iter(found.values()))
    x = [0.0, *(100 * share for share in first.pixels.tolist())]
    lines = (
        *(
            Line(name, x, *([0.0, *(100 * value for value in part)] for part in _columns(energy.means)))
            for name, energy in found.items()
        ),
        Line("chance", x, x, is_reference=True),
    )
    panel = Curves(
        title="Where the noise falls", lines=lines, x="most salient pixels (%)", y="share of the noise's energy (%)"
    )
    return Panels(
        name="stability-energy", panels=(panel,),
        label="Share of the noise's energy on the most salient pixels, beside chance; numbers are in the table.",
        caption="Energy of the noise on the pixels that the untouched image's map of its true class ranks first.",
    )  # fmt: skip


def _columns(means: Sequence[Mean]) -> list[list[float]]:
    return [[getattr(mean, name) for mean in means] for name in ("value", "low", "high")]


def faithfulness_part(
    explainer: str, deletion: PixelCurve, insertion: PixelCurve, randomized: Sequence[RandomizedLayer]
) -> Part:
    """Deletion and insertion curves, and how maps change as the network's weights are made random."""
    curves = {"Deletion": deletion, "Insertion": insertion}
    measures = [
        Measure.of(
            f"{name.lower()}: area under the curve", mean_interval(one.area), mean_interval(one.null_area).value, SHARE
        )
        for name, one in curves.items()
    ]
    key = "rank_correlation"
    measures += [
        Measure.of(
            f"rank correlation, random down to {one.layer}", one.agreement.means()[key], 0.0, COMPARED_BY[key][2]
        )
        for one in _spread(randomized)
    ]
    told = (
        f"Maps by {explainer}. Deletion turns the pixels that a map ranks first into each channel's mean and watches "
        "the class's probability fall; insertion puts them back. A faithful map has a small area under the first "
        "curve and a large one under the second, compared with pixels in random order.",
        "Model randomization makes the weights random, layer by layer from the logits down (Adebayo et al. 2018, arXiv "
        "1810.03292): a map that stays the same does not depend on what the network has learned.",
    )
    return Part(
        method="faithfulness", title="Whether maps tell the truth", told=told,
        charts=(_curve_chart(curves), *([_randomized_chart(randomized)] if randomized else [])),
        measures=tuple(measures), data=_faithfulness_data(explainer, curves, randomized),
    )  # fmt: skip


def _spread(randomized: Sequence[RandomizedLayer]) -> list[RandomizedLayer]:
    """All, or some from the first to the last."""
    count = len(randomized)
    return [randomized[round(n * (count - 1) / (_ROWS - 1))] for n in range(_ROWS)] if count > _ROWS else [*randomized]


def _faithfulness_data(
    explainer: str, curves: dict[str, PixelCurve], randomized: Sequence[RandomizedLayer]
) -> dict[str, Any]:
    long = ("probabilities", "null_probabilities")
    return {
        "explainer": explainer,
        **{name.lower(): as_json(one, leave_out=long) for name, one in curves.items()},
        "randomized": [
            {"layer": one.layer, **as_json(one.agreement.means())} for one in randomized
        ],
    }  # fmt: skip


def _curve_chart(curves: dict[str, PixelCurve]) -> Panels:
    panels = []
    for name, one in curves.items():
        x = [100 * share for share in one.pixels.tolist()]
        null = [100 * value for value in one.null_probabilities.mean(0).tolist()]
        found = ([100 * value for value in part] for part in _columns(one.means))
        lines = (Line("by the map", x, *found), Line("random order", x, null, is_reference=True))
        panels.append(
            Curves(title=name, lines=lines, x="pixels changed (%)", y="probability of the class (%)", y_range=(0, 100))
        )
    return Panels(
        name="faithfulness-curves", panels=tuple(panels),
        label="Probability of the class as pixels go and come; the areas are in the table.",
        caption="Means over the images with 95 % intervals.",
    )  # fmt: skip


def _randomized_chart(randomized: Sequence[RandomizedLayer]) -> Panels:
    means = [one.agreement.means()["rank_correlation"] for one in randomized]
    x = [float(number) for number in range(1, len(means) + 1)]
    panel = Curves(
        title="Model randomization", lines=(Line("rank correlation", x, *_columns(means)),),
        x="layers made random, from the logits down", y="rank correlation with the learned network's maps",
        y_range=(None, 1.0), whole=True,
    )  # fmt: skip
    return Panels(
        name="faithfulness-randomization", panels=(panel,),
        label="Rank correlation of maps as weights are made random; numbers are in the table.",
        caption="Means over the images with 95 % intervals; 0 is what unrelated maps have.",
    )  # fmt: skip
