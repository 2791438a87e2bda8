"""What requests may say and answers say, as pydantic models: OpenAPI is made of them.  docs/api.md explains them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

_SPEC_LENGTH = 2000
_LARGEST_SEED = 2**62

Spec = Annotated[str, Field(min_length=1, max_length=_SPEC_LENGTH)]
Name = Annotated[str, Field(min_length=1, max_length=300)]
ImageId = Annotated[str, Field(min_length=1, max_length=100)]
Seed = Annotated[int, Field(ge=0, le=_LARGEST_SEED)]
ClassIndex = Annotated[int, Field(ge=0, le=1_000_000)]


class Request(BaseModel):
    """Base of what is asked: unknown fields and values of another type are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class LoadRequest(Request):
    """A network to load."""

    model: Name


class PredictRequest(Request):
    """A picture to classify."""

    model: Name
    image: ImageId
    top: Annotated[int, Field(ge=1, le=100)] = 3

    model_config = ConfigDict(json_schema_extra={"examples": [{"model": "resnet20", "image": "photos-0"}]})


class AttackRequest(Request):
    """An attack on a picture: `attack`, or a `chain` of filters."""

    model: Name
    image: ImageId
    attack: Spec | None = None
    chain: Spec | None = None
    label: ClassIndex | None = None
    target: ClassIndex | None = None
    seed: Seed = 0
    top: Annotated[int, Field(ge=1, le=100)] = 3

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "resnet20", "image": "photos-0", "attack": "pgd:eps=4/255,steps=10"}]}
    )


class DefendRequest(Request):
    """A picture to classify after a defense."""

    model: Name
    image: ImageId
    defense: Spec
    label: ClassIndex | None = None
    top: Annotated[int, Field(ge=1, le=100)] = 3

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "resnet20", "image": "photos-0", "defense": "jpeg:quality=50"}]}
    )


class DetectRequest(Request):
    """A picture to score."""

    model: Name
    image: ImageId


class ChainRequest(Request):
    """A chain to save."""

    spec: Spec
    title: Annotated[str, Field(max_length=100)] = ""

    model_config = ConfigDict(json_schema_extra={"examples": [{"title": "cold", "spec": "clarendon|juno"}]})


class ChainChange(Request):
    """What shall change of a saved chain."""

    title: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    spec: Spec | None = None


class SessionRequest(Request):
    """The server's token."""

    token: Annotated[str, Field(max_length=1000)]


class Session(BaseModel):
    """Whether the server wants a token, and has it."""

    needed: bool
    signed_in: bool


class AuditRequest(Request):
    """An audit to run: `data` is a set of the gallery, `eps` radii as `foolscope audit --eps` takes them."""

    kind: Literal["audit"]
    model: Name
    data: Name
    attacks: Annotated[list[Spec], Field(min_length=1, max_length=20)]
    eps: Annotated[list[Spec], Field(max_length=20)] = []
    defenses: Annotated[list[Spec], Field(max_length=20)] = []
    limit: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    seed: Seed = 0

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "audit",
                    "model": "lenet:weights=digits",
                    "data": "digits",
                    "attacks": ["fgsm", "pgd"],
                    "limit": 256,
                }
            ]
        }
    )


class EvolveRequest(Request):
    """A search for chains of filters: as `foolscope evolve`, with `data` a set of the gallery.

    `pool` is by default the thesis' five filters, and for gray images those that do not color.
    """

    kind: Literal["evolve"]
    model: Name
    data: Name
    filters: Annotated[int, Field(ge=1, le=10)] = 5
    population: Annotated[int, Field(ge=2, le=1000)] = 10
    epochs: Annotated[int, Field(ge=1, le=1000)] = 3
    images: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    held_out: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    pool: Spec | None = None
    detector: Spec | None = "fs"
    seed: Seed = 0


class ExperimentRequest(Request):
    """An experiment to run: as `foolscope run`, with `data` a set of the gallery; fewer images make a preview."""

    kind: Literal["experiment"]
    experiment: Name
    data: Name
    settings: Annotated[dict[Name, Spec], Field(max_length=20)] = {}
    limit: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    seed: Seed = 0

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"kind": "experiment", "experiment": "jpeg-epsilon", "data": "digits", "limit": 64}]
        }
    )


JobRequest = Annotated[AuditRequest | EvolveRequest | ExperimentRequest, Field(discriminator="kind")]


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    kind: str
    detail: str
    id: str


