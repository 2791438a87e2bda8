"""The work behind explanations: methods and layers, maps with their measures, waves, and parts of the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from foolscope import explain
from foolscope.data import ImageSet
from foolscope.data.imageset import array_digest
from foolscope.defenses import parse_defense
from foolscope.errors import InputError
from foolscope.explain.layers import gradient_engine
from foolscope.models import ModelInfo
from foolscope.models.engine import Engine
from foolscope.registry import Registry
from foolscope.report.explain_figures import on_page
from foolscope.report.explain_maps import Maps
from foolscope.report.explain_parts import Part, Subject, as_json
from foolscope.report.explain_pictures import image_picture
from foolscope.report.figures import Styles
from foolscope.web import explain_schemas
from foolscope.web.networks import Network
from foolscope.web.pictures import Picture, picture_of
from foolscope.web.schemas import Reproduction

LOGITS = "logits"
"""What stands for the logits where a layer is named."""

AMPLITUDE, MEAN = 0.1, 0.5
"""Of the waves that layers are probed with; shown with the contrast that makes them fill [0, 1]."""

RESOLUTION = 16
"""Frequencies along each axis behind JPEG, and of a transfer function of large images."""

LARGE = 64
"""So many pixels a side small images have at most."""

_CONVOLUTIONS = 2
_MEASURES = ("rank_correlation", "intersection", "ssim", "center_shift")

Gradients = Callable[[Engine, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Method:
    """A method that gives maps: `signed` ones (N, C, H, W), or those of a layer."""

    title: str
    about: str
    signed: Gradients | None = None


METHODS: Registry[Method] = Registry(
    "method",
    "GET /api/v1/explain",
    {
        "saliency": Method("Saliency", "which pixels move the class's score, right at this image", explain.saliency),
        "smooth-grad": Method(
            "SmoothGrad", "the same, averaged over 25 noisy versions of the image", explain.smooth_grad
        ),
        "integrated-gradients": Method(
            "Integrated gradients", "what each pixel adds to the score on the way from black to the image",
            explain.integrated_gradients,
        ),
        "grad-cam": Method("Grad-CAM", "where the last layer with positions sees the class"),
    },
)  # fmt: skip
"""Every method of `explain.EXPLAINERS`, with what is told about it."""


@dataclass(frozen=True)
class Shown:
    """A network, a picture as it sees it, and the picture that an attack has made of that."""

    network: Network
    picture: Picture
    adversarial: Picture | None

    @property
    def info(self) -> ModelInfo:
        """What is known about the network."""
        return self.network.info

    @property
    def side(self) -> int:
        """The side of the waves that are probed behind JPEG: of a network of any size, no more than it takes."""
        side: int = self.picture.pixels.shape[1]
        is_fixed = self.info.input_shape is not None and None not in self.info.input_shape
        return side if is_fixed else min(LARGE, side)

    @property
    def noise(self) -> Tensor:
        """The difference (1, C, H, W).  Raises `InputError` where there is none."""
        if self.adversarial is None or self.adversarial.id == self.picture.id:
            raise InputError("the attacked picture equals the original: there is no noise to look at.")
        return self.adversarial.images - self.picture.images


def wave(frequency: tuple[float, float], side: int, channels: int, quality: int | None) -> Picture:
    """The wave of a vertical and a horizontal frequency in cycles per pixel, of JPEG's quality if one is given."""
    swing = explain.sinusoids(side, side, torch.tensor([frequency], dtype=torch.float64), torch.zeros(1))
    images = (MEAN + AMPLITUDE * swing).expand(1, channels, side, side).contiguous()
    if quality is not None:
        images = parse_defense(f"jpeg:quality={quality}")(images)
    return picture_of(image_picture(MEAN + (images[0] - MEAN) * (MEAN / AMPLITUDE), "").pixels)


def why_not(method: str, engine: Engine, images: Tensor) -> str:
    """Why a method cannot be used; empty where it can."""
    try:
        gradient_engine(engine, METHODS[method].title)
        if method == "grad-cam":
            explain.grad_cam_layer(engine, images)
    except InputError as error:
        return str(error)
    return ""


