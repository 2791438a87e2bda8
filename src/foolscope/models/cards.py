"""Cards: what a file of weights is, how it came about and how good it is.

A card lies beside its weights as `<name>.json` beside `<name>.safetensors`.  The package ships some in `FOLDER`, named
`<architecture>-<name>`; trainings write one each.
"""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from foolscope.errors import CorruptError, MissingError, ParameterError
from foolscope.files import write_json

FOLDER = Path(__file__).parent / "weights"
"""Where the shipped weights and their cards lie."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Card:
    """What is known about one file of weights.  Raises `ParameterError` for a value outside its range."""

    architecture: str
    """The spec that builds the network: `lenet`, `lenet:extra=4`."""
    name: str
    """What `weights=` calls them; with the architecture's name it makes the file's name."""
    data: str
    """Name of the data set."""
    seed: int
    command: str
    """The command that trained them."""
    epochs: int
    recipe: Mapping[str, Any]
    accuracy: float
    """Share of the clean test images that are classified right, in [0, 1]."""
    images: int
    """Number of test images that `accuracy` was measured on."""
    license: str
    sha256: str
    """Of the safetensors file."""
    parameters: int
    """Number of parameters, trainable or not, as `numel` counts them."""
    created_with: Mapping[str, str] = field(default_factory=dict)
    """Versions of the packages that trained them."""
    adversarial: str | None = None
    """Spec of what they were trained against: an attack, trades or fgsm-rs; None after ordinary training."""
    robust_accuracy: str | None = None
    """Accuracy under attack, with the attack's spec and the number of images, as text."""
    held_out: int = 0
    """Training images that were not trained on, and decided which epoch's weights these are."""
    kept_epoch: int | None = None
    """That epoch, from 1: the most robust on the held-out images; None for the last."""
    input_shape: tuple[int, int, int] | None = None
    """Channels, height and width of the images; None for the architecture's own."""
    class_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.accuracy <= 1:
            raise ParameterError(f"card: accuracy must be between 0 and 1, got {self.accuracy}.")
        for key, low in (("epochs", 0), ("images", 1), ("parameters", 1)):
            if getattr(self, key) < low:
                raise ParameterError(f"card: {key} must be at least {low}, got {getattr(self, key)}.")
        if not _DIGEST.fullmatch(self.sha256):
            raise ParameterError(f"card: sha256 must be 64 hexadecimal digits, got '{self.sha256}'.")

    @property
    def family(self) -> str:
        """The architecture's name without its options."""
        return self.architecture.partition(":")[0]

    @property
    def file_name(self) -> str:
        """Name of the shipped weights: `<architecture>-<name>.safetensors`."""
        return f"{self.family}-{self.name}.safetensors"


def card_path(weights: Path) -> Path:
    """Where the card of a weights file lies."""
    return weights.with_suffix(".json")


def save_card(card: Card, path: Path) -> None:
    """Write a card, whole or not at all.  Raises `StorageError`."""
    write_json(path, asdict(card))


def load_card(path: Path) -> Card:
    """Read a card.  Raises `MissingError` where there is none, `CorruptError` where it breaks the schema."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise MissingError(f"{path}: no such file.") from None
    except (OSError, ValueError) as error:
        raise CorruptError(f"{path}: not readable as JSON ({error}).") from None
    if not isinstance(content, dict):
        raise CorruptError(f"{path}: a card is a JSON object.")
    fields = {f.name: f for f in dataclasses.fields(Card)}
    for key in content:
        if key not in fields:
            raise CorruptError(f"{path}: unknown key '{key}'.")
    values, hints = {}, typing.get_type_hints(Card)
    for key, description in fields.items():
        if key in content:
            values[key] = _typed(path, key, hints[key], content[key])
        elif description.default is dataclasses.MISSING and description.default_factory is dataclasses.MISSING:
            raise CorruptError(f"{path}: '{key}' is missing.")
    try:
        return Card(**values)
    except ParameterError as error:
        raise CorruptError(f"{path}: {error}") from None


_JSON_NAMES = {
    str: "text",
    int: "a whole number",
    float: "a number",
    tuple: "a list of text",
    Mapping: "an object",
}


def _typed(path: Path, key: str, annotation: Any, value: Any) -> Any:
    """`value` from JSON as `annotation` wants it; raises `CorruptError`."""
    kinds = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    if value is None and types.NoneType in kinds:
        return None
    kind = next(k for k in kinds if k is not types.NoneType)
    container = typing.get_origin(kind) or kind
    if container is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if container is tuple:
        if key == "input_shape" and not (_all(value, int) and len(value) == 3):
            raise CorruptError(f"{path}: '{key}' must be three whole numbers, found {value!r}.")
        if key != "input_shape" and not _all(value, str):
            raise CorruptError(f"{path}: '{key}' must be a list of text, found {value!r}.")
        return tuple(value)
    if not isinstance(value, dict if container not in (str, int, float) else container) or isinstance(value, bool):
        raise CorruptError(f"{path}: '{key}' must be {_JSON_NAMES.get(container, 'an object')}, found {value!r}.")
    return value


def _all(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(v, kind) and not isinstance(v, bool) for v in value)


def shipped() -> tuple[Card, ...]:
    """The cards of all shipped weights, by architecture and name."""
    return tuple(load_card(path) for path in sorted(FOLDER.glob("*.json")))