class Limits(BaseModel):
    """What the server allows."""

    upload_bytes: int
    side: int
    filters: int
    attack_seconds: float


class Start(BaseModel):
    """What a page selects first."""

    model: str
    image: str
    attack: str


class About(BaseModel):
    """The server."""

    version: str
    api: str
    offline: bool
    limits: Limits
    start: Start
    jobs: list[str]
    versions: dict[str, str | None]


class ModelEntry(BaseModel):
    """A network that is offered."""

    model: str
    group: Literal["shipped", "imagenet", "added"]
    summary: str
    source: str
    trained_on: str | None
    accuracy: float | None
    robust_accuracy: str | None
    input_shape: list[int | None] | None
    classes: int | None
    state: Literal["ready", "download", "unavailable", "loading", "failed"]
    detail: str
    progress: float | None
    loaded: bool


class ModelList(BaseModel):
    """The networks that are offered."""

    models: list[ModelEntry]


class ClassNames(BaseModel):
    """A network's classes."""

    model: str
    classes: list[str]


class PictureEntry(BaseModel):
    """A picture: its id, where its PNGs are, and its size."""

    id: str
    url: str
    thumbnail: str
    width: int
    height: int
    channels: int


class Uploaded(PictureEntry):
    """A picture that was uploaded, and what was done to it."""

    notes: list[str]


class SetEntry(BaseModel):
    """A set of the gallery."""

    set: str
    title: str


class SetList(BaseModel):
    """The gallery's sets."""

    sets: list[SetEntry]


class PresetEntry(BaseModel):
    """A preset picture."""

    id: str
    url: str
    thumbnail: str
    truth: str
    credit: str | None


class PresetList(BaseModel):
    """A set's presets."""

    set: str
    count: int
    images: list[PresetEntry]


class ClassEntry(BaseModel):
    """A class."""

    index: int
    name: str


class ClassShare(ClassEntry):
    """A class and its probability."""

    probability: float


class Repetition(BaseModel):
    """What repeats a result; `command` is null where the command line cannot."""

    command: str | None
    python: str
    versions: dict[str, str | None]


class Reproduction(Repetition):
    """What repeats a result on a picture, once that is saved as `file`."""

    file: str


class Prediction(BaseModel):
    """What a network sees in a picture."""

    model: str
    shown: PictureEntry
    notes: list[str]
    top: list[ClassShare]
    truth: ClassEntry | None
    correct: bool | None
    message: str
    reproduce: Reproduction


class Defended(Prediction):
    """What a network sees in a picture after a defense."""

    defense: str


class Detection(BaseModel):
    """How suspicious a picture is."""

    model: str
    detector: str
    score: float
    threshold: float | None
    detected: bool | None
    calibration: Literal["calibrated", "calibrating", "none"]
    message: str
    reproduce: Reproduction


class Attacked(BaseModel):
    """What an attack did to a picture."""

    model: str
    attack: str
    seed: int
    truth: ClassEntry
    target: ClassEntry | None
    original: PictureEntry
    adversarial: PictureEntry
    noise: PictureEntry
    noise_factor: float | None
    top_before: list[ClassShare]
    top: list[ClassShare]
    success: bool
    already: bool
    broken: bool
    message: str
    distances: dict[str, float | None]
    forwards: int
    backwards: int
    seconds: float
    reproduce: Reproduction
    notes: list[str]


class Step(BaseModel):
    """One filter of a chain."""

    filter: str
    strength: float
    intensity: float


class ChainEntry(BaseModel):
    """A chain of filters."""

    id: str
    title: str
    saved: bool
    spec: str
    steps: list[Step]


class ChainList(BaseModel):
    """The shipped chains, then the saved ones."""

    chains: list[ChainEntry]


class JobEntry(BaseModel):
    """A job."""

    id: str
    kind: str
    title: str
    created: str
    asked: dict[str, Any]
    state: Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
    ended: str | None
    error: str | None
    progress: dict[str, Any] | None
    page: str | None
    reproduce: Repetition | None


class JobList(BaseModel):
    """The jobs, newest first."""

    jobs: list[JobEntry]


class ReportEntry(BaseModel):
    """A finished job: where its page and its data are."""

    id: str
    kind: str
    title: str
    created: str
    page: str
    json_: str = Field(alias="json")
    parquet: str | None


class ReportList(BaseModel):
    """The finished jobs, newest first."""

    reports: list[ReportEntry]
