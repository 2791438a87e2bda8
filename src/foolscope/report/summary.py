"""The report's beginning: what was audited, the numbers in a sentence, and whether they can be believed."""

from __future__ import annotations

from collections.abc import Sequence

from foolscope.experiments.cells import PLAIN
from foolscope.experiments.grid import norm_of
from foolscope.experiments.results import Curve, Point, Results
from foolscope.measure import Proportion
from foolscope.report.markup import Html, join, tag
from foolscope.report.tables import row, share, share_inline, table
from foolscope.report.words import (
    NONE,
    NORM_SYMBOLS,
    Radii,
    counted,
    defense_name,
    listed,
    number,
    short_names,
)

CHECKS = {
    "probabilities": "the model returns logits, not probabilities",
    "random": "the model answers the same images the same way twice",
    "zero-gradient": "no image has a loss gradient of exactly zero",
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
        f"{counted(model['parameters'], 'parameter')}, weights: {model['weights'] or 'unknown'}",
        f"attacks: {listed([attack['name'] for attack in about['attacks']])}",
        f"defenses: {listed(about['defenses'])}" if about["defenses"] else "no defense",
    ]
    return tag(
        "header",
        tag("p", "foolscope robustness audit", class_="eyebrow"),
        tag("h1", subject),
        tag("p", f"Preview: {images} only", class_="badge") if data["preview"] else "",
        tag("p", *_separated(facts), class_="facts"),
    )


def _separated(facts: Sequence[str]) -> list[Html | str]:
    parts: list[Html | str] = []
    for fact in facts:
        parts += [tag("br"), fact]
    return parts[1:]


def title(results: Results) -> str:
    """The page's title."""
    model, data = results.about["model"], results.about["data"]
    return f"{model['spec'] or model['name']} on {data['spec']}: robustness audit"


def summary(results: Results, norms: Sequence[Radii]) -> Html:
    """The numbers in plain English, and those of the defenses beside each other."""
    sentence = tag("p", *_plain_sentence(results, norms))
    glances = [_glance(results, radii) for radii in norms] if len(results.victims) > 1 else []
    note = tag(
        "p",
        "The summary speaks of ε = 8/255 or 0.3 where an ℓ∞ attack was run there, else of the middle radius. ",
        "Square brackets hold 95 % intervals in percent.",
        class_="note",
    )
    heading = tag("h2", "Summary", id="summary")
    return tag("section", heading, sentence, *glances, note, class_="summary", aria_labelledby="summary")


def _plain_sentence(results: Results, norms: Sequence[Radii]) -> list[Html | str]:
    model, images = results.about["model"], counted(results.about["data"]["images"], "image")
    parts: list[Html | str] = [f"{model['spec'] or model['name']} classifies "]
    parts += [share_inline(results.clean_accuracy()), f" of the {images} right as they are"]
    for place, radii in enumerate(norms):
        attacks = list(dict.fromkeys(curve.attack for curve in results.curves if curve.norm == radii.norm))
        worst = "the attack that is worst for it" if len(attacks) > 1 else attacks[0]
        parts += [" and " if place == len(norms) - 1 else ", ", share_inline(_weakest(results, radii, PLAIN))]
        reach = f"ε = {radii.text(radii.reference)} in {NORM_SYMBOLS.get(radii.norm, radii.norm)}"
        parts.append(f" when each is changed by up to {reach} by {worst}")
    return [*parts, "."]


def _at(curve: Curve, eps: float) -> Point | None:
    return next((point for point in curve.points if point.eps == eps), None)


def _weakest(results: Results, radii: Radii, victim: str) -> Proportion:
    """The lowest accuracy of the reference radius: of all attacks, every image under its worst."""
    for curve in results.weakest:
        point = _at(curve, radii.reference)
        if (curve.norm, curve.defense) == (radii.norm, victim) and point:
            return point.accuracy
    return Proportion(0, 0)


def _glance(results: Results, radii: Radii) -> Html:
    """No attack, oblivious attack, adaptive attack, and the weakest of all, one row a network."""
    names = short_names(curve.attack for curve in results.curves if curve.norm == radii.norm)
    rows = []
    for victim in results.victims:
        cells = [share(results.clean_accuracy(victim))]
        if victim == PLAIN:
            cells += [Html(NONE), Html(NONE)]
        else:
            cells += [_lowest(results, radii, victim, mode, names) for mode in ("oblivious", "adaptive")]
        cells.append(share(_weakest(results, radii, victim)))
        rows.append(row(defense_name(victim), cells))
    symbol = NORM_SYMBOLS.get(radii.norm, radii.norm)
    caption = f"Accuracy at ε = {radii.text(radii.reference)} in {symbol}, with 95 % intervals in percent"
    heads = ["Network", "No attack", "Oblivious attack", "Adaptive attack", "Weakest"]
    return tag("div", table(caption, heads, [rows]), class_="glance")


def _lowest(results: Results, radii: Radii, victim: str, mode: str, names: dict[str, str]) -> Html:
    """The lowest accuracy that one attack leaves in a mode, and that attack's name."""
    found = []
    for curve in results.curves:
        point = _at(curve, radii.reference)
        if (curve.norm, curve.defense, curve.mode) == (radii.norm, victim, mode) and point:
            found.append((point.accuracy.value, names[curve.attack], point.accuracy))
    if not found:
        return join((NONE, tag("span", "it gives no gradients", class_="by") if mode == "adaptive" else ""))
    _, name, lowest = min(found, key=lambda entry: entry[0])
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
        idle["zero-gradient"] = "Not checked: zero gradients, because the model gives no gradients."
    passes: dict[str, set[bool]] = {}
    for record in results.records:
        passes.setdefault(norm_of(record.attack), set()).add(record.attack.passes > 1)
    if not any(len(kinds) == 2 for kinds in passes.values()):
        idle["iterative-weaker"] = (
            "Not checked: iterative against one-step attacks, because no norm has both (add fgsm or fgm beside pgd)."
        )
    return idle


def _evidence(evidence: dict[str, float]) -> str:
    return ", ".join(f"{name}: {number(value)}" for name, value in evidence.items())
