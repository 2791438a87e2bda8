"""The report's tables: every number that a chart shows, and those that none shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from foolscope.experiments.grid import norm_of, without_eps
from foolscope.experiments.results import DISTANCES, Curve, Point, Results
from foolscope.measure import Proportion
from foolscope.report.export import attack_runs
from foolscope.report.markup import Html, breakable, join, tag
from foolscope.report.words import (
    NONE,
    NORM_SYMBOLS,
    Radii,
    counted,
    defense_name,
    duration,
    interval,
    meeting,
    number,
    percent,
)

MOST_CLASSES = 20
"""So many classes the per-class table shows; of more, the worst."""

_DISTANCE_HEADS = {**NORM_SYMBOLS, "ssim": "SSIM", "psnr": "PSNR (dB)"}


def share(value: Proportion) -> Html:
    """A share for a table's cell: the percentage, and its interval in small type under it."""
    small = tag("span", interval(value), class_="interval") if value.trials else ""
    return join((percent(value), " ", small) if small else (percent(value),))


def share_inline(value: Proportion) -> Html:
    """A share for running text."""
    return tag("span", percent(value), " ", tag("span", interval(value), class_="interval"), class_="number")


def table(caption: str, heads: Sequence[str], bodies: Iterable[Iterable[Html]], kind: str | None = None) -> Html:
    """A table that scrolls sideways by itself where it is too wide; `bodies` are groups of rows."""
    head = tag("thead", tag("tr", *(tag("th", text, scope="col") for text in heads)))
    body = join(tag("tbody", *rows) for rows in bodies)
    whole = tag("table", tag("caption", tag("span", caption)), head, body, class_=kind)
    return tag("div", whole, class_="scroll", tabindex=0, role="region", aria_label=caption)


def row(head: str, cells: Iterable[Html | str], kind: str | None = None) -> Html:
    """A row: its head, then its cells."""
    return tag("tr", tag("th", breakable(head), scope="row"), *(tag("td", cell) for cell in cells), class_=kind)


def _group(title: str, columns: int, rows: Iterable[Html]) -> list[Html]:
    head = tag("tr", tag("th", tag("span", title), scope="rowgroup", colspan=columns), class_="group")
    return [head, *rows]


def _matrix(
    curves: Sequence[Curve], radii: Sequence[float], cell: Callable[[Point], Html | str], extra: Sequence[str] = ()
) -> list[list[Html]]:
    """Groups of rows, one group an attack and one row a curve; one column a radius that `radii` names."""
    groups = []
    for attack in dict.fromkeys(curve.attack for curve in curves):
        rows = []
        for curve in curves:
            if curve.attack == attack:
                rows.append(row(meeting(curve), _along(curve, radii, cell)))
        groups.append(_group(attack, 1 + len(radii) + len(extra), rows))
    return groups


def _along(curve: Curve, radii: Sequence[float], cell: Callable[[Point], Html | str]) -> list[Html | str]:
    points = {point.eps: point for point in curve.points}
    return [cell(points[eps]) if eps in points else NONE for eps in radii]


def accuracy_table(results: Results, radii: Radii) -> Html:
    """Accuracy with intervals of every attack at every radius, and of the weakest over all attacks."""
    curves = [curve for curve in results.curves if curve.norm == radii.norm]
    values = (0.0, *radii.values)
    groups = _matrix(curves, values, lambda point: share(point.accuracy))
    if len({curve.attack for curve in curves}) > 1 or len(results.victims) > 1:
        rows = [
            row(defense_name(curve.defense), _along(curve, values, lambda point: share(point.accuracy)), "strong")
            for curve in results.weakest
            if curve.norm == radii.norm
        ]
        groups.append(_group("Weakest: every image under the attack that is worst for it", 1 + len(values), rows))
    symbol = NORM_SYMBOLS.get(radii.norm, radii.norm)
    heads = ["Attack", *(f"ε = {radii.text(eps) if eps else 0}" for eps in values)]
    caption = f"Accuracy under {symbol} attacks, with 95 % intervals in percent. ε = 0 is the clean accuracy."
    return table(caption, heads, groups)


