"""The report's beginning: what was audited, the numbers in a sentence, and whether they can be believed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from foolscope.experiments.audit_jobs import is_adaptive
from foolscope.experiments.cells import PLAIN
from foolscope.experiments.grid import norm_of
from foolscope.experiments.results import Curve, Point, Results, Unrestricted, WeakestPoint
from foolscope.measure import Proportion
from foolscope.report.markup import Html, breakable, join, tag
from foolscope.report.tables import row, share, share_inline, table
from foolscope.report.words import (
    NONE,
    NORM_SYMBOLS,
    Radii,
    counted,
    defense_name,
    gradient_notes,
    listed,
    number,
    short_names,
    weakest_told,
)

CHECKS = {
    "chance": "the model is better than guessing",
    "probabilities": "the model returns logits, not probabilities",
    "random": "the model answers the same images the same way twice",
    "zero-gradient": "no image has a loss gradient of exactly zero",
    "broken-gradient": "no gradient is NaN or infinite",
    "iterative-weaker": "no iterative attack is weaker than a one-step attack in the same norm",
}
"""Every sanity check by its warning's code: what holds where it does not warn."""


def header(results: Results) -> Html:
    """Title, badge of a preview, and what was attacked."""
    about = results.about
    model, data = about["model"], about["data"]
    subject = f"{model['spec'] or model['name']} on {data['spec']}"
    images = counted(data["images"], "image")
    if data["preview"]:
        images = f"{data['images']:,} of {data['of']:,} images"
    facts = [
        f"{data['split']} split, {images}",
        f"{_parameters(model)}, weights: {model['weights'] or 'unknown'}",
        f"attacks: {listed([attack['name'] for attack in about['attacks']])}",
        f"defenses: {listed(about['defenses'])}" if about["defenses"] else "no defense",
    ]
    if about.get("companions"):
        facts.append(f"on each defense also: {listed([_companion(attack) for attack in about['companions']])}")
    return tag(
        "header",
        tag("p", "foolscope robustness audit", class_="eyebrow"),
        tag("h1", subject),
        tag("p", f"Preview: {images} only", class_="badge") if data["preview"] else "",
        tag("p", *_separated(facts), class_="facts"),
    )


def _companion(attack: dict[str, Any]) -> str:
    """'square:queries=500 at ε = 8/255 in ℓ∞'."""
    return f"{attack['name']} at {_reach(Radii(attack['norm'], tuple(attack['eps'])))}"


def _separated(facts: Sequence[str]) -> list[Html | str]:
    parts: list[Html | str] = []
    for fact in facts:
        parts += [tag("br"), fact]
    return parts[1:]


def title(results: Results) -> str:
    """The page's title."""
    model, data = results.about["model"], results.about["data"]
    return f"{model['spec'] or model['name']} on {data['spec']}: robustness audit"


def _parameters(model: dict[str, Any]) -> str:
    """'551,466 trained parameters and 896 averages of BatchNorm and other buffers: 552,362 together'."""
    trained, buffers = model["parameters"], model.get("buffers", 0)
    if not buffers:
        return counted(trained, "parameter")
    return f"{trained + buffers:,} parameters ({trained:,} trainable, {buffers:,} running averages and other buffers)"


def summary(results: Results, norms: Sequence[Radii]) -> Html:
    """The numbers in plain English, and those of the defenses beside each other."""
    parts = [tag("p", *_plain_sentence(results, norms))]
    parts += [tag("p", *_defense_sentence(results, norms, victim)) for victim in results.victims if victim != PLAIN]
    if len(results.victims) > 1:
        parts += [_glance(results, radii) for radii in norms]
        parts += [_unrestricted_glance(results)] if results.unrestricted else []
        parts += [tag("p", note, class_="note") for note in gradient_notes(results)]
    if norms:
        told = "The summary speaks of ε = 8/255 or 0.3 where an ℓ∞ attack was run there, else of the middle radius. "
        parts.append(tag("p", told, "Square brackets hold 95 % intervals in percent.", class_="note"))
    heading = tag("h2", "Summary", id="summary")
    return tag("section", heading, *parts, class_="summary", aria_labelledby="summary")


