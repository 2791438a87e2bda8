"""Sanity warnings: what makes a robustness number hard to believe before any attack has been judged.

The checks are those that Carlini et al. 2019 (arXiv 1902.06705) and AutoAttack (Croce and Hein 2020, arXiv 2003.01690)
ask for first; the full examination of gradient masking is `masking.examine`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foolscope.experiments.results import REPEAT_TOLERANCE, Curve, Results, SanityWarning

_ONE_STEP = ("fgsm", "fgm")
_TOLERATED_DIFFERENCE = 0.005
_TOLERATED_IMAGES = 2
_NEAR_CHANCE = 2


def clean_warnings(clean: dict[str, NDArray[Any]]) -> Iterator[SanityWarning]:
    """What the clean cells show: probabilities instead of logits, random outputs, gradients that are exactly zero."""
    share = float(clean["looks_like_probabilities"].mean())
    if share > 0.99:
        yield SanityWarning(
            code="probabilities",
            message="The model returns probabilities, not logits: their gradients vanish where it is sure, and "
            "gradient attacks look weaker than they are. Remove the softmax.",
            evidence={"share of outputs that sum to 1": share},
        )
    difference = float(clean["repeat_difference"].max())
    if difference > REPEAT_TOLERANCE:
        yield SanityWarning(
            code="random",
            message="The model answers the same images differently: it draws random numbers. Attacks that do not "
            "average over them look weaker than they are.",
            evidence={"largest relative difference of logits": difference},
        )
    if "gradient_linf" in clean:
        zero = float((clean["gradient_linf"] == 0).mean())
        if zero > 0:
            yield SanityWarning(
                code="zero-gradient",
                message="The loss has a gradient of exactly zero on some images: gradient attacks cannot move there, "
                "which says nothing about robustness.",
                evidence={"share of images": zero, "images": float(np.sum(clean["gradient_linf"] == 0))},
            )


def curve_warnings(results: Results) -> Iterator[SanityWarning]:
    """What all results show: a model that guesses, broken gradients, an iterative attack weaker than a one-step one."""
    yield from _at_chance(results)
    yield from _broken_gradients(results)
    for iterative in results.curves:
        if iterative.attack.split(":")[0] in _ONE_STEP or iterative.mode == "oblivious":
            continue  # what fools the plain network best need not fool a defended one best
        for single in results.curves:
            same = (single.norm, single.defense, single.mode) == (iterative.norm, iterative.defense, iterative.mode)
            if same and single.attack.split(":")[0] in _ONE_STEP:
                yield from _weaker(iterative, single, results.is_random(single.defense))


def _at_chance(results: Results) -> Iterator[SanityWarning]:
    """One warning where the plain network is not better than guessing, or gives all images the same class."""
    labels, predictions = results.clean["label"], results.clean["prediction_0"]
    names = results.class_names
    classes = len(names) if names is not None else 1 + int(max(labels.max(), predictions.max()))
    share, guessed = results.clean_accuracy(), 1 / classes
    constant = len(set(predictions.tolist())) == 1 < len(set(labels.tolist()))
    if classes > 1 and (constant or (share.low <= guessed and share.value <= _NEAR_CHANCE * guessed)):
        how = "gives every image the same class" if constant else "is hardly better than guessing"
        yield SanityWarning(
            code="chance",
            message=f"The model {how}: what attacks do to it means nothing. The usual cause is its preprocessing, "
            "which belongs into its first layers and takes images in [0, 1], or labels in another order than its "
            "classes.",
            evidence={"clean accuracy": share.value, "accuracy of guessing": guessed},
        )


def _broken_gradients(results: Results) -> Iterator[SanityWarning]:
    """One warning for all images that had a NaN or infinite gradient, untouched or in an attack on any network."""
    marks = [record.arrays["broken"] for record in results.records]
    if "gradient_linf" in results.clean:
        marks.append(np.isnan(results.clean["gradient_linf"]))
    broken = np.flatnonzero(np.any(marks, axis=0)) if marks else np.empty(0, dtype=np.int64)
    if len(broken):
        first = results.place(int(broken[0]))
        yield SanityWarning(
            code="broken-gradient",
            message=f"Gradients are NaN or infinite on {len(broken):,} of the images, first on image {first}: attacks "
            "that follow them stop there, which says nothing about robustness.",
            evidence={"share of images": len(broken) / len(results.labels), "images": float(len(broken))},
        )


def _weaker(iterative: Curve, single: Curve, is_random: bool) -> Iterator[SanityWarning]:
    """One warning, for the epsilon at which the iterative attack falls back the most.

    Of a network that draws random numbers only what its intervals show.
    """
    by_eps = {point.eps: point.accuracy for point in single.points}
    pairs = [(p.accuracy, by_eps[p.eps], p.eps) for p in iterative.points if p.eps in by_eps]
    gaps = [(more.value - less.value, eps) for more, less, eps in pairs if not is_random or more.low > less.high]
    gap, eps = max(gaps, default=(0.0, 0.0))
    if gap > max(_TOLERATED_DIFFERENCE, _TOLERATED_IMAGES / single.points[0].accuracy.trials):
        against = f" against {single.defense} ({single.mode})" if single.defense else ""
        yield SanityWarning(
            code="iterative-weaker",
            message=f"{iterative.attack} leaves more accuracy than the one-step {single.attack}{against}: the "
            "gradients mislead it. The smaller number is the one that counts.",
            evidence={"eps": eps, "accuracy gap": gap},
        )
