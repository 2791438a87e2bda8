"""PGD against a plain loop of whole-batch passes and against Foolbox: `python benchmarks/pgd.py`.

All attack the same images, which the network gets right, without a random start and with the same steps; without early
stopping, so that all take as many passes, unless the row says otherwise.  The plain loop and Foolbox run the network as
`load_model` gives it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from timing import Job, forward_flops, interleaved, machine, markdown, matmul, median_ratio
from torch import Tensor, nn

from foolscope.attacks import PGD, Untargeted
from foolscope.data import load_data
from foolscope.errors import FoolscopeError
from foolscope.models import load_model
from foolscope.models.engine import Engine, Precision
from foolscope.randomness import generator

PLAIN, FLOAT32, BFLOAT16, EARLY, FOOLBOX = (
    "plain loop",
    "foolscope",
    "foolscope, bfloat16",
    "foolscope, early stop",
    "Foolbox LinfPGD",
)


@dataclass(frozen=True)
class Setting:
    """A network, what it is tried on, and how."""

    network: str
    data: str
    shape: tuple[int, int, int]
    batch: int
    eps: float


SETTINGS = (
    Setting("cifar-cnn", "cifar10", (3, 32, 32), 256, 8 / 255),
    Setting("lenet", "mnist", (1, 28, 28), 1000, 0.3),
)


def subject(setting: Setting, batch: int) -> tuple[nn.Module, Tensor, Tensor, str]:
    """Model, images, labels, and what they are; random weights and noise where the real ones are not at hand."""
    try:
        data = load_data(setting.data, split="test", limit=2 * batch, offline=True)
        model, images, labels = load_model(setting.network, data.task), data.images, data.labels
        what = setting.data
    except FoolscopeError as error:
        print(f"{setting.network}: noise and random weights instead of {setting.data} ({error})", file=sys.stderr)
        model = load_model(f"{setting.network}:weights=none")
        images = torch.rand(batch, *setting.shape, generator=generator(0))
        labels, what = Engine(model).predict(images), "noise"
    rows = (Engine(model).predict(images) == labels).nonzero()[:batch, 0]
    return model, images[rows], labels[rows], what


def plain_loop(model: nn.Module, images: Tensor, labels: Tensor, eps: float, steps: int, step: float) -> Tensor:
    """Madry et al.'s loop as it is usually written: the whole batch through the user's module, loss.backward()."""
    model.eval()
    x = images.clone()
    for _ in range(steps):
        x = x.detach().requires_grad_()
        model.zero_grad()
        F.cross_entropy(model(x), labels, reduction="sum").backward()  # type: ignore[no-untyped-call]
        assert x.grad is not None
        x = torch.clamp(x.detach() + step * x.grad.sign(), images - eps, images + eps).clamp_(0, 1)
    return x.detach()


def foolbox_loop(model: nn.Module, steps: int, step: float) -> Callable[[Tensor, Tensor, float], Tensor] | None:
    """Foolbox's PGD, or None where Foolbox is not installed."""
    try:
        from foolbox.attacks import LinfPGD
        from foolbox.models.pytorch import PyTorchModel
    except ImportError:
        return None
    wrapped = PyTorchModel(model.eval(), bounds=(0, 1), device="cpu")
    attack = LinfPGD(abs_stepsize=step, steps=steps, random_start=False)

    def run(images: Tensor, labels: Tensor, eps: float) -> Tensor:
        _, clipped, _ = attack(wrapped, images, labels, epsilons=eps)
        assert isinstance(clipped, Tensor)
        return clipped

    return run


def measure(setting: Setting, batch: int, steps: int, rounds: int) -> list[list[str]]:
    """The table's rows for one network."""
    model, images, labels, what = subject(setting, batch)
    attack = PGD(eps=setting.eps, steps=steps, random_start=False, early_stop=False)
    step, goal = 2.5 * setting.eps / steps, Untargeted(labels)
    found: dict[str, Tensor] = {}

    def ours(name: str, attack: PGD, precision: Precision) -> Job:
        engine = Engine(model, precision=precision)
        return lambda: found.update({name: attack(engine, images, goal).images})

    jobs: dict[str, Job] = {
        PLAIN: lambda: found.update({PLAIN: plain_loop(model, images, labels, setting.eps, steps, step)}),
        FLOAT32: ours(FLOAT32, attack, "float32"),
        BFLOAT16: ours(BFLOAT16, attack, "bfloat16"),
        EARLY: ours(EARLY, attack.replace(early_stop=True), "float32"),
    }
    if peer := foolbox_loop(model, steps, step):
        jobs[FOOLBOX] = lambda: found.update({FOOLBOX: peer(images, labels, setting.eps)})
    products = {"float32": matmul(torch.float32), "bfloat16": matmul(torch.bfloat16)}
    seconds = interleaved(jobs | {name: job for name, (job, _) in products.items()}, rounds)

    judge = Engine(model)
    per_gradient = 2 * forward_flops(model, images[0])
    peaks = {name: flops / statistics.median(seconds[name]) for name, (_, flops) in products.items()}
    rows = []
    for name in jobs:
        success = float((judge.predict(found[name]) != labels).float().mean())
        flops = per_gradient * steps * len(images) / statistics.median(seconds[name])
        peak = peaks["bfloat16" if name == BFLOAT16 else "float32"]
        known = name != EARLY  # which does not take all its passes
        rows.append(
            [
                f"{setting.network}, {what}, {len(images)} images",
                name,
                f"{statistics.median(seconds[name]):.2f}",
                f"{median_ratio(seconds[name], seconds[PLAIN]):.2f}",
                f"{median_ratio(seconds[name], seconds[FOOLBOX]):.2f}" if FOOLBOX in jobs else "-",
                f"{100 * success:.1f} %",
                f"{flops / 1e9:.0f}" if known else "-",
                f"{peak / 1e9:.0f}" if known else "-",
                f"{100 * flops / peak:.0f} %" if known else "-",
            ]
        )
    print(f"{setting.network}: {per_gradient / 1e6:.1f} MFLOP per input gradient", file=sys.stderr)
    return rows


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5, help="counted repetitions of everything")
    parser.add_argument("--batch", type=int, help="images (default: 256 for cifar-cnn, 1000 for lenet)")
    parser.add_argument("--network", choices=[setting.network for setting in SETTINGS], help="only this one")
    chosen = parser.parse_args()
    header = ["network", f"PGD-{chosen.steps}", "median s", "of the plain loop", "of Foolbox", "success"]
    header += ["GFLOP/s", "matrix product", "share reached"]
    rows: list[list[str]] = []
    for setting in SETTINGS:
        if chosen.network in (None, setting.network):
            rows += measure(setting, chosen.batch or setting.batch, chosen.steps, chosen.rounds)
    print(f"{machine()}; medians of {chosen.rounds} interleaved rounds.\n")
    print(markdown(header, rows))


if __name__ == "__main__":
    main()
