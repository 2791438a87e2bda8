"""Parts on which frequencies mislead: Fourier heat maps, and tests of bands."""

from __future__ import annotations

import math
from collections.abc import Sequence

from foolscope.experiments.findings import Line
from foolscope.explain import BandAccuracy, FourierHeatMap, NoiseBand
from foolscope.measure import Mean, Proportion
from foolscope.report.explain_panels import Curves, Dots, Panel, Panels, Plane
from foolscope.report.explain_parts import Measure, Part, Subject, as_json

_FREQUENCY = "frequency (cycles per pixel)"


def heatmap_part(found: FourierHeatMap) -> Part:
    """The error rate under a wave of each frequency."""
    top = 10 * max(1, math.ceil(10 * float(found.rate.max())))
    plane = Plane(
        title="Error rate under one wave", vertical=found.vertical.tolist(), horizontal=found.horizontal.tolist(),
        values=100 * found.rate.numpy(), unit="wrong images (%)", limits=(0.0, top),
    )  # fmt: skip
    x = found.radial.coordinate.tolist()
    parts = ((100 * part).tolist() for part in (found.radial.mean, found.radial.low, found.radial.high))
    lines = (
        Line("with a wave", x, *parts),
        Line("without", x, [100 * found.clean.value] * len(x), is_reference=True),
    )
    curve = Curves(title="By frequency", lines=lines, x=_FREQUENCY, y="wrong images (%)", nyquist=True)
    row, column = divmod(int(found.errors.argmax()), found.errors.shape[1])
    worst = f"({found.vertical[row]:.3f}, {found.horizontal[column]:.3f})"
    measures = (
        Measure.of("wrong without a wave (share)", found.clean),
        Measure.of(f"wrong at the worst frequency, vertical and horizontal {worst} (share)", found.at(row, column),
                   found.clean.value),
        Measure("wrong, mean over all frequencies (share)", float(found.rate.mean()), None, None, found.clean.value),
    )  # fmt: skip
    clip = "clipped to" if found.clipped else "not clipped to"
    told = (
        f"The share of {found.images} images that are wrong once a wave of ℓ2 norm {found.norm:g} a channel and random "
        f"sign is added, for every frequency (Yin et al. 2019, arXiv 1906.08988); images are {clip} [0, 1]. The worst "
        "of so many frequencies is partly chance.",
    )
    chart = Panels(
        name="heatmap", panels=(plane, curve),
        label="Error rate under a wave of every frequency, and its mean for each length of frequency.",
        caption="The curve's band is the 95 % interval over the images; dotted: the untouched images.",
    )  # fmt: skip
    return Part(
        method="heatmap", title="Fourier heat map", told=told, charts=(chart,), measures=measures, data=as_json(found)
    )


def bands_part(
    subject: Subject, passed: Sequence[BandAccuracy], clean: Proportion, noise: Sequence[tuple[NoiseBand, NoiseBand]]
) -> Part:
    """Accuracy on what bands hold of the images, and what bands of the noise do, as they are and renormalized."""
    categories = tuple(_band_name(one.band.low, one.band.high) for one in passed)
    wrapped = tuple(name.replace(" to ", " to\n") for name in categories)
    unit = "band (cycles per pixel)"
    panels: list[Panel] = [
        Dots(
            title="Images: accuracy on one band", categories=wrapped, x=unit, y="accuracy (%)", y_range=(0, 100),
            groups=(("band alone", tuple(_percents(one.accuracy) for one in passed)),
                    ("all frequencies", tuple(_percents(clean) for _ in passed))),
        )
    ]  # fmt: skip
    measures = [
        Measure.of(f"accuracy on {name} cycles per pixel (share)", one.accuracy, clean.value)
        for name, one in zip(categories, passed, strict=True)
    ]
    told = ["Images keep each channel's mean; what a band does not hold of the rest is taken away."]
    if noise:
        groups = (
            ("band alone", tuple(_percents(plain.fooled) for plain, _ in noise)),
            ("band at full norm", tuple(_percents(scaled.fooled) for _, scaled in noise)),
            ("its share of the energy", tuple(_percents(plain.energy) for plain, _ in noise)),
        )
        panels.append(
            Dots(title="Noise: what one band does", categories=wrapped, x=unit, y="fooled images, energy (%)",
                 y_range=(0, 100), groups=groups)
        )  # fmt: skip
        for name, (plain, scaled) in zip(categories, noise, strict=True):
            measures.append(Measure.of(f"fooled by the noise's {name} cycles per pixel alone (share)", plain.fooled))
            measures.append(Measure.of("the same, scaled to the whole noise's norm (share)", scaled.fooled))
        told.append(
            f"Of the images that {subject.attack} fools, the share that one band of its noise fools alone: as it is, "
            "and scaled to the whole noise's ℓ2 norm, which asks for the direction alone."
        )
    chart = Panels(
        name="bands", panels=tuple(panels),
        label="Accuracy on bands of the images, and what bands of the noise do; numbers are in the table.",
        caption="95 % intervals.",
    )  # fmt: skip
    data = {"clean": as_json(clean), "bands": as_json(passed), "noise": as_json(noise)}
    return Part(method="bands", title="Bands", told=tuple(told), charts=(chart,), measures=tuple(measures), data=data)


def _band_name(low: float, high: float) -> str:
    return f"{low:.3g} to {high:.3g}"


def _percents(share: Proportion | Mean) -> tuple[float, float, float]:
    return (100 * share.value, 100 * share.low, 100 * share.high)
