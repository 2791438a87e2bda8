"""Image data sets as the Hugging Face hub keeps them: parquet files with a column of images and one of class indices.

An image column is a struct with the field `bytes`, an encoded image of any format; class names are in the schema's
`huggingface` metadata, where the label is a ClassLabel.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from foolscope.data.decoded import Item
from foolscope.errors import CorruptError, InputError, SpecError, nearest

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 256


@dataclass(frozen=True)
class Columns:
    """The two columns that make a labeled image set, and the class names where the file tells them."""

    image: str
    label: str
    class_names: tuple[str, ...] | None


def find_columns(
    path: Path, image: str | None = None, label: str | None = None, class_names: tuple[str, ...] | None = None
) -> Columns:
    """The image and the label column of a parquet file: the named ones, or found by type.

    `class_names` go before what the file tells.
    Raises `CorruptError` where the file cannot be read, `SpecError` where a named column is not there, `InputError`
    where none or several fit, or a named one is of another type.
    """
    import pyarrow.parquet as pq

    with _reading(path):
        schema = pq.read_schema(path)
    features = _features(schema)
    images = [field.name for field in schema if _is_image(field.type)]
    whole = [field.name for field in schema if _is_whole(field.type)]
    labeled = [name for name in whole if features.get(name, {}).get("_type") == "ClassLabel"]
    likely = labeled or [name for name in whole if name == "label"] or whole
    image = _pick(path, "image", "a struct with bytes", image, images, images, schema.names)
    label = _pick(path, "label", "whole numbers", label, likely, whole, schema.names)
    names = features.get(label, {}).get("names")
    found = tuple(map(str, names)) if isinstance(names, list) and names else None
    return Columns(image, label, class_names or found)


def count_rows(paths: Sequence[Path]) -> int:
    """The number of rows of all files.  Raises `CorruptError` where one cannot be read."""
    import pyarrow.parquet as pq

    total = 0
    for path in paths:
        with _reading(path):
            total += pq.read_metadata(path).num_rows
    return total


def read_items(paths: Sequence[Path], columns: Columns) -> Iterator[Item]:
    """The images of all files, still encoded, in order.

    Raises `CorruptError` where a file cannot be read, `InputError` where an image is missing or a label is no index of
    a class.
    """
    import pyarrow.parquet as pq

    for path in paths:
        row = 0
        with _reading(path), pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH_ROWS, columns=[columns.image, columns.label]):
                images = cast("pa.StructArray", batch.column(columns.image)).field("bytes").to_pylist()
                for content, label in zip(images, batch.column(columns.label).to_pylist(), strict=True):
                    yield _item(path, row, content, label, columns)
                    row += 1


def _item(path: Path, row: int, content: bytes | None, label: int | None, columns: Columns) -> Item:
    name = f"{path}: image {row}"
    if content is None:
        raise InputError(f"{name} is missing: column '{columns.image}' has no bytes there.")
    count = len(columns.class_names) if columns.class_names else None
    if label is None or label < 0 or (count is not None and label >= count):
        expected = "a class index from 0" + (f" to {count - 1}" if count else "")
        raise InputError(f"{name} has the label {label} in column '{columns.label}' instead of {expected}.")
    return Item(content, label, name)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises for a damaged file into one line."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CorruptError(f"{path}: damaged parquet file ({reason}).") from None


def _is_image(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if not isinstance(kind, pa.StructType):
        return False
    index = kind.get_field_index("bytes")
    return index >= 0 and (
        pa.types.is_binary(kind.field(index).type) or pa.types.is_large_binary(kind.field(index).type)
    )


def _is_whole(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return pa.types.is_integer(kind)


def _features(schema: pa.Schema) -> dict[str, Any]:
    """The hub's description of the columns; {} where there is none that can be read."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    return {key: value for key, value in features.items() if isinstance(value, dict)} if features else {}


def _pick(
    path: Path,
    what: str,
    kind: str,
    asked: str | None,
    likely: Sequence[str],
    fitting: Sequence[str],
    everything: Sequence[str],
) -> str:
    if asked is not None:
        if asked not in everything:
            has = f"It has {', '.join(everything)}."
            raise SpecError(f"{path} has no column '{asked}'.{nearest(asked, everything)} {has}")
        if asked not in fitting:
            raise InputError(f"{path}: column '{asked}' is no {what} column ({kind}).")
        return asked
    if len(likely) == 1:
        return likely[0]
    if not likely:
        raise InputError(f"{path} has no {what} column ({kind}) among {', '.join(everything)}.")
    raise InputError(f"{path} has several {what} columns: choose one with {what}=NAME among {', '.join(likely)}.")
