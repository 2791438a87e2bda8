"""`report.html`: one file that needs no other, no script and no network.

Its Content-Security-Policy allows this page's own style sheet, by its hash, and pictures inside the file; nothing else.
Pages that are made of `document` may have one script, by its hash, too.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence
from importlib import resources

from foolscope.experiments.cells import PLAIN
from foolscope.experiments.results import Curve, Results
from foolscope.report.believed import believed
from foolscope.report.closing import papers, provenance, repeat, terms
from foolscope.report.distortion import DISTORTIONS, comparable, distortion_chart
from foolscope.report.explained import explained
from foolscope.report.figures import Styles, accuracy_chart
from foolscope.report.markup import Html, folded, join, tag
from foolscope.report.samples import sample_section, shown_note
from foolscope.report.summary import header, sanity, summary, title
from foolscope.report.tables import (
    accuracy_table,
    class_table,
    cost_table,
    distance_table,
    saved_table,
    unrestricted_cost_table,
    unrestricted_distance_table,
    unrestricted_table,
)
from foolscope.report.words import NORM_SYMBOLS, Radii, radii_by_norm

_MOVED = "Success, distances, and what 8-bit files keep, at every radius"

_LINES = {
    "none": "Solid with circles: no defense",
    "oblivious": "dashed with squares: oblivious attack",
    "straight-through": "dotted with triangles: adaptive, straight-through",
    "differentiable": "dash and dot with triangles downwards: adaptive, differentiable",
    "black box": "long dash and two dots with crosses: adaptive, black box",
}
"""How the lines of a chart are drawn, by the mode, which may average over draws."""

_SIZES = {"wide": (836, 380), "narrow": (360, 300)}


def page(results: Results) -> str:
    """The whole page; equal results give equal bytes."""
    norms, styles = radii_by_norm(results), Styles()
    main = tag("main", summary(results, norms), sanity(results), *believed(results), *_sections(results, norms, styles))
    return document(title(results), (header(results), main), styles, results.about["versions"]["foolscope"])


def document(name: str, parts: Iterable[Html], styles: Styles, version: str | None, script: str = "") -> str:
    """A whole page: `name` is its title, `parts` come before its footer, `styles` are those of its charts.

    A `script` is the only one that the page's policy allows.
    """
    footer = tag("footer", f"Written by foolscope {version or ''}".strip() + ".")
    sheet = resources.files("foolscope.report").joinpath("report.css").read_text("utf-8") + styles.css()
    body = tag("body", *parts, footer, *([tag("script", Html(script))] if script else []))
    return f"<!doctype html>\n{tag('html', _head(name, sheet, script), body, lang='en')}\n"


def _head(name: str, sheet: str, script: str) -> Html:
    policy = f"default-src 'none'; style-src {_hash(sheet)}; img-src data:; base-uri 'none'; form-action 'none'"
    policy += f"; script-src {_hash(script)}" if script else ""
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name_="color-scheme", content="light dark"),
        tag("link", rel="icon", href="data:,"),  # or the browser asks for one
        tag("title", name),
        tag("style", Html(sheet)),
    )


def _hash(content: str) -> str:
    """What a policy allows this content by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _sections(results: Results, norms: Sequence[Radii], styles: Styles) -> list[Html]:
    charts = [figure for radii in norms for figure in _charts(results, radii, styles)]
    accuracies = [accuracy_table(results, radii) for radii in norms]
    costs = [cost_table(results, radii) for radii in norms]
    shapes = [part for radii in norms for part in (distance_table(results, radii), saved_table(results, radii))]
    if results.unrestricted:
        accuracies.append(unrestricted_table(results))
        costs.append(unrestricted_cost_table(results))
        shapes.append(unrestricted_distance_table(results))
    contents: dict[str, Sequence[Html]] = {
        "Accuracy against ε": charts,
        "All attacks on one axis": _distortion_charts(results, styles),
        "Samples": [tag("p", shown_note(results), class_="note"), sample_section(results, norms)],
        "Where the network looks": explained(results, styles),
        "Accuracy in numbers": accuracies,
        "Costs": costs,
        "How far the images were moved": [folded(_MOVED, shapes)] if shapes else [],
        "Clean accuracy by class": [class_table(results)],
        "How to repeat this": [repeat(results)],
        "What was used": [provenance(results)],
        "What the words mean": [terms()],
        "Where the attacks come from": [papers(results)],
    }
    return [tag("section", tag("h2", name), *parts) for name, parts in contents.items() if parts]


def _charts(results: Results, radii: Radii, styles: Styles) -> list[Html]:
    """One chart of a norm; with several defenses one for each, beside the plain network's lines."""
    symbol = NORM_SYMBOLS.get(radii.norm, radii.norm)
    figures = []
    for place, defense in enumerate([victim for victim in results.victims if victim != PLAIN] or [PLAIN]):
        curves = [c for c in results.curves if c.norm == radii.norm and c.defense in (PLAIN, defense)]
        heading = f"{symbol} attacks" + (f", {defense}" if defense else "")
        figures.append(join((tag("h3", heading), _chart(curves, radii, styles, f"{radii.norm}-{place}"))))
    return figures


def _distortion_charts(results: Results, styles: Styles) -> list[Html]:
    """One chart a measure of distortion, where attacks of several norms or without a radius are to be compared."""
    curves = comparable(results)
    told = (
        "The network without a defense: its accuracy against how far each attack moved the images, the mean over those "
        "that it attacked. Lines run from radius to radius; a diamond is an attack without one, with its 95 % interval."
    )

    def chart(across: str) -> Html:
        def draw(width: int, height: int, kind: str) -> Html:
            return distortion_chart(
                curves, across, styles, width=width, height=height, name=f"distortion-{across}-{kind}"
            )

        return drawn_twice(draw, told if across == "linf" else "")

    return [chart(across) for across in DISTORTIONS] if curves else []


def _chart(curves: Sequence[Curve], radii: Radii, styles: Styles, name: str) -> Html:
    label = f"Accuracy against the radius of {radii.norm} attacks; its numbers are in the table of the same norm."
    modes = {curve.mode for curve in curves}
    told = "Bands are 95 % intervals, of the attack that leaves least of each network."
    if modes != {"none"}:
        seen = [words for mode, words in _LINES.items() if any(found.startswith(mode) for found in modes)]
        told = f"{'; '.join(seen)}. {told}"

    def draw(width: int, height: int, kind: str) -> Html:
        shape = {"width": width, "height": height}
        return accuracy_chart(curves, radii, styles, **shape, name=f"{name}-{kind}", label=label)

    return drawn_twice(draw, told)


def drawn_twice(draw: Callable[[int, int, str], Html], caption: str) -> Html:
    """A chart for wide and for narrow windows, since its text cannot be made smaller with it.

    `draw` takes width and height in pixels, and the kind of window as a part of the drawing's name.
    """
    drawings = [tag("div", draw(width, height, kind), class_=kind) for kind, (width, height) in _SIZES.items()]
    words = [tag("figcaption", caption)] if caption else []
    return tag("figure", *drawings, *words, class_="chart")
