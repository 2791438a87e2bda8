"""The thesis: how successful chains of filters can be without being detected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from foolscope.experiments.catalog.agv import AgvSearch, Chain, best, chains
from foolscope.experiments.catalog.common import percent, told
from foolscope.experiments.experiment import Found, Sample
from foolscope.experiments.findings import Chart, Figure, Findings, Line, Picture, Pictures, Table, Value
from foolscope.measure import Proportion

_SEED = "AGV-A 13.4 % on VGG19; AGV-B 65 % on DenseNet, 1 % detected, linf 0.553"


@dataclass(frozen=True, kw_only=True)
class AgvFront(AgvSearch):
    """The front of evolved chains of photo filters: success on held-out images against the share that is detected.

    The seed: the thesis evolves chains of five filters by NSGA-II over success and detection, and reports AGV-A on
    VGG19 with a success of 13.44 % at an linf distance of 0.179, and AGV-B on DenseNet with 65 % at 0.553, detected on
    1 % of the images.

    Differences: other networks, and success is counted against the true label, of images that are classified right
    untouched, on images that the search never saw; the thesis counts changed predictions. Its evolution strategy used
    one component of the gradient for all parameters and stepped up the loss. The distance stands beside success and
    detection as a third objective, so that the front does not end at the first chain that is never detected. AGV-A and
    AGV-B themselves are judged by the same networks.
    """

    name: ClassVar[str] = "agv-front"
    figure: ClassVar[str] = "thesis, AGV-A and AGV-B"
    summary: ClassVar[str] = "success of evolved filter chains against their detection"
    on: ClassVar[tuple[str, ...]] = ("cifar10", "mnist", "digits", "folder:PATH")
    usual: ClassVar[int | None] = 2000

    def show(self, sample: Sample, found: Found) -> Findings:
        lines: list[Line] = []
        pictures: list[tuple[str, tuple[Picture | None, ...]]] = []
        rows: list[tuple[Value, ...]] = []
        sentences, compared = [], []
        for model in self.networks(sample):
            arrays = found[self.search(sample, model)]
            front = chains(arrays, "front")
            lines.append(_line(model, front))
            chosen = best(front)
            for chain in front:
                mark = ", chosen" if chain is chosen else ""
                rows.append((f"{model}{mark}: {chain.spec}", *_row(chain)))
            rows += [(f"{model}: {chain.title}", *_row(chain)) for chain in chains(arrays, "published")]
            own = chosen.judged[0]
            ours = f"{percent(own.asr)} at {percent(own.detection)} detected, linf {chosen.linf:.3f}"
            sentences.append(
                f"{model}: the front has {len(front)} chains; the most successful one that the search found undetected "
                f"succeeds on {own.asr} of the held-out images and is detected on {own.detection}, at a mean linf "
                f"distance of {chosen.linf:.3f}: {chosen.spec}."
            )
            compared.append(told(f"{model}: best undetected chain", _SEED, ours, "other networks and images"))
            for kind in ("images", "filtered"):
                name = f"{model}, untouched" if kind == "images" else f"{model}, {_filters(chosen.spec)}"
                pictures.append((name, tuple(Picture(image) for image in arrays[kind])))
        figures = (
            Figure(
                name="front",
                caption="The most success that a chain of the front has on held-out images, against the share of them "
                f"that {self.detector} detects: untouched images, then every chain that succeeds more than all "
                "that are detected less, one line a network. Bands are 95 % intervals.",
                content=(Chart(title=sample.title, lines=tuple(lines), x="detected (%)", y="success (%)",
                               y_range=(0.0, 100.0)),),
            ),
            Figure(
                name="filtered",
                caption="Held-out images, and the same through the most successful undetected chain of each network.",
                content=Pictures(columns=("",) * max(len(row) for _, row in pictures), rows=tuple(pictures)),
            ),
        )  # fmt: skip
        table = Table(
            name="front", caption="Every chain of the fronts, and the thesis' own",
            columns=("network: chain", "success", "detected", "mean linf"), rows=tuple(rows),
        )  # fmt: skip
        return Findings(told=tuple(sentences), figures=figures, tables=(table,), compared=tuple(compared))


def _row(chain: Chain) -> tuple[Proportion, Proportion, float]:
    return chain.judged[0].asr, chain.judged[0].detection, chain.linf


def _line(model: str, front: list[Chain]) -> Line:
    """Untouched images, which fool nobody, then the chains that succeed more than all that are detected less."""
    points = [(0.0, Proportion(0, front[0].judged[0].asr.trials))]
    for own in sorted((chain.judged[0] for chain in front), key=lambda one: (one.detection.value, -one.asr.value)):
        if own.asr.value > points[-1][1].value:
            points.append((100 * own.detection.value, own.asr))
    return Line.of(model, points, percent=True)


def _filters(chain: str) -> str:
    """'juno, reyes, juno': a chain without its parameters, which the table has."""
    return ", ".join(one.partition(":")[0] for one in chain.split("|"))
