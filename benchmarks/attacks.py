"""Attacks against the same attacks of other libraries: `python benchmarks/attacks.py pgd cw ...`.

All attack the same images, which the network gets right, in interleaved rounds in one process.  What they return is
judged by the network as `load_model` gives it: success, and of minimum-norm attacks the mean distance of what they
found.  See `peers.py` for what the others are and where they come from.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from peers import (
    Peer,
    Run,
    adv_lib,
    foolbox,
    torchattacks,
    torchattacks_autoattack,
    torchattacks_pgd,
)
from timing import Job, interleaved, machine, markdown, median_ratio
from torch import Tensor, nn

from foolscope.attacks import Attack, Untargeted, parse_attack
from foolscope.attacks.minimum_norm import length
from foolscope.data import load_data
from foolscope.errors import FoolscopeError
from foolscope.models import load_model
from foolscope.models.engine import Engine

OURS = "foolscope"


@dataclass(frozen=True)
class Network:
    """A network, its images, and the radii that it is attacked at."""

    spec: str
    data: str
    eps: Mapping[str, float]


NETWORKS = {
    "lenet": Network("lenet", "mnist", {"linf": 0.1, "l2": 1.5}),
    "cifar-cnn": Network("cifar-cnn", "cifar10", {"linf": 2 / 255, "l2": 0.25}),
    "mnist-linf": Network("mnist-cnn:weights=mnist-linf", "mnist", {"linf": 0.3, "l2": 2.0}),
    "cifar10-linf": Network("cifar-cnn:weights=cifar10-linf", "cifar10", {"linf": 8 / 255, "l2": 0.5}),
}
PLAIN, ROBUST = ("lenet", "cifar-cnn"), ("mnist-linf", "cifar10-linf")


@dataclass(frozen=True)
class Contest:
    """An attack of ours by its spec, without a radius, and the same of peers; on how many images of which networks."""

    ours: str
    peers: Mapping[str, Peer]
    networks: tuple[str, ...] = PLAIN
    images: Mapping[str, int] = field(default_factory=lambda: {"lenet": 1000, "cifar-cnn": 256})

    @property
    def attack(self) -> Attack:
        """Ours."""
        return parse_attack(self.ours)


def _few(lenet: int, cifar: int) -> dict[str, int]:
    return {"lenet": lenet, "cifar-cnn": cifar, "mnist-linf": lenet, "cifar10-linf": cifar}


_DEEPFOOL = {
    "adv-lib": adv_lib("df", "l2", steps=50, return_unsuccessful=True),
    "Foolbox": foolbox("L2DeepFoolAttack"),
    "torchattacks": torchattacks("DeepFool"),
}
_CW_5X200 = {
    "adv-lib": adv_lib("carlini_wagner_l2", binary_search_steps=5, max_iterations=200),
    "Foolbox": foolbox("L2CarliniWagnerAttack", binary_search_steps=5, steps=200),
}


def _fmn(norm: str, name: str) -> Contest:
    peers = {"adv-lib": adv_lib("fmn", norm, steps=100), "Foolbox": foolbox(f"{name}FMNAttack", steps=100)}
    return Contest(f"fmn:norm={norm}", peers, images=_few(500, 100))


CONTESTS = {
    "fgsm": Contest("fgsm", {"Foolbox": foolbox("LinfFastGradientAttack"), "torchattacks": torchattacks("FGSM")}),
    "pgd": Contest(
        "pgd:steps=40",
        {
            "Foolbox": foolbox("LinfPGD", steps=40, rel_stepsize=2.5 / 40),
            "adv-lib": adv_lib("pgd_linf", steps=40),
            "torchattacks": torchattacks_pgd(40),
        },
    ),
    "apgd": Contest(
        "apgd:steps=100",
        {
            "adv-lib": adv_lib("apgd", "linf", n_iter=100, loss_function="ce"),
            "torchattacks": torchattacks("APGD", "linf", steps=100),
        },
        networks=(*PLAIN, *ROBUST),
        images=_few(500, 128),
    ),
    "apgd-targeted": Contest(
        "apgd:steps=100,loss=dlr-targeted",
        {"torchattacks": torchattacks("APGDT", "linf", steps=100, n_classes=10)},
        networks=ROBUST,
        images=_few(200, 64),
    ),
    "square": Contest(
        "square:queries=1000",
        {"torchattacks": torchattacks("Square", "linf", n_queries=1000)},
        networks=(*PLAIN, *ROBUST),
        images=_few(200, 100),
    ),
    "ensemble": Contest(
        "ensemble", {"AutoAttack (torchattacks)": torchattacks_autoattack("linf")}, ROBUST, _few(100, 100)
    ),
    "deepfool": Contest("deepfool", _DEEPFOOL, images=_few(500, 256)),
    "deepfool-paper": Contest("deepfool:step=1,refine=0", _DEEPFOOL, images=_few(500, 256)),
    "deepfool-linf": Contest(
        "deepfool:norm=linf",
        {
            "adv-lib": adv_lib("df", "linf", steps=50, return_unsuccessful=True),
            "Foolbox": foolbox("LinfDeepFoolAttack"),
        },
        images=_few(500, 256),
    ),
    "ddn": Contest(
        "ddn:steps=100",
        {"adv-lib": adv_lib("ddn", steps=100, levels=None), "Foolbox": foolbox("DDNAttack", steps=100)},
        images=_few(500, 100),
    ),
    "fmn-l0": _fmn("l0", "L0"),
    "fmn-l1": _fmn("l1", "L1"),
    "fmn-l2": _fmn("l2", "L2"),
    "fmn-linf": _fmn("linf", "LInf"),
    "cw-5x200": Contest("cw:searches=5,steps=200", _CW_5X200, images=_few(100, 48)),
    "cw-short": Contest("cw:searches=2,steps=50", _CW_5X200, images=_few(100, 48)),  # is it as near as their 5 x 200?
    "cw-9x1000": Contest(
        "cw",
        {
            "adv-lib": adv_lib("carlini_wagner_l2", binary_search_steps=9, max_iterations=1000),
            "Foolbox": foolbox("L2CarliniWagnerAttack", binary_search_steps=9, steps=1000),
        },
        images=_few(32, 16),
    ),
    "cw-linf": Contest(
        "cw:norm=linf", {"adv-lib": adv_lib("carlini_wagner_linf", max_iterations=100)}, images=_few(32, 12)
    ),
}


def subject(network: Network, count: int) -> tuple[nn.Module, Tensor, Tensor]:
    """The network, and test images that it gets right with their labels."""
    data = load_data(network.data, split="test", limit=2 * count, offline=True)
    model = load_model(network.spec, data.task).eval()
    rows = (Engine(model).predict(data.images) == data.labels).nonzero()[:count, 0]
    return model, data.images[rows], data.labels[rows]


def made(peer: Peer, name: str, model: nn.Module, eps: float | None) -> Run | None:
    """A peer's attack; None, and a word on stderr, where its library is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return peer(model, eps)
    except ImportError as error:
        print(f"without {name}: {error}", file=sys.stderr)
        return None


