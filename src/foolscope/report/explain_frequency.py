"""Parts on how networks and attacks treat frequencies: transfer functions and noise spectra."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from foolscope.experiments.findings import Line
from foolscope.explain import NoiseSpectrum, Profile, TransferFunction
from foolscope.explain.spectrum import Spectrum
from foolscope.report.explain_figures import Chart
from foolscope.report.explain_panels import Curves, Panels, Plane
from foolscope.report.explain_parts import POSITIVE, Measure, Part, Subject, as_json, line
from foolscope.report.words import counted

FREQUENCY = "frequency (cycles per pixel)"
PLANES = ("channels", "response", "distortion", "power")
"""What goes into arrays instead of `explain.json`."""
_CHANNELS = 12


def transfer_part(found: Sequence[TransferFunction]) -> Part:
    """The response of every probed layer; of the logits alone: 'logits'."""
    titles = [layer_title(one) for one in found]
    charts = [*_response_charts("transfer-function", found, titles, "Curves are means over all directions.")]
    charts += [_channel_chart(one) for one in found if one.layer and len(one.channels) > 1][:1]
    first = found[0]
    color = "gray" if first.direction and len(set(first.direction)) == 1 else f"color {first.direction}"
    told = (
        f"How strongly a layer answers to each spatial frequency: waves of {color} and amplitude {first.amplitude:g} "
        f"around {first.mean:g}, at {first.phases} phases; what counts is the part of the answer that follows the "
        "phase. Distortion is the share of the answer's energy that does not: 0 of a linear layer."
    )
    return Part(
        method="transfer-function", title="Transfer functions", told=(told,), charts=tuple(charts),
        measures=tuple(measure for one in found for measure in _transfer_measures(one)),
        data={"functions": [as_json(one, leave_out=PLANES) for one in found]},
        arrays={name: plane for one in found for name, plane in _arrays(one).items()},
    )  # fmt: skip


def _arrays(one: TransferFunction) -> dict[str, NDArray[np.float32]]:
    """The response of every channel (K, R, S), and the distortion (R, S)."""
    name = f"transfer-function-{_file_name(one)}"
    distortion = {} if one.distortion is None else {f"{name}-distortion": one.distortion.float().numpy()}
    return {name: one.channels.float().numpy(), **distortion}


def jacobian_part(found: TransferFunction) -> Part:
    """The response of the logits at real images."""
    told = (
        f"At {counted(found.samples, 'real image')}: the mean magnitude of the unitary Fourier transform of the "
        "gradient of the class's logit (Krishnamachari, Ng and Foo 2023, arXiv 2301.13514, who take the loss). The "
        "unit is a wave of ℓ2 norm 1: times the square root of the number of pixels it is a wave of amplitude 1."
    )
    caption = "The curve is the mean over all directions; its band is the 95 % interval over the images."
    return Part(
        method="jacobian", title="Transfer function at real images", told=(told,),
        charts=_response_charts("jacobian", [found], ["logits at real images"], caption),
        measures=tuple(_transfer_measures(found)), data=as_json(found, leave_out=PLANES),
        arrays={"jacobian": found.response.float().numpy()},
    )  # fmt: skip


def _response_charts(
    name: str, found: Sequence[TransferFunction], titles: Sequence[str], caption: str
) -> tuple[Chart, ...]:
    """Planes and radial curves, one panel a layer; of one layer beside each other."""
    planes = tuple(response_plane(one, title) for one, title in zip(found, titles, strict=True))
    curves = tuple(
        Curves(title=title, lines=(line("response", one.radial),), x=FREQUENCY, y=short_unit(one.unit), nyquist=True)
        for one, title in zip(found, titles, strict=True)
    )
    label = "Response to every frequency; explain.json has the numbers."
    middle = (
        "0 is in the middle: waves that run to the right lie beside it, waves that run downward above and below it."
    )
    if len(found) == 1:
        return (Panels(name=name, panels=(*planes, *curves), label=label, caption=f"{middle} {caption}"),)
    return (
        Panels(name=name, panels=planes, label=label, caption=middle),
        Panels(
            name=f"{name}-radial", panels=curves,
            label="Mean response to each length of frequency; explain.json has the numbers.", caption=caption,
        ),
    )  # fmt: skip


def layer_title(one: TransferFunction) -> str:
    """What was probed: the layer's name, or the logits."""
    return "logits at real images" if one.method == "jacobian" else one.layer or "logits"


def _file_name(one: TransferFunction) -> str:
    return re.sub("[^A-Za-z0-9]+", "-", layer_title(one))


def response_plane(one: TransferFunction, title: str, limits: tuple[float, float] | None = None) -> Plane:
    """The response to every frequency; colors go from 0 to its maximum without `limits`."""
    values = one.response.numpy()
    return Plane(
        title=title, vertical=one.vertical.tolist(), horizontal=one.horizontal.tolist(), values=values,
        unit=short_unit(one.unit), limits=limits or (0.0, float(values.max())),
    )  # fmt: skip


def short_unit(unit: str) -> str:
    """A unit that fits above a small plane."""
    return unit.replace("per unit of image amplitude", "per unit amplitude").replace("per unit of l2", "per unit of ℓ2")