def _plain_sentence(results: Results, norms: Sequence[Radii]) -> list[Html | str]:
    model, images = results.about["model"], counted(results.about["data"]["images"], "image")
    clauses: list[Sequence[Html | str]] = []
    free = [found for found in results.unrestricted if found.defense == PLAIN]
    for radii in norms:
        attacks = dict.fromkeys(
            curve.attack for curve in results.curves if curve.norm == radii.norm and not curve.defense
        )
        worst = "the attack that is worst for it" if len(attacks) + len(free) > 1 else next(iter(attacks))
        told = f" when each is changed by up to {_reach(radii)} by {worst}"
        clauses.append((share_inline(_weakest(results, radii, PLAIN)), told))
    if free:
        strongest = min(free, key=lambda found: found.outcome.accuracy.value)
        clauses.append((share_inline(strongest.outcome.accuracy), f" after {strongest.attack}, which has no radius"))
    parts: list[Html | str] = [f"{model['spec'] or model['name']} classifies "]
    parts += [share_inline(results.clean_accuracy()), f" of the {images} right as they are"]
    for place, clause in enumerate(clauses, 1):
        parts += [" and " if place == len(clauses) else ", ", *clause]
    return [*parts, "."]


def _defense_sentence(results: Results, norms: Sequence[Radii], victim: str) -> list[Html | str]:
    """Behind the defense: clean, then at each norm's radius oblivious and adaptive, under the attack that leaves least.

    Of the adaptive ones it is named, with its mode.  Attacks without a radius come last.
    """
    groups = [(f"at {_reach(radii)}", _found(results, radii)) for radii in norms]
    groups += [("without a radius", _found_free(results))] if results.unrestricted else []
    parts: list[Html | str] = ["Behind ", breakable(victim), ": clean ", share_inline(results.clean_accuracy(victim))]
    for where, found in groups:
        separator = "; "
        for mode in ("oblivious", "adaptive"):
            here = [entry[2:] for entry in found if entry[:2] == (victim, mode)]
            if here:
                name, lowest = min(here, key=lambda entry: entry[1].value)
                parts += [f"{separator}{mode} ", share_inline(lowest), f" ({name})" if mode == "adaptive" else ""]
                separator = ", "
        parts.append(f" {where}")
    return [*parts, "."]


def _reach(radii: Radii) -> str:
    return f"ε = {radii.text(radii.reference)} in {NORM_SYMBOLS.get(radii.norm, radii.norm)}"


_Found = tuple[str, str, str, Proportion]
"""Defense, 'none', 'oblivious' or 'adaptive', the attack, of an adaptive one with its mode, and accuracy."""


def _found(results: Results, radii: Radii) -> list[_Found]:
    """What every attack of a norm leaves of every network at the reference radius."""
    names = short_names(_attacks(results, radii))
    return [
        _entry(curve, names[curve.attack], point.accuracy)
        for curve in results.curves
        if curve.norm == radii.norm and (point := _at(curve, radii.reference))
    ]


def _attacks(results: Results, radii: Radii) -> list[str]:
    return [curve.attack for curve in results.curves if curve.norm == radii.norm]


def _found_free(results: Results) -> list[_Found]:
    """The same of the attacks without a radius."""
    names = short_names(found.attack for found in results.unrestricted)
    return [_entry(found, names[found.attack], found.outcome.accuracy) for found in results.unrestricted]


def _entry(met: Curve | Unrestricted, name: str, accuracy: Proportion) -> _Found:
    if is_adaptive(met.mode):
        return met.defense, "adaptive", f"{name}, {met.mode}", accuracy
    return met.defense, met.mode, name, accuracy


def _at(curve: Curve, eps: float) -> Point | None:
    return next((point for point in curve.points if point.eps == eps), None)


def _weakest(results: Results, radii: Radii, victim: str) -> Proportion:
    """The lowest accuracy of the reference radius: of all attacks, every image under its worst."""
    point = _weakest_point(results, radii, victim)
    return point.accuracy if point else Proportion(0, 0)


def _weakest_point(results: Results, radii: Radii, victim: str) -> WeakestPoint | None:
    curves = [curve for curve in results.weakest if (curve.norm, curve.defense) == (radii.norm, victim)]
    return next((point for curve in curves for point in curve.points if point.eps == radii.reference), None)


