"""What repeats a result: the picture's file name, a command line where there is one, and Python.

An attack gives the same bytes again; a prediction and a score the same numbers, printed.
"""

from __future__ import annotations

import shlex
from typing import Any

from foolscope.experiments.provenance import versions


def repeat_attack(
    *, attack: str, model: str, picture: str, label: int, target: int | None, seed: int, channels: int
) -> dict[str, Any]:
    """How to repeat an attack on the picture with this id, once it is saved as `file`.

    Both write `adversarial/FILE`, which holds the bytes of the adversarial picture's PNG.
    """
    file = f"{picture}.png"
    parts = ["foolscope", "attack", attack, file, "--model", model, "--label", str(label)]
    if target is not None:
        parts += ["--target", str(target)]
    parts += ["--seed", str(seed), "--out", "adversarial"]
    goal = f"fs.Untargeted(torch.tensor([{label}]))" if target is None else f"fs.Targeted(torch.tensor([{target}]))"
    lines = [
        "from pathlib import Path",
        "",
        "import torch",
        "",
        "import foolscope as fs",
        "from foolscope.images import decode_image, encode_png, from_uint8",
        "",
        f"model = fs.load_model({model!r})",
        f"images = from_uint8(decode_image(Path({file!r}), channels={channels})[None])",
        f"attack = fs.parse_attack({attack!r})",
        f"goal = {goal}",
        f"result = attack(model, images, goal, rng=torch.Generator().manual_seed({seed}), quantize=True)",
        'Path("adversarial").mkdir(exist_ok=True)',
        f'Path("adversarial", {file!r}).write_bytes(encode_png(result.images[0]))',
    ]
    return {"file": file, "command": shlex.join(parts), "python": "\n".join(lines) + "\n", "versions": versions()}


def repeat_prediction(*, model: str, picture: str, channels: int, top: int, defense: str | None) -> dict[str, Any]:
    """How to repeat a prediction on the picture with this id, behind a defense if there is one.

    Prints index and probability of the likeliest classes.
    """
    defend = [f"images = quantize(fs.parse_defense({defense!r})(images))"] if defense else []
    lines = [
        *_opened(model, picture, channels, ("quantize",) if defense else ()),
        *defend,
        "with torch.no_grad():",
        f"    shares, classes = model(images).softmax(1)[0].topk({top})",
        "for index, share in zip(classes.tolist(), shares.tolist()):",
        "    print(index, share)",
    ]
    return _python_alone(picture, lines)


def repeat_detection(*, model: str, picture: str, channels: int, detector: str) -> dict[str, Any]:
    """How to repeat a detector's score of the picture with this id, which is printed."""
    lines = [
        *_opened(model, picture, channels),
        f"print(fs.parse_detector({detector!r}).score(model, images).item())",
    ]
    return _python_alone(picture, lines)


def _opened(model: str, picture: str, channels: int, more: tuple[str, ...] = ()) -> list[str]:
    """The lines that load the network and the picture."""
    return [
        "from pathlib import Path",
        "",
        "import torch",
        "",
        "import foolscope as fs",
        f"from foolscope.images import {', '.join(('decode_image', 'from_uint8', *more))}",
        "",
        f"model = fs.load_model({model!r})",
        f"images = from_uint8(decode_image(Path({f'{picture}.png'!r}), channels={channels})[None])",
    ]


def _python_alone(picture: str, lines: list[str]) -> dict[str, Any]:
    return {"file": f"{picture}.png", "command": None, "python": "\n".join(lines) + "\n", "versions": versions()}