def _channel_chart(one: TransferFunction) -> Panels:
    """The first channels of a layer, on one scale."""
    count = min(_CHANNELS, len(one.channels))
    top = float(one.channels[:count].max())
    planes = [
        Plane(
            title=f"{one.layer}, channel {number}", vertical=one.vertical.tolist(), horizontal=one.horizontal.tolist(),
            values=one.channels[number].numpy(), unit=short_unit(one.unit), limits=(0.0, top),
        )
        for number in range(count)
    ]  # fmt: skip
    return Panels(
        name="transfer-function-channels", panels=tuple(planes),
        label=f"Response of the first {count} channels of {one.layer} to every frequency.",
        caption=f"{count} of {len(one.channels)} channels of {one.layer}, on one scale.",
    )  # fmt: skip


def _transfer_measures(one: TransferFunction) -> list[Measure]:
    title = layer_title(one)
    strongest = int(one.radial.mean.argmax())
    found = [
        Measure(f"{title}: strongest ring (cycles per pixel)", float(one.radial.coordinate[strongest])),
        Measure(
            f"{title}: response there ({short_unit(one.unit)})",
            *(float(part[strongest]) for part in (one.radial.mean, one.radial.low, one.radial.high)),
        ),
    ]  # fmt: skip
    if one.distortion is not None:
        found.append(Measure(f"{title}: distortion, mean over all frequencies", float(one.distortion.mean())))
    return found


def spectrum_part(subject: Subject, found: NoiseSpectrum, rows: Tensor) -> Part:
    """How the noise's energy lies over the frequencies, beside white noise and the images' own."""
    kinds = {"noise": found.noise, "white noise": found.white, "images": found.images}
    there = {name: one for name, one in kinds.items() if one is not None}
    white = _centroid(found.white)
    measures = [
        *(
            Measure.of(f"{name}: energy (squared ℓ2 norm)", one.mean_energy, within=POSITIVE)
            for name, one in there.items()
        ),
        Measure("noise: mean frequency of its energy (cycles per pixel)", _centroid(found.noise), null=white),
        *([] if found.images is None else [
            Measure("images: mean frequency of their energy (cycles per pixel)", _centroid(found.images), null=white)
        ]),
    ]  # fmt: skip
    told = (
        f"The noise that {subject.attack} added to {counted(len(rows), 'image')}, by the unitary Fourier transform of "
        "each channel: the power of all frequencies sums up to the noise's squared ℓ2 norm. White noise of the same "
        "norm is what an attack without any preference would add.",
    )
    data = {
        "images_taken": as_json(rows),
        **{name.replace(" ", "_"): as_json(one, leave_out=PLANES) for name, one in there.items()},
    }
    return Part(
        method="spectrum", title="The noise's spectrum", told=told, charts=_spectrum_charts(there),
        measures=tuple(measures), data=data,
        arrays={f"spectrum-{name.replace(' ', '-')}": one.power.float().numpy() for name, one in there.items()},
    )  # fmt: skip


def _spectrum_charts(there: Mapping[str, Spectrum]) -> tuple[Chart, ...]:
    """Planes, of which noise and white noise share a scale, and curves by frequency and by direction."""
    powers = {name: one.power.mean(0).numpy() for name, one in there.items()}
    noises = np.stack([powers["noise"], powers["white noise"]])
    limits = (float(noises.min()), float(noises.max()))
    unit = "squared units of [0, 1]"
    planes = [
        Plane(
            title=f"{name[0].upper()}{name[1:]}", vertical=one.vertical.tolist(), horizontal=one.horizontal.tolist(),
            values=powers[name], unit=f"power ({unit})", log=True, limits=None if name == "images" else limits,
        )
        for name, one in there.items()
    ]  # fmt: skip
    radial = Curves(
        title="By frequency", x=FREQUENCY, y=f"mean power at a frequency ({unit})", log=True, nyquist=True,
        lines=tuple(line(name, one.radial, is_reference=name == "white noise") for name, one in there.items()),
    )  # fmt: skip
    angular = Curves(
        title="By direction", x="direction (degrees; 0 runs to the right, 90 downward)",
        y="power, as a share of the mean over directions",
        lines=tuple(_relative(name, one.angular, name == "white noise") for name, one in there.items()),
    )  # fmt: skip
    return (
        Panels(
            name="spectrum", panels=tuple(planes),
            label="Power of the noise, of white noise and of the images at every frequency.",
            caption="Means over images and channels; the color follows the logarithm, eight decades at most. Noise and "
            "white noise share one scale. The images' mean brightness is frequency 0.",
        ),
        Panels(
            name="spectrum-profiles", panels=(radial, angular),
            label="Power by length and by direction of the frequency; explain.json has the numbers.",
            caption="Means over images and channels with 95 % intervals over the images.",
        ),
    )  # fmt: skip


def _centroid(one: Spectrum) -> float:
    """The mean length of the frequencies, weighted by their power."""
    length = np.hypot(one.vertical.numpy()[:, None], one.horizontal.numpy()[None, :])
    weights = one.power.mean(0).numpy()
    return float((length * weights).sum() / weights.sum())


def _relative(name: str, profile: Profile, is_reference: bool) -> Line:
    mean = float(profile.mean.mean()) or 1.0
    parts = (profile.mean / mean, profile.low / mean, profile.high / mean)
    return Line(name, profile.coordinate.tolist(), *(part.tolist() for part in parts), is_reference=is_reference)