def _glance(results: Results, radii: Radii) -> Html:
    """No attack, oblivious attack, adaptive attack, and the weakest of all, one row a network."""
    told = f"Weakest: {weakest_told(results)}. Below it the attack that does most alone."
    names = short_names((*_attacks(results, radii), *(found.attack for found in results.unrestricted)))
    weakest = []
    for victim in results.victims:
        point = _weakest_point(results, radii, victim)
        by = point.strongest if point else None
        what = "" if by is None else names[by.attack] + (f", {by.mode}" if victim else "")
        name = tag("span", what, class_="by") if what else ""
        weakest.append(join((share(_weakest(results, radii, victim)), name)))
    return _beside(results, f"at {_reach(radii)}", _found(results, radii), told, weakest)


def _unrestricted_glance(results: Results) -> Html:
    """The same for the attacks without a radius; the last column is the lowest of each row."""
    found = _found_free(results)
    lowest = [
        share(min((entry[3] for entry in found if entry[0] == victim), key=lambda accuracy: accuracy.value))
        for victim in results.victims
    ]
    return _beside(results, "under attacks without a radius", found, "Lowest: of all of these.", lowest)


def _beside(results: Results, where: str, found: Sequence[_Found], told: str, last: Sequence[Html]) -> Html:
    """One row a network.  `found` are defense, mode, attack and accuracy; `told` says what the `last` column is."""
    rows = []
    for victim, final in zip(results.victims, last, strict=True):
        cells = [share(results.clean_accuracy(victim))]
        for mode in ("oblivious", "adaptive"):
            here = [entry[2:] for entry in found if entry[:2] == (victim, mode)]
            cells.append(Html(NONE) if victim == PLAIN else _lowest(mode, here))
        rows.append(row(defense_name(victim), [*cells, final]))
    caption = (
        f"Accuracy {where}, with 95 % intervals in percent. Oblivious and adaptive: under the attack that leaves "
        f"least, named below the number. {told}"
    )
    heads = ["Network", "No attack", "Oblivious attack", "Adaptive attack", told.partition(":")[0]]
    return tag("div", table(caption, heads, [rows]), class_="glance")


def _lowest(mode: str, found: Sequence[tuple[str, Proportion]]) -> Html:
    """The lowest accuracy that one attack leaves in a mode, and that attack's name."""
    if not found:
        return join((NONE, tag("span", "it gives no gradients", class_="by") if mode == "adaptive" else ""))
    name, lowest = min(found, key=lambda entry: entry[1].value)
    return join((share(lowest), tag("span", name, class_="by")))


def sanity(results: Results) -> Html:
    """The warnings, prominent; or that none of the checks raised one."""
    idle = _idle_checks(results)
    done = {code: text for code, text in CHECKS.items() if code not in idle}
    if results.warnings:
        items = [tag("li", w.message, " ", tag("span", f"({_evidence(w.evidence)})")) for w in results.warnings]
        raised = {w.code for w in results.warnings}
        quiet = [text for code, text in done.items() if code not in raised]
        heading = f"{counted(len(results.warnings), 'warning')}: these numbers may look better than they are"
        rest = f"The other checks are in order: {listed(quiet)}." if quiet else ""
        body = [tag("h2", heading, id="sanity"), tag("ul", *items)]
        body += [tag("p", text, class_="note") for text in (rest, *idle.values()) if text]
        return tag("section", *body, class_="warnings", aria_labelledby="sanity")
    heading = f"None of the {len(done)} sanity checks raised a warning"
    items = [tag("li", text) for text in (*done.values(), *idle.values())]
    return tag("section", tag("h2", heading, id="sanity"), tag("ul", *items), class_="calm", aria_labelledby="sanity")


def _idle_checks(results: Results) -> dict[str, str]:
    """The checks that there was nothing to do for, and why."""
    idle = {}
    if "gradient_linf" not in results.clean:
        for code, what in (("zero-gradient", "zero gradients"), ("broken-gradient", "NaN or infinite gradients")):
            idle[code] = f"Not checked: {what}, because the model gives no gradients."
    passes: dict[str, set[bool]] = {}
    for record in results.records:
        if record.eps is not None:
            passes.setdefault(norm_of(record.attack), set()).add(record.attack.passes > 1)
    if not any(len(kinds) == 2 for kinds in passes.values()):
        idle["iterative-weaker"] = (
            "Not checked: iterative against one-step attacks, because no norm has both (add fgsm or fgm beside pgd)."
        )
    return idle


def _evidence(evidence: dict[str, float]) -> str:
    return ", ".join(f"{name}: {number(value)}" for name, value in evidence.items())
