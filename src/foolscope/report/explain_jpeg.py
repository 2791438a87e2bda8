"""Part on networks behind JPEG: what a layer still hears, quality by quality, and what JPEG itself does to waves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from foolscope.experiments.findings import Line
from foolscope.explain import TransferFunction
from foolscope.explain.frequencies import Bins
from foolscope.report.explain_figures import Chart, gif_file
from foolscope.report.explain_frequency import FREQUENCY, PLANES, layer_title, response_plane, short_unit
from foolscope.report.explain_panels import Curves, Panels
from foolscope.report.explain_parts import Measure, Part, as_json, line
from foolscope.report.explain_slider import Slider

_AS_MANY_QUALITIES = 5
_GIF_WIDTH = 400
_REST = "share of energy that is not the wave"


def jpeg_part(
    plain: TransferFunction, layer: Mapping[int, TransferFunction], codec: Mapping[int, TransferFunction]
) -> Part:
    """A layer's response behind JPEG at several qualities, and JPEG's own gain and distortion."""
    name, qualities = layer_title(plain), sorted(layer)
    limits = (0.0, max(float(one.response.max()) for one in (plain, *layer.values())))
    frames = [
        Panels(name="jpeg", label="", caption="", panels=(response_plane(layer[q], f"{name}, quality {q}", limits),))
        for q in qualities
    ]
    measures = [
        Measure(f"quality {q}: {what}", value)
        for q in _spread(qualities)
        for what, value in (
            (f"mean response of {name}, as a share of that without JPEG", _ratio(layer[q], plain)),
            ("JPEG's distortion, mean over all frequencies", float(_distortion(codec[q]).mean())),
        )
    ]
    told = (
        f"Waves pass JPEG before they reach {name}. JPEG is no linear filter: it removes what lies below its "
        "quantization steps and invents other frequencies, which its distortion counts; waves of another amplitude "
        "would fare differently.",
    )
    data = {
        key: [{"quality": q, **as_json(found[q], leave_out=PLANES)} for q in qualities]
        for key, found in (("layer", layer), ("codec", codec))
    }
    return Part(
        method="jpeg", title="Transfer functions behind JPEG", told=told,
        charts=_jpeg_charts(plain, layer, codec, limits), measures=tuple(measures), data=data,
        arrays={
            f"jpeg-{kind}-{q}": plane.float().numpy()
            for q in qualities
            for kind, plane in (
                ("layer", layer[q].response), ("gain", codec[q].response), ("distortion", codec[q].distortion),
            )
            if plane is not None
        },
        animations={"jpeg": gif_file(frames, _GIF_WIDTH)}, slider=_slider(plain, layer, codec, limits),
    )  # fmt: skip


def _slider(
    plain: TransferFunction,
    layer: Mapping[int, TransferFunction],
    codec: Mapping[int, TransferFunction],
    limits: tuple[float, float],
) -> Slider:
    """Every quality: the layer's response behind JPEG, beside JPEG's own gain and distortion, on fixed scales."""
    name, charts, told = layer_title(plain), [], []
    largest = max(1.0, *(float(one.response.max()) for one in codec.values()))
    for quality, one in sorted(layer.items()):
        jpeg = codec[quality]
        gain = response_plane(jpeg, "Gain of JPEG", (0.0, largest))
        planes = (
            response_plane(one, f"{name} behind JPEG", limits),
            replace(gain, unit="amplitude out per amplitude in"),
            replace(gain, title="Distortion of JPEG", values=_distortion(jpeg).numpy(), unit=_REST, limits=(0.0, 1.0)),
        )
        label = f"Response of {name} behind JPEG, JPEG's gain and its distortion, at every frequency and one quality."
        charts.append(
            Panels(name="jpeg-quality", panels=planes, label=label, caption="Scales are those of all qualities.")
        )
        means = (_ratio(one, plain), float(jpeg.response.mean()), float(_distortion(jpeg).mean()))
        kept, passed, invented = (f"{100 * mean:.0f} %" for mean in means)
        told.append(
            f"Quality {quality}: {name} keeps {kept} of its mean response; JPEG passes {passed} of a wave and distorts "
            f"{invented} of the energy, means over all frequencies."
        )
    return Slider(what="JPEG quality", told=tuple(told), charts=tuple(charts))


def _jpeg_charts(
    plain: TransferFunction,
    layer: Mapping[int, TransferFunction],
    codec: Mapping[int, TransferFunction],
    limits: tuple[float, float],
) -> tuple[Chart, ...]:
    """Planes and radial curves of a few qualities, and the codec's gain and distortion."""
    name, chosen = layer_title(plain), _spread(sorted(layer))
    planes = [response_plane(layer[quality], f"Quality {quality}", limits) for quality in chosen]
    lines = [line(f"quality {quality}", layer[quality].radial) for quality in chosen]
    behind = Curves(
        title=f"{name} behind JPEG", x=FREQUENCY, y=short_unit(plain.unit), nyquist=True,
        lines=(*lines, line("without JPEG", plain.radial, is_reference=True)),
    )  # fmt: skip
    gain = Curves(
        title="Gain of JPEG", x=FREQUENCY, y="amplitude out per amplitude in", nyquist=True,
        lines=tuple(line(f"quality {quality}", codec[quality].radial) for quality in chosen),
    )  # fmt: skip
    distortion = Curves(
        title="Distortion of JPEG", x=FREQUENCY, y=_REST, nyquist=True,
        lines=tuple(_distortion_line(f"quality {quality}", codec[quality]) for quality in chosen),
    )  # fmt: skip
    return (
        Panels(
            name="jpeg", panels=(*planes, response_plane(plain, "Without JPEG", limits)),
            label=f"Response of {name} to every frequency behind JPEG, at {len(chosen)} qualities, and without.",
            caption=f"Response of {name}; all planes share one scale.",
        ),
        Panels(
            name="jpeg-radial", panels=(behind,), caption="Means over all directions.",
            label=f"Mean response of {name} to each length of frequency, behind JPEG and without.",
        ),
        Panels(
            name="jpeg-codec", panels=(gain, distortion),
            label="Gain and distortion of JPEG itself for each length of frequency.",
            caption="JPEG as a filter of one wave: how much of the wave it keeps, and how much else it adds.",
        ),
    )  # fmt: skip


def _spread(qualities: Sequence[int]) -> list[int]:
    """All, or some from the first to the last."""
    places = np.linspace(0, len(qualities) - 1, min(len(qualities), _AS_MANY_QUALITIES)).round().astype(int)
    return [qualities[place] for place in dict.fromkeys(places.tolist())]


def _ratio(one: TransferFunction, plain: TransferFunction) -> float:
    return float(one.response.mean() / plain.response.mean())


def _distortion(one: TransferFunction) -> Tensor:
    assert one.distortion is not None, "of a probed layer"
    return one.distortion


def _distortion_line(name: str, one: TransferFunction) -> Line:
    """The mean distortion of each ring."""
    rings = Bins.rings(one.vertical, one.horizontal)
    return Line(name, rings.coordinate.tolist(), rings.means(_distortion(one)[None])[0].tolist())
