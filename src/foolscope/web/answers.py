"""How results are told: pictures, classes, sentences and numbers as the answers' schemas have them."""

from __future__ import annotations

import math

from torch import Tensor

from foolscope import measure
from foolscope.errors import InputError
from foolscope.models import ModelInfo
from foolscope.web import schemas
from foolscope.web.gallery import Preset
from foolscope.web.pictures import Picture

_DISTANCES = ("l0", "l1", "l2", "linf", "ssim", "psnr")


def picture_entry(picture: Picture) -> schemas.PictureEntry:
    """A picture and where its PNGs are."""
    height, width, channels = picture.pixels.shape
    return schemas.PictureEntry(
        id=picture.id,
        url=f"/api/v1/images/{picture.id}.png",
        thumbnail=f"/api/v1/images/{picture.id}/thumbnail.png",
        width=width,
        height=height,
        channels=channels,
    )


def class_name(info: ModelInfo, index: int) -> str:
    """A class' name, or its number where the network gives none."""
    return info.class_names[index] if info.class_names else str(index)


def class_entry(info: ModelInfo, index: int, count: int) -> schemas.ClassEntry:
    """One of a network's `count` classes.  Raises `InputError` where there is none with this index."""
    if index >= count:
        raise InputError(f"class {index}: {info.name} has classes 0 to {count - 1}.")
    return schemas.ClassEntry(index=index, name=class_name(info, index))


def top_classes(info: ModelInfo, logits: Tensor, count: int) -> list[schemas.ClassShare]:
    """The likeliest classes by the logits (K,), with their probabilities."""
    shares, indices = logits.softmax(0).topk(min(count, len(logits)))
    return [
        schemas.ClassShare(index=index, name=class_name(info, index), probability=share)
        for index, share in zip(indices.tolist(), shares.tolist(), strict=True)
    ]


def unknown_message(model: str, seen: str, truth: str, other: Preset | None) -> str:
    """The dialog's sentence on a preset that the network has no class for; `other` is one that it has."""
    hint = (
        f"try another picture, such as {other.id} of {other.set_title} ({other.truth})"
        if other
        else "try another network"
    )
    return f"{model} sees '{seen}'. It has no class '{truth}', so it cannot be right: {hint}."


def prediction_message(model: str, seen: str, truth: str | None, correct: bool | None) -> str:
    """The dialog's sentence: what the network sees, and why the attack form stays hidden where it does.

    `truth` is the ground truth's name, where there is one; with `correct` None the network's classes have no names.
    """
    if correct is None and truth is not None:
        return f"{model} sees '{seen}' in a picture of '{truth}'. The ground truth is what you choose among these."
    if correct is None:
        return f"{model} sees '{seen}'. That is taken for the truth unless you choose another of these."
    if correct:
        return f"Correct: {model} sees '{seen}'."
    hint = "What is misclassified already cannot be attacked: try another image or network."
    return f"Incorrect: {model} sees '{seen}', not '{truth}'. {hint}"


def attack_message(model: str, seen: str, truth: str, target: str | None, *, success: bool, already: bool) -> str:
    """What came of an attack."""
    if already and target is None:
        return f"{model} sees '{seen}' from the start, not '{truth}': there is nothing to attack."
    if already:
        return f"{model} sees '{seen}' from the start: there is nothing to attack."
    if success:
        return f"Fooled: {model} sees '{seen}' instead of '{truth}'."
    wanted = f", not '{target}'" if target is not None else ""
    return f"Not fooled: {model} {'still ' if seen == truth else ''}sees '{seen}'{wanted}."


def distances(original: Tensor, adversarial: Tensor) -> dict[str, float | None]:
    """All distances between two images (1, C, H, W); None for the PSNR of equal ones."""
    found = measure.distances(original, adversarial)
    values = {name: float(getattr(found, name)[0]) for name in _DISTANCES}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