def usual_layers(engine: Engine, images: Tensor) -> list[str]:
    """The first convolutions, and the logits of small images or where there is nothing else."""
    named = [name for name, layer in engine.model.named_modules() if isinstance(layer, nn.Conv2d) and name]
    is_large = max(images.shape[2:]) > LARGE
    first = named[:_CONVOLUTIONS]
    return first if first and is_large else [*first, LOGITS]


def layer(name: str) -> str | None:
    """A layer as the library names it: None is the logits."""
    return None if name == LOGITS else name


def map_layer(method: str, layer: str | None, engine: Engine, images: Tensor) -> str | None:
    """The layer that a method looks at.  Raises `InputError` for a layer where it looks at the whole network."""
    if METHODS[method].signed is None:
        return layer or explain.grad_cam_layer(engine, images)
    if layer is not None:
        raise InputError(f"{method} looks at the whole network: a layer is for grad-cam alone.")
    return None


def maps(engine: Engine, images: Tensor, label: int, method: str, layer: str | None) -> Maps:
    """The map of one class, of the layer where there is one."""
    labels, signed = torch.tensor([label]), METHODS[method].signed
    if signed is None:
        return Maps(magnitudes=explain.class_activation(engine, images, labels, layer).maps(*images.shape[2:]))
    found = signed(engine, images, labels)
    return Maps(magnitudes=explain.pixel_saliency(found), signed=found)


def agreement(before: Maps, after: Maps, noisy: Maps) -> explain_schemas.Agreement:
    """How much the maps agree, and what random noise leaves of that."""
    found = explain.agreement(before.magnitudes, after.magnitudes)
    null = explain.agreement(before.magnitudes, noisy.magnitudes)
    measures = {
        name: {"value": as_json(float(getattr(found, name))), "null": as_json(float(getattr(null, name)))}
        for name in _MEASURES
    }
    return explain_schemas.Agreement.model_validate({"k": found.k, **measures})


def energy(noise: Tensor, before: Maps) -> list[explain_schemas.EnergyPoint]:
    """Where the noise falls on the map of the original."""
    found = explain.energy_on_salient(noise, before.magnitudes)
    pairs = zip(found.pixels.tolist(), found.energy[0].tolist(), strict=True)
    return [explain_schemas.EnergyPoint(pixels=as_json(pixels), energy=as_json(energy)) for pixels, energy in pairs]


def empty_notes(before: Maps, after: Maps | None, name: str) -> list[str]:
    """A sentence on each map that shows nothing."""
    named = {"original": before, **({"attacked": after} if after else {})}
    empty = [kind for kind, one in named.items() if not one.magnitudes.any()]
    return [f"the map of the {kind} image is 0 everywhere: no pixel speaks for '{name}'" for kind in empty]


def subject(shown: Shown, engine: Engine, attack: str) -> Subject:
    """The picture as a report's images are, with what an attack has made of it."""
    assert shown.adversarial is not None, "asked for before"
    images, adversarial = shown.picture.images, shown.adversarial.images
    logits = engine.logits(images)
    pixels, labels = shown.picture.pixels[None], logits.argmax(1)
    data = ImageSet(
        name=shown.picture.id, split="as a file", pixels=pixels, labels=labels, num_classes=logits.shape[1],
        class_names=shown.info.class_names, digest=array_digest(pixels, labels), total=1,
    )  # fmt: skip
    return Subject(
        model=shown.network.model, data=data, class_names=shown.info.class_names, predictions=labels, attack=attack,
        adversarial=adversarial, answers=engine.predict(adversarial),
    )  # fmt: skip


def part_entry(shown: Shown, part: Part, reproduce: Reproduction) -> explain_schemas.PartEntry:
    """A part of the report with its charts drawn."""
    styles = Styles()
    charts = [
        explain_schemas.ChartEntry(name=chart.name, label=chart.label, html=str(on_page(chart, styles)))
        for chart in part.charts
    ]
    return explain_schemas.PartEntry(
        model=shown.network.model,
        title=part.title,
        told=list(part.told),
        charts=charts,
        style=styles.css(),
        measures=[explain_schemas.MeasureEntry(**as_json(measure)) for measure in part.measures],
        reproduce=reproduce,
    )
