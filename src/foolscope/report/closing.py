"""The report's end: how to repeat it, what was used, what the terms mean, and where the attacks come from."""

from __future__ import annotations

import re

from foolscope.experiments.results import Results
from foolscope.report.markup import Html, escape, join, tag
from foolscope.report.words import NONE, counted

_ARXIV = re.compile(r"arXiv[ :](\d{4}\.\d{4,5})")

TERMS = {
    "Accuracy under attack": "The share of all images that the network still classifies right after the attack. Images "
    "that it misclassifies untouched count as wrong and are not attacked.",
    "Attack success": "The share of the images classified right untouched that the attack turns into wrong ones. An "
    "image is never counted as success for having been wrong before.",
    "Radius ε": "How far an attack may move an image, in a norm: ℓ∞ is the largest change of any value, ℓ2 the "
    "Euclidean length, ℓ1 the sum of all changes, of images in [0, 1]. 1/255 is one step of an 8-bit file.",
    "95 % interval": "Wilson's interval (1927) of a share: it covers the true share in about 95 of 100 samples of this "
    "size, also near 0 and 100 %. It says nothing about stronger attacks, which can only lower the number.",
    "Oblivious attack": "The attacker knows the network but not its defense: images that were pushed as far as they go "
    "on the plain network are shown to the defended one. A high number here is no evidence of robustness.",
    "Adaptive attack": "The attacker knows the defense. Where it has no derivative, the identity's stands in "
    "(straight-through, BPDA: Athalye, Carlini and Wagner 2018, arXiv 1802.00420), and that of a smooth version of it "
    "where there is one (differentiable, as is what has a derivative of its own). Where it draws random numbers, "
    "gradients are averaged over draws (+ eot, expectation over transformation: Athalye, Engstrom, Ilyas and Kwok "
    "2018, arXiv 1707.07397). A black-box attack follows no gradient: a defense that only hides them does not stop it.",
    "Weakest": "Every image meets the attack of this report that is worst for it, up to this radius; for a defense "
    "all its attacks count, oblivious and adaptive, and attacks without a radius where they stay inside it. It is the "
    "number to rely on, and still an upper bound.",
    "SSIM and PSNR": "How alike two images look: structural similarity (Wang et al. 2004), 1 for equal images, and the "
    "peak signal-to-noise ratio in decibels, infinite for equal ones.",
    "8-bit survival": "An attack finds images with any values; a file keeps multiples of 1/255. This is the share of "
    "the fooling images that still fool the network after that rounding.",
}
"""Each term of a report with its meaning."""


_LOCAL = {"model": ("py:", "file:", "onnx:"), "data": ("folder:",)}

HANDED_OVER = {
    ("model",): "The model was handed over as an object: with the same one as model, this Python repeats the audit.",
    ("data",): "The data were handed over as an object: with the same one as data, this Python repeats the audit.",
    ("model", "data"): "Model and data were handed over as objects: with the same ones as model and data, this Python "
    "repeats the audit.",
}
"""What is said where no command can repeat an audit, by the arguments that its Python has names for."""


def repeat(results: Results) -> Html:
    """The command and the Python that repeat the audit."""
    about, parts = results.about, []
    if about["command"]:
        parts += [tag("h3", "Command line"), tag("pre", tag("code", about["command"]), class_="wrap")]
    else:
        handed = tuple(name for name in ("model", "data") if f"    {name}," in about["python"].splitlines())
        parts.append(tag("p", HANDED_OVER[handed], class_="note"))
    parts += [tag("h3", "Python"), tag("pre", tag("code", about["python"]), class_="wrap")]
    if any(str(about[kind]["spec"]).startswith(_LOCAL[kind]) for kind in _LOCAL):
        note = "Relative paths, and the module of a py: model, are looked for in the folder that this is run in."
        parts.append(tag("p", note, class_="note"))
    told = "The same call takes up finished work from the store, and gives the same numbers without it."
    return join((tag("p", told, class_="note"), *parts))


def provenance(results: Results) -> Html:
    """Versions, seed, digests and machine."""
    about = results.about
    model, data, machine = about["model"], about["data"], about["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items() if version)
    entries: dict[str, Html | str] = {
        "Seed": str(about["seed"]),
        "Precision": f"{about['precision']} for gradients; predictions are in float32",
        "Model": join((model["name"], ", SHA-256 ", tag("span", model["digest"], class_="mono"))),
        "Weights": f"{model['weights'] or NONE}, trained on {model['trained_on'] or 'unknown data'}",
        "Data": join((f"{data['spec']}, {data['split']}, SHA-256 ", tag("span", data["digest"], class_="mono"))),
        "Versions": versions,
        "Machine": f"{machine['system']}, {machine['processor']}, {counted(machine['threads'], 'thread')}",
    }
    pairs = [part for name, value in entries.items() for part in (tag("dt", name), tag("dd", value))]
    return tag("dl", *pairs, class_="pairs")


def terms() -> Html:
    """The definitions."""
    pairs = [part for name, text in TERMS.items() for part in (tag("dt", name), tag("dd", linked(text)))]
    return tag("dl", *pairs, class_="terms")


def papers(results: Results) -> Html:
    """The attacks' papers."""
    attacks = {record.attack.name: record.attack for record in results.records}
    items = [
        tag("li", tag("b", name), f", {attack.summary}: ", linked(attack.source)) for name, attack in attacks.items()
    ]
    return tag("ul", *items)


def linked(text: str) -> Html:
    """Text in which every arXiv number is a link."""
    parts, end = [], 0
    for match in _ARXIV.finditer(text):
        link = tag("a", match[0], href=f"https://arxiv.org/abs/{match[1]}", rel="noreferrer")
        parts += [escape(text[end : match.start()]), link]
        end = match.end()
    return join((*parts, text[end:]))
