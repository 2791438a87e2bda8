"""What `foolscope explain` is asked: images with classes, a network, and options that are more than a word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from foolscope.cli.explain_methods import LOGITS, METHODS, Method

if TYPE_CHECKING:
    from torch import Tensor, nn

    from foolscope.data import ImageSet
    from foolscope.explain import Band
    from foolscope.explain.grad_cam import Reshape
    from foolscope.models.engine import Engine


def methods(text: str) -> dict[str, Method]:
    """The methods that are named, in their order.  Raises `SpecError` with the nearest names."""
    return {name: METHODS[name] for name in (part.strip() for part in text.split(","))}


def read(
    sources: Sequence[str], model: str, labels: Sequence[str], split: str, limit: int, seed: int, offline: bool
) -> tuple[ImageSet, nn.Module]:
    """The images and the network.  One argument that is no file names a data set.

    Raises `SpecError` where nothing is named, and for options that the other kind takes.
    """
    from foolscope.data import load_data
    from foolscope.errors import SpecError
    from foolscope.models import load_model

    if not sources:
        raise SpecError("name image files or a data set: 'foolscope explain digits --model lenet'.")
    if not names_data(sources):
        network = load_model(model, offline=offline)
        return _files([Path(source) for source in sources], network, labels), network
    if labels:
        raise SpecError("--label is for image files: the images of a data set have labels.")
    data = load_data(sources[0], split, limit or None, seed, offline=offline)
    network = load_model(model, data.task, offline=offline)
    data = data.aligned_to(network)
    data.check_against(network)
    return data, network


def names_data(sources: Sequence[str]) -> bool:
    """Whether the arguments name a data set: one that is no file.  Raises `SpecError` for a folder."""
    from foolscope.data import DATASETS
    from foolscope.errors import SpecError

    first, is_known = Path(sources[0]), sources[0].partition(":")[0] in DATASETS
    if len(sources) > 1 or first.is_file():
        return False
    if first.is_dir() and not is_known:
        raise SpecError(f"{first} is a folder: name its images, or it as a data set, 'folder:{first}'.")
    return is_known or not first.suffix


def file_names(paths: Sequence[str]) -> tuple[str, ...]:
    """What files are called: by their names, or as they were given where two have the same."""
    names = tuple(Path(path).name for path in paths)
    return names if len(set(names)) == len(names) else tuple(paths)


def _files(paths: Sequence[Path], network: nn.Module, texts: Sequence[str]) -> ImageSet:
    """Image files of one size with the classes that are named, or that the network sees."""
    import numpy as np
    import torch

    from foolscope.cli.attack import class_index
    from foolscope.data import ImageSet
    from foolscope.data.imageset import array_digest
    from foolscope.errors import InputError
    from foolscope.images import decode_image, from_uint8
    from foolscope.models import describe
    from foolscope.models.classifier import check_shape
    from foolscope.models.engine import Engine

    info = describe(network)
    arrays = [decode_image(path, info.input_shape[0] if info.input_shape else None) for path in paths]
    for path, array in zip(paths, arrays, strict=True):
        if array.shape != arrays[0].shape:
            first, other = (f"{one.shape[1]} x {one.shape[0]}" for one in (arrays[0], array))
            raise InputError(f"files to explain together must have one size: {paths[0]} has {first}, {path} {other}.")
    pixels = np.stack(arrays)
    images = from_uint8(pixels)
    check_shape(network, images)
    engine = Engine(network)
    count = engine.num_classes(images)
    if texts and len(texts) not in (1, len(paths)):
        raise InputError(f"{len(texts)} labels for {len(paths)} images: give one, or one for each.")
    named = [class_index(network, text, count) for text in texts]
    labels = torch.tensor(named * (len(paths) if len(named) == 1 else 1)) if named else engine.predict(images)
    return ImageSet(
        name=paths[0].name if len(paths) == 1 else f"{len(paths)} files",
        split="as files",
        pixels=pixels,
        labels=labels,
        num_classes=count,
        class_names=info.class_names,
        digest=array_digest(pixels, labels),
        total=len(pixels),
    )


@dataclass(frozen=True)
class Made:
    """Adversarial images (N, C, H, W) from files, and what they are called."""

    name: str
    images: Tensor


def adversarial(paths: Sequence[str], attack: str | None, sources: Sequence[str], data: ImageSet) -> Made | None:
    """The adversarial images that files hold, one for each image file; None where none is named.

    Raises `SpecError` beside an attack or for a data set, `InputError` for another number or size of images.
    """
    import numpy as np

    from foolscope.errors import InputError, SpecError
    from foolscope.images import decode_image, from_uint8
    from foolscope.report.words import counted

    if not paths:
        return None
    if attack is not None:
        raise SpecError("--against has the adversarial images already: leave out --attack.")
    if names_data(sources):
        raise SpecError("--against is for image files: the images of a data set are attacked by --attack.")
    if len(paths) != len(data):
        raise InputError(f"{counted(len(paths), 'adversarial file')} for {len(data)} images: name one for each.")
    arrays = [decode_image(Path(path), data.pixels.shape[3]) for path in paths]
    for path, array in zip(paths, arrays, strict=True):
        if array.shape != data.pixels.shape[1:]:
            (height, width), other = data.pixels.shape[1:3], array.shape
            raise InputError(f"{path} has {other[1]} x {other[0]} pixels, its original {width} x {height}.")
    if all(map(np.array_equal, arrays, data.pixels)):
        raise InputError(f"{', '.join(paths)}: the same pixels as the originals, so there is nothing to explain.")
    return Made(", ".join(file_names(paths)), from_uint8(np.stack(arrays)))


def check(chosen: dict[str, Method], engine: Engine, images: Tensor, attack: str | Made | None) -> None:
    """Raise before the work where a method cannot do it: `SpecError`, or `InputError` for the images or the model."""
    from foolscope.errors import InputError, SpecError
    from foolscope.explain.layers import gradient_engine

    for name, method in chosen.items():
        if method.needs_gradients:
            gradient_engine(engine, name)
        if method.needs_attack and attack is None:
            raise SpecError(f"{name} needs an attack: name one, such as --attack pgd:eps=8/255, or files by --against.")
        if method.needs_contrast and bool(of_one_color(images).all()):
            raise InputError(f"{name} needs images that show something: every image has one color.")


def of_one_color(images: Tensor) -> Tensor:
    """Which images have one value in each channel: bool (N,)."""
    flat = images.flatten(2)
    return (flat == flat[..., :1]).all(2).all(1)


def layers(network: nn.Module, names: Sequence[str], is_defended: bool, model: str) -> tuple[str, ...]:
    """Names of layers; those of a defended network begin with 'model.', which may be left out.

    Raises `SpecError` with the nearest names.
    """
    from foolscope.errors import SpecError, nearest
    from foolscope.explain import layer_names
    from foolscope.models import describe

    known = layer_names(network)
    found = []
    for name in names:
        full = f"model.{name}" if is_defended and f"model.{name}" in known else name
        if full != LOGITS and full not in known:
            raise SpecError(
                f"{describe(network).name} has no layer '{name}'.{nearest(name, known)} 'foolscope explain --model "
                f"{model} --layer list' lists all."
            )
        found.append(full)
    return tuple(found)


def reshape(name: str | None) -> Reshape | None:
    """How a transformer's layer becomes (N, C, H, W).  Raises `SpecError` for an unknown way."""
    from foolscope.errors import SpecError
    from foolscope.explain import channels_to_front, tokens_to_grid

    ways: dict[str, Reshape] = {"tokens": tokens_to_grid, "channels-last": channels_to_front}
    if name is None:
        return None
    if name not in ways:
        raise SpecError(f"--reshape must be {' or '.join(ways)}, got '{name}'.")
    return ways[name]


