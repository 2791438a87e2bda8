"""What repeats a result: the picture's file name, a command line and Python, each giving the same bytes."""

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
