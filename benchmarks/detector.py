"""How many adversarial images feature squeezing detects: `python benchmarks/detector.py`.

The detector of Xu, Evans and Qi 2018 (arXiv 1704.01155) is calibrated at 5 % false positives on one half of the test
images; the other half tells the real rate, and some of it is attacked.  Detection is the share of the images that fool
the network; radii are the paper's.  Published are 98.2 % on MNIST and 84.5 % on CIFAR-10, over eleven attacks (FGSM,
BIM, seven of Carlini and Wagner's, two of JSMA's) on networks of its own.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import torch
from timing import machine, markdown

from foolscope.attacks import Untargeted, parse_attack
from foolscope.data import load_data
from foolscope.defenses import FeatureSqueezing, halves
from foolscope.measure import Proportion, accuracy
from foolscope.models import load_model
from foolscope.models.engine import Engine
from foolscope.randomness import generator

RATE = 0.05


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network, its data and attacks, and the paper's rate of detection."""

    model: str
    data: str
    attacks: tuple[str, ...]
    published: float


CASES = (
    Case(
        model="lenet:weights=mnist",
        data="mnist",
        attacks=("fgsm:eps=0.3", "bim:eps=0.3,step=0.06,steps=10,early_stop=false", "cw", "cw:kappa=5"),
        published=0.982,
    ),
    Case(
        model="cifar-cnn",
        data="cifar10",
        attacks=("fgsm:eps=4/255", "bim:eps=0.008,step=0.0012,steps=10,early_stop=false", "cw", "cw:kappa=5"),
        published=0.845,
    ),
)


def measure(case: Case, clean: int, attacked: int) -> list[list[str]]:
    """The table's rows of a case: false positives, then each attack, then all of them."""
    data = load_data(case.data, limit=clean, offline=True)
    engine = Engine(load_model(case.model, data.task))
    first, second = halves(len(data))
    detector = FeatureSqueezing().calibrate(engine, data.rows(first).images, RATE)
    unseen = data.rows(second)
    rows = [[case.model, "none (false positives)", str(len(unseen)), "", told(detector.detects(engine, unseen.images))]]
    right = (engine.predict(unseen.images) == unseen.labels).nonzero()[:attacked, 0]
    chosen, detected = unseen.rows(right), []
    for spec in case.attacks:
        result = parse_attack(spec)(engine, chosen.images, Untargeted(chosen.labels), rng=generator(0))
        detected.append(detector.detects(engine, result.images[result.success]))
        rows.append([case.model, f"`{spec}`", str(len(chosen)), told(result.success), told(detected[-1])])
        print(rows[-1], flush=True)
    pooled = torch.cat(detected)
    return [*rows, [case.model, f"all; published {100 * case.published:.1f} %", "", "", told(pooled)]]


def told(flags: torch.Tensor) -> str:
    """A share with its interval."""
    share: Proportion = accuracy(flags)
    return str(share)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clean", type=int, default=4000, help="test images, half of them to calibrate on")
    parser.add_argument("--attacked", type=int, default=500, help="images that are attacked")
    chosen = parser.parse_args()
    rows = [row for case in CASES for row in measure(case, chosen.clean, chosen.attacked)]
    print(f"\n{machine()}.\n")
    print(markdown(["network", "attack", "images", "success", "detected"], rows))


if __name__ == "__main__":
    main()
