"""The report's section 'Can these numbers be believed?': the verdict on every network, and its evidence."""

from __future__ import annotations

from foolscope.experiments.examined import Examined
from foolscope.experiments.results import Results
from foolscope.masking import Evidence
from foolscope.report.markup import Html, breakable, folded, join, tag
from foolscope.report.tables import share_inline, table
from foolscope.report.words import NONE, NORM_SYMBOLS, counted, defense_name
from foolscope.spec import format_value

_VERDICTS = {
    "believable": "The number can be believed: nothing found what gradients missed.",
    "masked": "The number cannot be believed: gradients are masked, and the network is weaker than they show.",
    "inconclusive": "Nobody can tell whether the number can be believed.",
}
"""Each verdict in a sentence."""

_NOTE = (
    "Each network is attacked at one radius by PGD on the cross-entropy, which gives the number; then other attacks "
    "look for what it missed. A share above its threshold with all of its 95 % interval speaks against the number. "
    "What is not found here may still exist: a believable number is an upper bound, too."
)


def believed(results: Results) -> list[Html]:
    """The section, or nothing where no network was examined."""
    if not results.examinations:
        return []
    parts = [part for examined in results.examinations for part in _network(examined)]
    heading = tag("h2", "Can these numbers be believed?", id="believed")
    return [tag("section", heading, tag("p", _NOTE, class_="note"), *parts, aria_labelledby="believed")]


def _network(examined: Examined) -> list[Html]:
    found = examined.examination
    symbol, name = NORM_SYMBOLS[found.norm], defense_name(examined.defense)
    number = tag(
        "p",
        _VERDICTS[found.verdict],
        " At ε = ",
        format_value(found.eps),
        f" in {symbol} ",
        breakable(found.attack),
        " leaves ",
        share_inline(found.accuracy),
        f" of {counted(found.clean.trials, 'image')}, all attacks of the examination together ",
        share_inline(found.lowest),
        ".",
    )
    against = found.found("failed", "unclear")
    reasons = tag("ul", *(tag("li", piece.sentence) for piece in against)) if against else Html("")
    caption = f"Evidence, {name}: the share of images that speaks against the number, held against a threshold."
    heads = ["Question", "Answer", "Share", "95 % interval", "Threshold"]
    rows = [_row(piece) for piece in found.evidence]
    whole = folded(f"All evidence, {name}", [table(caption, heads, [rows], "evidence")])
    return [tag("h3", breakable(name), f": {found.verdict}"), number, reasons, whole]


def _row(piece: Evidence) -> Html:
    """The question with what was seen, and how that was judged."""
    told = join((piece.question, tag("br"), tag("span", piece.sentence, class_="by")))
    value, low, high, threshold = (
        NONE if number is None else f"{100 * number:.1f}\u00a0%"
        for number in (piece.value, piece.low, piece.high, piece.threshold)
    )
    between = NONE if piece.low is None else f"[{low},\u00a0{high}]".replace("\u00a0%", "")
    cells = [piece.outcome, value, between, threshold]
    return tag("tr", tag("th", told, scope="row"), *(tag("td", cell) for cell in cells), class_=_CLASSES[piece.outcome])


_CLASSES = {"passed": None, "failed": "against", "unclear": "against", "not applicable": None}
