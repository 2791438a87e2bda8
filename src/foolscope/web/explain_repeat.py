"""What repeats an explanation of a picture: Python, and `foolscope explain` where its command takes all of it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from foolscope.experiments.provenance import versions
from foolscope.web.pictures import Picture
from foolscope.web.schemas import Reproduction


def maps(
    model: str, picture: Picture, adversarial: Picture | None, method: str, label: int, layer: str | None
) -> Reproduction:
    """The maps of a class; with an adversarial picture how much both agree, and where the noise falls."""
    lines = [*_opened(model, picture), *_attacked(adversarial), f"labels = torch.tensor([{label}])"]
    if layer is None:
        lines += [f"explainer = fs.explain.EXPLAINERS[{method!r}]"]
    else:
        lines += [
            "",
            "",
            "def explainer(model, images, labels):",
            f"    found = fs.explain.class_activation(model, images, labels, {layer!r})",
            "    return found.maps(*images.shape[2:])",
            "",
            "",
        ]
    named = ["--label", str(label), *(["--layer", layer] if layer else [])]
    if adversarial is None:
        lines += ["print(explainer(model, images, labels))"]
        return _found(picture, lines, _command(model, picture, ["--method", method, *named]))
    lines += [
        "stability = fs.explain.explanation_stability(model, images, attacked, labels, explain=explainer)",
        "print(stability.true_class.agreement, stability.true_class.null)",
        "print(fs.explain.energy_on_salient(attacked - images, explainer(model, images, labels)))",
    ]
    parts = ["--against", f"{adversarial.id}.png", "--method", f"{method},stability", *named]
    return _found(picture, lines, _command(model, picture, parts))


def spectrum(model: str, picture: Picture, adversarial: Picture | None) -> Reproduction:
    """The spectrum of the noise between both pictures."""
    lines = [
        *_opened(None, picture),
        *_attacked(adversarial),
        "print(fs.explain.noise_spectrum(attacked - images, images))",
    ]
    parts = ["--against", f"{adversarial.id}.png", "--method", "spectrum"] if adversarial else []
    return _found(picture, lines, _command(model, picture, parts) if parts else None)


def frequencies(model: str, picture: Picture, layers: Sequence[str], resolution: int | None) -> Reproduction:
    """The transfer functions of layers."""
    height, width = picture.pixels.shape[:2]
    named = [None if name == "logits" else name for name in layers]
    lines = [
        *_loaded(model),
        f"for layer in {named!r}:",
        f"    found = fs.explain.transfer_function(model, layer, {(height, width)!r}, resolution={resolution!r})",
        "    print(layer, found.radial)",
    ]
    parts = ["--method", "transfer-function", *(part for name in layers for part in ("--layer", name))]
    return _found(picture, lines, _command(model, picture, parts))


def jpeg(model: str, picture: Picture, layer: str, side: int, qualities: Sequence[int]) -> Reproduction:
    """A layer's response behind JPEG, and JPEG's own gain and distortion."""
    resolution = min(side, 16)
    behind = None if layer == "logits" else f"model.{layer}"
    lines = [
        *_loaded(model),
        f"for quality in {[*qualities]!r}:",
        "    behind = fs.defended(model, f'jpeg:quality={quality}')",
        f"    layer = fs.explain.transfer_function(behind, {behind!r}, {side}, resolution={resolution})",
        f"    codec = fs.explain.transfer_function(behind, 'defense', {side}, resolution={resolution})",
        "    print(quality, layer.response, codec.response, codec.distortion)",
    ]
    listed = ",".join(map(str, qualities))
    parts = ["--method", "jpeg", "--layer", layer, "--qualities", listed, "--resolution", str(resolution)]
    of_picture = picture.pixels.shape[:2] == (side, side)  # whose size the command takes
    return _found(picture, lines, _command(model, picture, parts) if of_picture else None)


def _loaded(model: str) -> list[str]:
    return ["import foolscope as fs", "", f"model = fs.load_model({model!r})"]


def _opened(model: str | None, picture: Picture) -> list[str]:
    """The lines that load the network, if one is needed, and the picture."""
    load = [f"model = fs.load_model({model!r})"] if model else []
    channels = picture.pixels.shape[2]
    return [
        "from pathlib import Path",
        "",
        *(["import torch", ""] if model else []),
        "import foolscope as fs",
        "from foolscope.images import decode_image, from_uint8",
        "",
        *load,
        f"images = from_uint8(decode_image(Path({f'{picture.id}.png'!r}), channels={channels})[None])",
    ]


def _attacked(adversarial: Picture | None) -> list[str]:
    if adversarial is None:
        return []
    path = f"{adversarial.id}.png"
    return [f"attacked = from_uint8(decode_image(Path({path!r}), channels={adversarial.pixels.shape[2]})[None])"]


def _command(model: str, picture: Picture, parts: Sequence[str]) -> str:
    return shlex.join(["foolscope", "explain", f"{picture.id}.png", "--model", model, *parts])


def _found(picture: Picture, lines: Sequence[str], command: str | None) -> Reproduction:
    return Reproduction(file=f"{picture.id}.png", command=command, python="\n".join(lines) + "\n", versions=versions())
