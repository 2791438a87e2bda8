"""Figures 13 and 14 of the report: the smallest step along the gradient that changes the answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from foolscope.attacks.losses import cross_entropy
from foolscope.experiments.catalog.common import by_images, file_names, label_names, told
from foolscope.experiments.experiment import Experiment, Found, Images, Kind, Sample, Scene, Work, networks, numbers
from foolscope.experiments.findings import Chart, Compared, Figure, Findings, Line, Picture, Pictures, Table, Value
from foolscope.measure import accuracy
from foolscope.norms import NORMS
from foolscope.spec import parameter

_METHODS = {"fgsm": "linf", "fgm": "l2"}

_SEED = "FGSM needs a smaller ε than FGM"
_NORMS = "the report's ε are radii of two norms"


def first_errors(scene: Scene) -> dict[str, Tensor]:
    """Kind `first-error`: the answer at every step along FGSM's and FGM's direction.

    `predictions_METHOD` and `l2_METHOD` (N, S + 1) are those at each of S + 1 radii from 0 on, the distance after
    clamping; `images_METHOD` (S + 1, C, H, W) are those of the first image, where it is asked for.
    """
    images, labels, engine = scene.data.images, scene.data.labels, scene.engine()
    slopes = engine.gradients(images, lambda logits, rows: cross_entropy(logits, labels[rows])).images
    found: dict[str, Tensor] = {"label": labels}
    for method, norm in _METHODS.items():
        direction = NORMS[norm].steepest(slopes)
        radii = torch.linspace(0, scene.options[method], scene.options["steps"] + 1).tolist()
        moved = [(images + eps * direction).clamp_(0, 1) for eps in radii]
        found[f"predictions_{method}"] = torch.stack([engine.predict(image) for image in moved], 1)
        found[f"l2_{method}"] = torch.stack([(image - images).flatten(1).norm(dim=1) for image in moved], 1)
        if scene.options["shown"]:
            found[f"images_{method}"] = torch.stack([image[0] for image in moved])
    return found


KINDS = {"first-error": Kind(first_errors, 2)}


@dataclass(frozen=True, kw_only=True)
class FirstError(Experiment):
    """The smallest epsilon at which the prediction changes along FGSM's and FGM's direction, step by step.

    The seed: Fig. 13 and 14 follow the first training image of CIFAR-10 on LeNet until it is misclassified, by FGSM
    and by FGM; FGSM, whose every pixel changes as much as it may, needs a smaller epsilon.

    Differences: our networks for CIFAR-10 are others, since LeNet takes gray images. The report compares radii of two
    norms, and one in linf is the smaller number whatever the attack does: here both are told in l2 as well. Beside that
    one image, the radii of many are shown as a distribution. A prediction can turn back at a larger radius, which a
    search for the first error does not show: the table has the share of images that do.
    """

    name: ClassVar[str] = "first-error"
    figure: ClassVar[str] = "Fig. 13, 14"
    summary: ClassVar[str] = "the smallest epsilon that changes the prediction, FGSM and FGM, step by step"
    on: ClassVar[tuple[str, ...]] = ("cifar10", "mnist", "digits")
    split: ClassVar[str] = "train"
    usual: ClassVar[int | None] = 500

    steps: int = parameter(60, "radii along the direction", low=2, high=1000)
    fgsm: str = parameter("auto", "largest radius of FGSM; auto: 0.3 for gray images (digits 0.2), 16/255 for color")
    fgm: str = parameter("auto", "largest radius of FGM; auto: 6 for gray images (digits 3), 2 for color")
    shown: int = parameter(6, "steps shown of the one image", low=2, high=12)
    models: str = parameter("auto", "networks, joined by '|'; auto: those of the report with shipped weights")

    def cells(self, sample: Sample) -> list[Work]:
        works = []
        for model in networks(self.models, sample.data):
            works += [self._one(sample, model), *self._many(sample, model)]
        return works

    def _one(self, sample: Sample, model: str) -> Work:
        """The first image of the split, whatever the sample."""
        return self._work(Images(data=sample.name, split=self.split, end=1), sample, model, shown=True)

    def _many(self, sample: Sample, model: str) -> list[Work]:
        return [self._work(block, sample, model, shown=False) for block in sample.blocks()]

    def _work(self, images: Images, sample: Sample, model: str, *, shown: bool) -> Work:
        options = {"steps": self.steps, "shown": shown, **self._largest(sample)}
        cost = 2.0 * (self.steps + 2) * ((images.end or 1) - images.begin)
        return Work(kind="first-error", images=images, model=model, options=options, cost=cost)

    def _largest(self, sample: Sample) -> dict[str, float]:
        usual = {
            "fgsm": by_images(sample, digits=0.2, gray=0.3, color=16 / 255),
            "fgm": by_images(sample, digits=3.0, gray=6.0, color=2.0),
        }
        given = {"fgsm": self.fgsm, "fgm": self.fgm}
        return {m: usual[m] if text == "auto" else max(numbers(text, m)) for m, text in given.items()}

    def show(self, sample: Sample, found: Found) -> Findings:
        names = label_names(sample)
        figures, sentences, compared = [], [], []
        charts: list[Chart] = []
        rows: list[tuple[Value, ...]] = []
        for model, file in file_names(networks(self.models, sample.data)).items():
            one = found[self._one(sample, model)]
            many = found.joined(self._many(sample, model))
            apart: dict[str, Tensor] = {}
            for method, largest in self._largest(sample).items():
                answers = one[f"predictions_{method}"][0]
                radii = torch.linspace(0, largest, self.steps + 1).tolist()
                first = _first(torch.from_numpy(answers)[None])[0]
                shown = _spread(self.steps, int(first) if math.isfinite(first) else self.steps, self.shown)
                row = tuple(Picture(one[f"images_{method}"][s]) for s in shown)
                columns = tuple(f"ε {radii[s]:.3g}: {names[answers[s]]}" for s in shown)
                figures.append(
                    Figure(
                        name=f"steps-{file}-{method}",
                        caption=f"{model}, {method}: the first training image along its direction, each with radius in "
                        f"{_METHODS[method]} and answer, up to the first error and the largest radius.",
                        content=Pictures(columns=columns, rows=((method, row),)),
                    )
                )
                predictions = torch.from_numpy(many[f"predictions_{method}"])
                right = predictions[:, 0] == torch.from_numpy(many["label"])
                steps = _first(predictions[right])
                shares = [100 * float((steps <= s).double().mean()) for s in range(self.steps + 1)]
                norm = _METHODS[method]
                charts.append(
                    Chart(
                        title=f"{model}, {method}", lines=(Line(method, radii, shares),), x=f"radius in {norm}",
                        y="images that have erred (%)", y_range=(0.0, 100.0),
                    )
                )  # fmt: skip
                middle = steps.median().item() if len(steps) else math.inf
                median = radii[int(middle)] if math.isfinite(middle) else None
                last = predictions[right][:, -1] == predictions[right][:, 0]
                back = accuracy(last & steps.isfinite())
                radius = radii[int(first)] if math.isfinite(first) else None
                apart[method] = _distance(torch.from_numpy(many[f"l2_{method}"])[right], steps)
                nearest = apart[method].median().item() if len(steps) else math.inf
                rows.append((f"{model}, {method} ({norm})", radius, median, nearest if math.isfinite(nearest) else None,
                             accuracy(steps.isfinite()), back))  # fmt: skip
                where = f"at {radius:.3g}" if radius is not None else f"not up to {largest:.3g}"
                verb = "errs" if answers[0] == one["label"][0] else "is wrong untouched and changes its answer"
                sentences.append(
                    f"{model}, {method}: the first training image {verb} {where} in {norm}; "
                    + (
                        f"half of the images err by {median:.3g}."
                        if median is not None
                        else "fewer than half of the images err."
                    )
                )
            compared.append(_against_seed(model, apart["fgsm"], apart["fgm"]))
        figures.append(
            Figure(
                name="first-errors",
                caption="The share of the images that have erred at least once up to each radius, of those classified "
                "right untouched.", content=tuple(charts),
            )
        )  # fmt: skip
        heads = ("network, method", "first image", "median", "median in l2", "err at all", "right again at the end")
        table = Table(name="first-errors", caption="Radius of the first error", columns=heads, rows=tuple(rows))
        return Findings(told=tuple(sentences), figures=tuple(figures), tables=(table,), compared=tuple(compared))


def _against_seed(model: str, fgsm: Tensor, fgm: Tensor) -> Compared:
    """The row of 'seed, ours, why' of the l2 distances (N,) of the first errors, infinite where there is none."""
    medians = [one.median().item() if len(one) else math.inf for one in (fgsm, fgm)]
    ours = ", ".join(f"{median:.3g}" if math.isfinite(median) else "beyond the largest radius" for median in medians)
    less = f"{_NORMS}; in l2 FGM needs less for {accuracy((fgm < fgsm)[fgm.isfinite() | fgsm.isfinite()])}"
    return told(f"{model}: median l2 of the first error, FGSM and FGM", _SEED, ours, f"{less} of the images that err")


def _distance(l2: Tensor, steps: Tensor) -> Tensor:
    """The distance (N,) at the step of each image's first error, of (N, S + 1); infinite where there is none."""
    at = l2.gather(1, steps.clamp(max=l2.shape[1] - 1).long()[:, None])[:, 0].double()
    return torch.where(steps.isfinite(), at, torch.inf)


def _first(predictions: Tensor) -> Tensor:
    """The first step (N,) at which the answer (N, S + 1) is not that of step 0; infinite where there is none."""
    changed = predictions != predictions[:, :1]
    steps = changed.int().argmax(1).double()
    return torch.where(changed.any(1), steps, torch.inf)


def _spread(steps: int, first: int, shown: int) -> list[int]:
    """Steps to show: 0, some up to the one before the first error, the error itself, and the last."""
    before = [round(n * max(0, first - 1) / max(1, shown - 3)) for n in range(shown - 2)]
    return [*before, first, steps]
