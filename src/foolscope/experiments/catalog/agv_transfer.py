"""The thesis: do chains of filters that were evolved on one network fool others?"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from foolscope.experiments.catalog.agv import AgvSearch, Judgment, best, chains
from foolscope.experiments.catalog.common import percent, told
from foolscope.experiments.experiment import Found, Sample
from foolscope.experiments.findings import Bars, Figure, Findings, Table, Value


@dataclass(frozen=True, kw_only=True)
class AgvTransfer(AgvSearch):
    """The best undetected chain of each network, on that network and on the others that the search never asked.

    The seed: the thesis' web application applies AGV-A, evolved on VGG19, and AGV-B, evolved on DenseNet, to five
    networks for ImageNet, and gives no rates for networks other than those searched on.

    Differences: every chain is judged on held-out images by every network, each with a detector that was calibrated for
    it. A chain is one transformation for all images and all networks, so that much of its success carries over, unlike
    that of noise which follows one network's gradient.
    """

    name: ClassVar[str] = "agv-transfer"
    figure: ClassVar[str] = "thesis, beyond it"
    summary: ClassVar[str] = "filter chains evolved on one network, judged by the others"
    on: ClassVar[tuple[str, ...]] = ("cifar10", "mnist", "digits", "folder:PATH")
    usual: ClassVar[int | None] = 2000

    def show(self, sample: Sample, found: Found) -> Findings:
        models = self.networks(sample)
        judged = {model: self._judged(sample, found, model) for model in models}
        groups = tuple(
            (f"searched on {model}", tuple(_bar(judged[model][judge]) for judge in models)) for model in models
        )
        figure = Figure(
            name="transfer",
            caption="Success on held-out images of the best undetected chain of each network, as each network sees it. "
            "With 95 % intervals.",
            content=(Bars(title=sample.title, categories=tuple(models), groups=groups, y="success (%)",
                          y_range=(-3.0, 103.0)),),
        )  # fmt: skip
        rows: list[tuple[Value, ...]] = [
            (f"searched on {model}", judge, judged[model][judge].asr, judged[model][judge].detection)
            for model in models
            for judge in models
        ]
        table = Table(
            name="transfer", caption="Every chain on every network",
            columns=("chain", "network", "success", "detected"), rows=tuple(rows),
        )  # fmt: skip
        sentences, compared = [], []
        for model in models:
            own, others = judged[model][model], [judged[model][judge] for judge in models if judge != model]
            rest = ", ".join(f"{percent(judged[model][judge].asr)} on {judge}" for judge in models if judge != model)
            kept = fmean(one.asr.value for one in others) / own.asr.value if own.asr.successes else 0.0
            sentences.append(
                f"The chain searched on {model} succeeds on {percent(own.asr)} of its images, {rest}: "
                f"{100 * kept:.0f} % of its success carries over."
            )
            compared.append(told(f"chain searched on {model}: own success, others'", None,
                                 f"{percent(own.asr)}; {rest}", "not reported there"))  # fmt: skip
        return Findings(told=tuple(sentences), figures=(figure,), tables=(table,), compared=tuple(compared))

    def _judged(self, sample: Sample, found: Found, model: str) -> dict[str, Judgment]:
        """The best undetected chain of a network, by judge; the network itself judges first."""
        others = [one for one in self.networks(sample) if one != model]
        chain = best(chains(found[self.search(sample, model)], "front"))
        return dict(zip((model, *others), chain.judged, strict=True))


def _bar(seen: Judgment) -> tuple[float, float, float]:
    return 100 * seen.asr.value, 100 * seen.asr.low, 100 * seen.asr.high