def qualities(text: str) -> tuple[int, ...]:
    """'10,50,90' or '10:90:20', both ends included, ascending.  Raises `SpecError`, `ParameterError` out of range."""
    from foolscope.errors import ParameterError, SpecError

    try:
        if ":" in text:
            first, last, step = (int(part) for part in text.split(":"))
            found = list(range(first, last + 1, step))
        else:
            found = [int(part) for part in text.split(",")]
    except ValueError:
        raise SpecError(f"--qualities '{text}': expected whole numbers, as in 10,50,90 or 10:90:20.") from None
    if not found or not all(1 <= quality <= 100 for quality in found):
        raise ParameterError(f"--qualities must be between 1 and 100, got '{text}'.")
    return tuple(sorted(set(found)))


def bands(text: str | None) -> tuple[Band, ...]:
    """'0,0.1,0.3': the bands between the edges, and what lies above the last one; without it octaves.

    Raises `SpecError`, and `ParameterError` for a frequency above the corner of the plane.
    """
    from foolscope.errors import SpecError
    from foolscope.explain import BANDS, Band
    from foolscope.explain.frequencies import CORNER
    from foolscope.spec import parse_value

    if text is None:
        return BANDS
    edges = [float(parse_value(part.strip(), float, "--bands")) for part in text.split(",")]
    if edges != sorted(set(edges)):
        raise SpecError(f"--bands '{text}': edges must ascend.")
    edges = [CORNER if abs(edge - CORNER) < 1e-3 else edge for edge in edges]
    return tuple(Band(low, high) for low, high in pairwise(edges if edges[-1] >= CORNER else [*edges, CORNER]))
