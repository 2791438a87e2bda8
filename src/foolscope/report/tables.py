"""The report's tables: every number that a chart shows, and those that none shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from foolscope.experiments.grid import UNRESTRICTED, norm_of, without_eps
from foolscope.experiments.results import DISTANCES, Curve, Outcome, Point, Record, Results
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
    weakest_told,
)

MOST_CLASSES = 20
"""So many classes the per-class table shows; of more, the worst."""

MOST_RADII = 7
"""So many columns of radii a table has, as many as paper and a window hold; more go into further tables below it."""

_RUN_ONCE = "An oblivious attack is run once for all defenses."
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


def _matrix(curves: Sequence[Curve], radii: Sequence[float], cell: Callable[[Point], Html | str]) -> list[list[Html]]:
    """Groups of rows, one group an attack and one row a curve; one column a radius that `radii` names."""
    groups = []
    for attack in dict.fromkeys(curve.attack for curve in curves):
        rows = []
        for curve in curves:
            if curve.attack == attack:
                rows.append(row(meeting(curve.defense, curve.mode), _along(curve, radii, cell)))
        groups.append(_group(attack, 1 + len(radii), rows))
    return groups


def _along(curve: Curve, radii: Sequence[float], cell: Callable[[Point], Html | str]) -> list[Html | str]:
    points = {point.eps: point for point in curve.points}
    return [cell(points[eps]) if eps in points else NONE for eps in radii]


def bands(values: Sequence[float], most: int) -> list[Sequence[float]]:
    """The values in runs of at most `most`, which are of the same length or differ by one."""
    count = math.ceil(len(values) / most)
    return [values[len(values) * band // count : len(values) * (band + 1) // count] for band in range(count)]


def _banded(
    caption: str,
    radii: Radii,
    values: Sequence[float],
    body: Callable[[Sequence[float]], list[list[Html]]],
    *,
    last: str | None = None,
    kind: str | None = None,
) -> Html:
    """A table with a column for each radius and perhaps a last one; several, one below the other, of many radii."""
    runs = bands(values, MOST_RADII - (last is not None))
    parts = []
    for run in runs:
        told = f"{caption} Radii from {radii.text(run[0])} to {radii.text(run[-1])}."
        heads = ["Attack", *(f"ε = {radii.text(eps)}" for eps in run), *([last] if last else [])]
        parts.append(table(told if len(runs) > 1 else caption, heads, body(run), kind))
    return join(parts)


def accuracy_table(results: Results, radii: Radii) -> Html:
    """Accuracy with intervals of every attack at every radius, and of the weakest over all attacks."""
    curves = [curve for curve in results.curves if curve.norm == radii.norm]

    def body(values: Sequence[float]) -> list[list[Html]]:
        groups = _matrix(curves, values, lambda point: share(point.accuracy))
        if len({curve.attack for curve in curves}) > 1 or len(results.victims) > 1 or results.unrestricted:
            rows = [
                row(defense_name(curve.defense), _along(curve, values, lambda point: share(point.accuracy)), "strong")
                for curve in results.weakest
                if curve.norm == radii.norm
            ]
            groups.append(_group(f"Weakest: {weakest_told(results)}", 1 + len(values), rows))
        return groups

    symbol = NORM_SYMBOLS.get(radii.norm, radii.norm)
    caption = f"Accuracy under {symbol} attacks, with 95 % intervals in percent. ε = 0 is the clean accuracy."
    return _banded(caption, radii, (0.0, *radii.values), body)


def unrestricted_table(results: Results) -> Html:
    """What the attacks without a radius leave: accuracy, success, and what of it an 8-bit file keeps."""
    caption = (
        "Accuracy under attacks that no radius bounds, with 95 % intervals in percent; the share of the images "
        "classified right untouched that each makes wrong; and of these the share that is still wrong once it is saved "
        "with 8 bits a channel."
    )

    def cells(found: Outcome) -> list[Html]:
        return [share(found.accuracy), share(found.success), share(found.saved)]

    return table(caption, ["Attack", "Accuracy", "Success", "Kept in 8 bits"], _unrestricted_groups(results, cells, 4))


def unrestricted_distance_table(results: Results) -> Html:
    """How far the attacks without a radius move the images."""
    caption = "Attacks without a radius: mean distances over the images that were attacked. ℓ0 counts pixels."

    def cells(found: Outcome) -> list[str]:
        return [number(found.distances.get(name)) for name in DISTANCES]

    groups = _unrestricted_groups(results, cells, 1 + len(DISTANCES))
    return table(caption, ["Attack", *(_DISTANCE_HEADS[name] for name in DISTANCES)], groups, kind="dense")


def _unrestricted_groups(
    results: Results, cells: Callable[[Outcome], Sequence[Html | str]], columns: int
) -> list[list[Html]]:
    """Groups of rows, one group an attack without a radius and one row for each network that meets it."""
    attacks: dict[str, list[Html]] = {}
    for found in results.unrestricted:
        attacks.setdefault(found.attack, []).append(row(meeting(found.defense, found.mode), cells(found.outcome)))
    return [_group(attack, columns, rows) for attack, rows in attacks.items()]


def cost_table(results: Results, radii: Radii) -> Html:
    """Forwards and backwards per image of every attack in a norm, and the seconds that its radii took together."""
    runs = [run for run in attack_runs(results) if norm_of(run.attack) == radii.norm]
    curves = {(curve.attack, curve.defense, curve.mode): curve for curve in results.curves}
    caption = (
        f"Costs of {NORM_SYMBOLS.get(radii.norm, radii.norm)} attacks: forward / backward passes an image (mean over "
        f"all images), and the time that all radii took together. {_RUN_ONCE}"
    )

    def body(values: Sequence[float]) -> list[list[Html]]:
        return _cost_groups(runs, partial(cells, values), 2 + len(values))

    def cells(values: Sequence[float], mine: Sequence[Record]) -> list[Html | str]:
        curve = curves[without_eps(mine[0].attack), mine[0].victim, mine[0].mode]
        return [*_along(curve, values, _passes), duration(sum(run.seconds for run in mine))]

    return _banded(caption, radii, radii.values, body, last="Time", kind="dense")


def unrestricted_cost_table(results: Results) -> Html:
    """Forwards and backwards per image of every attack without a radius, and its seconds."""
    runs = [run for run in attack_runs(results) if norm_of(run.attack) == UNRESTRICTED]
    outcomes = {(found.attack, found.defense, found.mode): found.outcome for found in results.unrestricted}
    caption = (
        "Costs of attacks without a radius: forward / backward passes an image (mean over all images), and the time. "
        f"{_RUN_ONCE}"
    )

    def cells(mine: Sequence[Record]) -> list[Html | str]:
        (run,) = mine
        return [_passes(outcomes[run.attack.spec(), run.victim, run.mode]), duration(run.seconds)]

    return table(caption, ["Attack", "Passes", "Time"], _cost_groups(runs, cells, 3), kind="dense")


def _cost_groups(
    runs: Sequence[Record], cells: Callable[[Sequence[Record]], list[Html | str]], columns: int
) -> list[list[Html]]:
    """A group of rows for each attack, and a row for each way of meeting a network, of the runs at all radii."""
    attacks: dict[str, dict[str, list[Record]]] = {}
    for run in runs:
        head = run.mode if run.mode == "oblivious" else meeting(run.victim, run.mode)
        attacks.setdefault(without_eps(run.attack), {}).setdefault(head, []).append(run)
    return [
        _group(attack, columns, [row(head, cells(mine)) for head, mine in met.items()])
        for attack, met in attacks.items()
    ]


def _passes(found: Outcome) -> str:
    return f"{number(found.forwards)} / {number(found.backwards)}"


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
        groups.append(_group(f"{curve.attack}, {meeting(curve.defense, curve.mode)}", 2 + len(DISTANCES), rows))
    caption = (
        f"{NORM_SYMBOLS.get(radii.norm, radii.norm)} attacks: success, and mean distances over the images that were "
        "attacked (those misclassified untouched are left alone). ℓ0 counts pixels."
    )
    heads = ["Radius", "Success", *(_DISTANCE_HEADS[name] for name in DISTANCES)]
    return table(caption, heads, groups, kind="dense")


def saved_table(results: Results, radii: Radii) -> Html:
    """The share of successes that an 8-bit file keeps."""
    curves = [curve for curve in results.curves if curve.norm == radii.norm]
    caption = (
        f"{NORM_SYMBOLS.get(radii.norm, radii.norm)} attacks: of the images that fool the network, the share that "
        f"still does once it is saved with 8 bits a channel. {NONE}: none fooled it."
    )
    return _banded(
        caption, radii, radii.values, lambda values: _matrix(curves, values, lambda point: share(point.saved))
    )


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