def cost_table(results: Results, radii: Radii) -> Html:
    """Forwards and backwards per image of every attack that was run, and its seconds in total."""
    runs = [run for run in attack_runs(results) if norm_of(run.attack) == radii.norm]
    groups = []
    for attack in dict.fromkeys(without_eps(run.attack) for run in runs):
        rows = []
        mine = [run for run in runs if without_eps(run.attack) == attack]
        for victim, mode in dict.fromkeys((run.victim, run.mode) for run in mine):
            curve = next(c for c in results.curves if (c.attack, c.defense, c.mode) == (attack, victim, mode))
            seconds = sum(run.seconds for run in mine if (run.victim, run.mode) == (victim, mode))
            head = "oblivious" if mode == "oblivious" else meeting(curve)
            rows.append(row(head, [*_along(curve, radii.values, _passes), duration(seconds)]))
        groups.append(_group(attack, 2 + len(radii.values), rows))
    caption = (
        f"Costs of {NORM_SYMBOLS.get(radii.norm, radii.norm)} attacks: forward / backward passes an image (mean over "
        "all images), and the time that all radii took together. An oblivious attack is run once for all defenses."
    )
    heads = ["Attack", *(f"ε = {radii.text(eps)}" for eps in radii.values), "Time"]
    return table(caption, heads, groups, kind="dense")


def _passes(point: Point) -> str:
    return f"{number(point.forwards)} / {number(point.backwards)}"


def distance_table(results: Results, radii: Radii) -> Html:
    """What the attacked images look like: success and mean distances at every radius."""
    curves = [curve for curve in results.curves if curve.norm == radii.norm]
    attacks = list(dict.fromkeys(curve.attack for curve in curves))
    groups = []
    for curve in sorted(curves, key=lambda curve: attacks.index(curve.attack)):
        rows = [
            row(
                f"ε = {radii.text(point.eps)}",
                [percent(point.success), *(number(point.distances.get(name)) for name in DISTANCES)],
            )
            for point in curve.points
            if point.eps > 0
        ]
        groups.append(_group(f"{curve.attack}, {meeting(curve)}", 2 + len(DISTANCES), rows))
    caption = (
        f"{NORM_SYMBOLS.get(radii.norm, radii.norm)} attacks: success, and mean distances over the images that were "
        "attacked (those misclassified untouched are left alone). ℓ0 counts pixels."
    )
    heads = ["Radius", "Success", *(_DISTANCE_HEADS[name] for name in DISTANCES)]
    return table(caption, heads, groups, kind="dense")


def saved_table(results: Results, radii: Radii) -> Html:
    """The share of successes that an 8-bit file keeps."""
    curves = [curve for curve in results.curves if curve.norm == radii.norm]
    groups = _matrix(curves, radii.values, lambda point: share(point.saved))
    caption = (
        f"{NORM_SYMBOLS.get(radii.norm, radii.norm)} attacks: of the images that fool the network, the share that "
        f"still does once it is saved with 8 bits a channel. {NONE}: none fooled it."
    )
    return table(caption, ["Attack", *(f"ε = {radii.text(eps)}" for eps in radii.values)], groups)


def class_table(results: Results) -> Html:
    """Clean accuracy of each class as numbers and bars; of many classes the worst."""
    classes = results.class_accuracy()
    shown = classes
    caption = f"Clean accuracy of each of {counted(len(classes), 'class', 'classes')} without defense."
    if len(classes) > MOST_CLASSES:
        shown = sorted(classes, key=lambda entry: entry[1].value)[:MOST_CLASSES]
        caption = f"Clean accuracy without defense: the {MOST_CLASSES} worst of {len(classes):,} classes, worst first."
    rows = [row(name, (f"{value.trials:,}", share(value), _bar(value))) for name, value in shown]
    return table(caption, ["Class", "Images", "Accuracy", "0 to 100 %"], [rows], kind="bars")


def _bar(value: Proportion) -> Html:
    """A bar with its interval as a line; the numbers stand beside it."""
    low, high = f"{100 * value.low:.1f}%", f"{100 * value.high:.1f}%"
    parts = (
        tag("rect", class_="rail", y=3, width="100%", height=6),
        tag("rect", class_="bar", y=3, width=f"{100 * value.value:.1f}%", height=6),
        tag("line", class_="reach", x1=low, x2=high, y1=6, y2=6),
    )
    return tag("svg", *parts, aria_hidden="true")
