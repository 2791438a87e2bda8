"""What is asked and answered on explanations, as pydantic models.  docs/api.md explains them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from foolscope.web.schemas import ClassEntry, ClassIndex, ImageId, Name, PictureEntry, Reproduction, Request, Spec

Quality = Annotated[int, Field(ge=1, le=100)]
Plane = list[list[float | None]]
"""Rows are vertical frequencies, columns horizontal ones."""


class MapsRequest(Request):
    """Maps of one class, `label`: of a picture and, where there is one, of the `adversarial` picture made of it."""

    model: Name
    image: ImageId
    adversarial: ImageId | None = None
    method: Name = "saliency"
    label: ClassIndex | None = None
    layer: Name | None = None

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "resnet20", "image": "photos-0", "method": "grad-cam"}]}
    )


class SpectrumRequest(Request):
    """The noise between a picture and the `adversarial` one made of it; `attack` is how the answer calls what did."""

    model: Name
    image: ImageId
    adversarial: ImageId
    attack: Spec | None = None


class FrequencyRequest(Request):
    """Layers to probe with waves of the picture's size; without any, the first convolutions."""

    model: Name
    image: ImageId
    layers: list[Name] = Field(default_factory=list, max_length=4)

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "resnet20", "image": "photos-0", "layers": ["logits"]}]}
    )


class JpegRequest(Request):
    """A layer to probe behind JPEG of these qualities; without one, the first convolution.

    `shown` are the qualities that the text which repeats the measurement names, where they are asked for in parts;
    by default `qualities`.
    """

    model: Name
    image: ImageId
    layer: Name | None = None
    qualities: list[Quality] = Field(default_factory=lambda: [*range(5, 101, 5)], min_length=1, max_length=20)
    shown: list[Quality] | None = Field(None, min_length=1, max_length=100)


class MethodEntry(BaseModel):
    """A method that gives maps, with a sign or without; `why` it cannot be used here, empty where it can."""

    method: str
    title: str
    about: str
    signed: bool
    why: str


class LayerEntry(BaseModel):
    """A layer by its name, and the kind of module that it is."""

    name: str
    kind: str


class Explainable(BaseModel):
    """What can be explained of a network at a picture; `usual` are the layers that are probed where none is named."""

    model: str
    shown: PictureEntry
    methods: list[MethodEntry]
    layers: list[LayerEntry]
    usual: list[str]


class MapPictures(BaseModel):
    """One map as pictures: its strength, the same over the picture, and its sign where it has one."""

    strength: PictureEntry
    overlay: PictureEntry
    signed: PictureEntry | None


class Compared(BaseModel):
    """A measure of two maps, and what it is for random noise of the same norm; null where it is not defined."""

    value: float | None
    null: float | None


class Agreement(BaseModel):
    """How much the maps of both pictures agree; `k` pixels count as salient."""

    k: int
    rank_correlation: Compared
    intersection: Compared
    ssim: Compared
    center_shift: Compared


class EnergyPoint(BaseModel):
    """The share of the noise's energy on the most salient share of the pixels."""

    pixels: float
    energy: float | None


class Explained(BaseModel):
    """Maps of one class.  `scales` are the colors from the least to the most."""

    model: str
    method: str
    layer: str | None
    label: ClassEntry
    original: MapPictures
    adversarial: MapPictures | None
    agreement: Agreement | None
    energy: list[EnergyPoint] | None
    scales: dict[str, PictureEntry]
    notes: list[str]
    reproduce: Reproduction


class ChartEntry(BaseModel):
    """A chart as HTML for wide and narrow windows, in colors that the page defines."""

    name: str
    label: str
    html: str


class MeasureEntry(BaseModel):
    """A number with its 95 % interval, and what it is without a cause."""

    what: str
    value: float | None
    low: float | None
    high: float | None
    null: float | None


class PartEntry(BaseModel):
    """A part of `foolscope explain`'s page; `style` is the style sheet of its charts."""

    model: str
    title: str
    told: list[str]
    charts: list[ChartEntry]
    style: str
    measures: list[MeasureEntry]
    reproduce: Reproduction


class JpegPlanes(BaseModel):
    """What JPEG of one quality does to every wave, and what the layer answers behind it."""

    quality: int
    gain: Plane
    distortion: Plane
    response: Plane
    pictures: dict[Literal["gain", "distortion", "response"], PictureEntry]


class JpegFilm(BaseModel):
    """Planes over `vertical` and `horizontal` frequencies in cycles per pixel, of every quality.

    `plain` is the layer's response without JPEG, and its `picture`; `largest` is its largest value, at which the
    colors of all responses end, as those of gain and distortion do at 1.  Waves are of `channels` channels, `side`
    pixels, `amplitude` and `mean`.
    """

    model: str
    layer: str
    unit: str
    channels: int
    side: int
    amplitude: float
    mean: float
    vertical: list[float]
    horizontal: list[float]
    plain: Plane
    picture: PictureEntry
    largest: float
    scale: PictureEntry
    qualities: list[JpegPlanes]
    reproduce: Reproduction