def measure(contest: Contest, network: Network, count: int, rounds: int, cold: bool) -> list[list[str]]:
    """The table's rows for one attack on one network."""
    model, images, labels = subject(network, count)
    attack = contest.attack
    norm = str(getattr(attack, "norm", "linf"))
    eps = None if attack.minimum_norm else network.eps[norm]
    ours = attack if eps is None else attack.replace(eps=eps)
    found: dict[str, Tensor] = {}

    def job(name: str, run: Run) -> Job:
        def once() -> None:
            with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # theirs, and none of ours
                found[name] = run(images.clone(), labels)

        return once

    runs = {name: made(peer, name, model, eps) for name, peer in contest.peers.items()}
    jobs = {OURS: job(OURS, lambda x, y: ours(model, x, Untargeted(y)).images)}
    jobs |= {name: job(name, run) for name, run in runs.items() if run is not None}
    seconds = interleaved(jobs, rounds, cold=cold)
    judge, what = Engine(model), f"{network.spec}, {len(images)} images"
    what += "" if eps is None else f", {norm} {eps:.3g}"
    rows = []
    for name in jobs:
        images_found = torch.where(found[name].isfinite(), found[name], images)
        fooled = judge.predict(images_found) != labels
        far = length(norm, images_found - images)[fooled]
        rows.append(
            [
                contest.ours,
                what,
                name,
                f"{100 * float(fooled.float().mean()):.1f} %",
                f"{float(far.mean()):.4g}" if eps is None and len(far) else "-",
                f"{statistics.median(seconds[name]):.2f}",
                f"{median_ratio(seconds[name], seconds[OURS]):.1f}",
            ]
        )
    return rows


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contests", nargs="*", metavar="ATTACK", help=f"of {', '.join(CONTESTS)} (default: all)")
    parser.add_argument("--network", choices=NETWORKS, help="only this one")
    parser.add_argument("--images", type=int, help="images (default: as many as take about a minute)")
    parser.add_argument("--rounds", type=int, default=3, help="counted repetitions of everything")
    parser.add_argument("--cold", action="store_true", help="count the first round too: for what takes minutes")
    chosen = parser.parse_args()
    rows: list[list[str]] = []
    for name in chosen.contests or CONTESTS:
        if name not in CONTESTS:
            raise SystemExit(f"unknown attack '{name}': {', '.join(CONTESTS)}.")
        contest = CONTESTS[name]
        for network in contest.networks:
            if chosen.network in (None, network):
                count = chosen.images or contest.images[network]
                try:
                    rows += measure(contest, NETWORKS[network], count, chosen.rounds, chosen.cold)
                except FoolscopeError as error:
                    raise SystemExit(str(error)) from error
                print(*(" ".join(row) for row in rows[-4:]), sep="\n", file=sys.stderr)
    header = ["attack", "network", "by", "success", "mean distance", "median s", "times ours"]
    print(f"{machine()}; medians of {chosen.rounds} interleaved rounds.\n")
    print(markdown(header, rows))


if __name__ == "__main__":
    main()
