"""The ladder of attacks on every shipped network: `python benchmarks/ladder.py`.

Accuracy under stronger and stronger attacks must fall from column to column, linf 0.5 must leave nothing, and twice the
steps of PGD-100 must change little, or the number of steps and not the network decides what is reported.  `rho` is
DeepFool's mean of |noise| / |image| in l2, over the images that the network gets right (arXiv 1511.04599, eq. 1).
"""

from __future__ import annotations

import argparse
import sys

import torch
from timing import machine, markdown
from torch import Tensor, nn

from foolscope.attacks import PGD, Untargeted, parse_attack
from foolscope.data import load_data
from foolscope.models import load_model
from foolscope.norms import l2

NETWORKS = {
    "lenet": ("mnist", 0.1),
    "resnet20:weights=mnist": ("mnist", 0.1),
    "mnist-cnn:weights=mnist-linf": ("mnist", 0.3),
    "cifar-cnn": ("cifar10", 2 / 255),
    "resnet20:weights=cifar10": ("cifar10", 2 / 255),
    "cifar-cnn:weights=cifar10-linf": ("cifar10", 8 / 255),
}
RUNGS = ("fgsm", "pgd:steps=40", "pgd:steps=100", "pgd:steps=200", "ensemble")


def accuracy(spec: str, eps: float, model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The share of images that the network still gets right."""
    result = parse_attack(spec).replace(eps=eps)(model, images, Untargeted(labels))
    return 1 - float(result.success.float().mean())


def row(network: str, data: str, eps: float, count: int) -> list[str]:
    """The network's line of the table."""
    loaded = load_data(data, split="test", limit=count, offline=True)
    model, images, labels = load_model(network, loaded.task).eval(), loaded.images, loaded.labels
    with torch.no_grad():
        clean = float((model(images).argmax(1) == labels).float().mean())
    rungs = [accuracy(spec, eps, model, images, labels) for spec in RUNGS]
    widest = 1 - float(PGD(eps=0.5)(model, images, Untargeted(labels)).success.float().mean())
    nearest = parse_attack("deepfool")(model, images, Untargeted(labels))
    fooled = nearest.success & ~nearest.already
    rho = float((nearest.distance("l2") / l2.length(images))[fooled].mean())
    shares = [f"{100 * share:.1f} %" for share in (clean, *rungs, widest)]
    return [network, f"{data}, {count} images, linf {eps:.3g}", *shares, f"{rho:.4f}"]


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--network", choices=NETWORKS, help="only this one")
    chosen = parser.parse_args()
    rows = []
    for network, (data, eps) in NETWORKS.items():
        if chosen.network in (None, network):
            rows.append(row(network, data, eps, chosen.images))
            print(" ".join(rows[-1]), file=sys.stderr)
    print(f"{machine()}\n")
    print(markdown(["network", "on", "clean", *RUNGS, "PGD, linf 0.5", "rho"], rows))


if __name__ == "__main__":
    main()
