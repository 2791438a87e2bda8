"""The report of an evolution: the front of chains, what each does to every model, and how the search came to it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any

from foolscope.experiments.evolved import Evolved, Found
from foolscope.filters import Chain
from foolscope.report.evolution_figures import STRIP_WIDTH, front_chart, growth_chart, shown_places, strip_png
from foolscope.report.figures import Styles
from foolscope.report.html import document, drawn_twice
from foolscope.report.markup import Html, breakable, join, tag
from foolscope.report.tables import row, share, share_inline, table
from foolscope.report.words import counted, number, percent, short_chain
from foolscope.spec import format_value

_RARELY = 0.05
"""The detection rate up to which a chain is called rarely detected."""

TERMS = {
    "Attack success": "The share of the held-out images classified right untouched that no longer are once filtered. "
    "It counts against the true label.",
    "Prediction changed": "The attack success against the clean prediction: the share of all images whose prediction "
    "is another than untouched, as the thesis counts.",
    "Detection": "The share of all filtered images that the detector takes for adversarial. Its threshold lets it "
    "flag 5 % of the clean images that it was calibrated on.",
    "Front": "Chains that no other found is better than in everything that the search minimized. The search knew its "
    "own images only: on those held out a chain of the front may be worse than another.",
    "Hypervolume": "The share of the unit cube of everything that the search minimized that the front dominates, on "
    "the searched images: 1 would be a perfect attack that costs nothing.",
    "Queries": "Filtered images that a model was asked about, over all models. A black box: nothing but its answers is "
    "used, unless the strategy is 'gradient'.",
    "In 8 bits": "The share of the successes that remain when the filtered image is saved with 8 bits a channel.",
    "95 % interval": "Wilson's interval (1927) of a share, Student's t of a mean.",
}


def evolution_page(evolved: Evolved) -> str:
    """The whole page; equal results give equal bytes."""
    styles = Styles()
    contents: dict[str, Sequence[Html]] = {
        "The front": _front_figures(evolved, styles),
        "The chains": [*_strips(evolved), _chain_table(evolved)],
        "On every model": [_model_table(evolved), _clean_table(evolved)],
        "How the search went": [_growth_figure(evolved, styles), _history_table(evolved)],
        "How to repeat this": _repeat(evolved),
        "What was used": [_provenance(evolved)],
        "What the words mean": [_terms(evolved)],
    }
    sections = [tag("section", tag("h2", name), *parts) for name, parts in contents.items()]
    about = evolved.about
    searched = [model["name"] for model in about["models"] if model["role"] == "searched"]
    title = f"{' and '.join(searched)} on {about['data']['spec']}"
    header = tag(
        "header",
        tag("p", "foolscope filter evolution", class_="eyebrow"),
        tag("h1", title),
        tag("p", _facts(evolved), class_="facts"),
    )
    main = tag("main", _summary(evolved), *sections)
    return document(f"{title}: filter evolution", (header, main), styles, about["versions"]["foolscope"])


def _facts(evolved: Evolved) -> Html:
    about, settings = evolved.about, evolved.about["settings"]
    lines = [
        f"searched on {_part(about, 'searched')}; judged on {_part(about, 'held_out')}, none of them searched",
        *([f"detectors calibrated on {_calibration(about)}"] if _detects(evolved) else []),
        f"chains of {counted(settings['filters'], 'filter')}, population {settings['population']}, "
        f"{counted(settings['epochs'], 'epoch')}, strategy {settings['strategy']}",
        f"minimized: 1 - attack success, {', '.join(about['objectives'])}",
    ]
    return join(lines, tag("br"))


def _calibration(about: dict[str, Any]) -> str:
    same = about["data"]["calibration"]["digest"] == about["data"]["searched"]["digest"]
    return "the searched images" if same else f"{_part(about, 'calibration')}, which are neither"


def _part(about: dict[str, Any], name: str) -> str:
    part = about["data"][name]
    return f"{counted(part['images'], 'image')} of the {part['split']} split"


def _summary(evolved: Evolved) -> Html:
    """The strongest chain, and where there is a detector the strongest that it rarely flags."""
    best = max(evolved.front, key=lambda found: found.judged[0].asr.value)
    sentences = [_sentence("The strongest chain", best, evolved)]
    quiet = [found for found in evolved.front if (d := found.judged[0].detection) and d.value <= _RARELY]
    if quiet:
        chosen = max(quiet, key=lambda found: found.judged[0].asr.value)
        if chosen is not best:
            subject = f"The strongest that the detector flags on at most {100 * _RARELY:g} % of the images"
            sentences.append(_sentence(subject, chosen, evolved))
    return tag(
        "section", tag("h2", "Summary"), *(tag("p", *parts) for parts in sentences), *_over(evolved), class_="summary"
    )


def _over(evolved: Evolved) -> list[Html]:
    """Which chains move held-out images further than the search was allowed."""
    limit = evolved.about["settings"]["max_linf"]
    if limit is None:
        return []
    over = [str(place) for place, one in enumerate(evolved.front, start=1) if one.distances["linf"].value > limit]
    told = f"above it: {', '.join(over)}" if over else "all chains keep it"
    return [tag("p", f"The mean ℓ∞ was to be at most {format_value(limit)}; on held-out images {told}.", class_="note")]


def _sentence(subject: str, found: Found, evolved: Evolved) -> list[Html | str]:
    seen, place = found.judged[0], evolved.front.index(found) + 1
    parts: list[Html | str] = [f"{subject}, number {place}, fools {seen.model} on ", share_inline(seen.asr)]
    parts.append(" of the held-out images that it classifies right untouched")
    if seen.detection:
        parts += ["; the detector flags ", share_inline(seen.detection), " of the filtered images"]
    return [*parts, f". It moves an image by {number(found.distances['linf'].value)} in ℓ∞ on average."]


def _front_figures(evolved: Evolved, styles: Styles) -> list[Html]:
    told = (
        "On held-out images, with 95 % intervals. Circles: chains of the front, by their number in the table. Squares: "
        "the chains that the thesis published."
    )
    line = " Dashed: what the detector flags of the untouched images."

    def figure(across: str) -> Html:
        def chart(width: int, height: int, kind: str) -> Html:
            return front_chart(evolved, styles, across=across, width=width, height=height, name=f"{across}-{kind}")

        return drawn_twice(chart, told + line if across == "detection" else told)

    return [figure(across) for across in (["detection"] if _detects(evolved) else []) + ["linf"]]


def _growth_figure(evolved: Evolved, styles: Styles) -> Html:
    def chart(width: int, height: int, kind: str) -> Html:
        return growth_chart(evolved, styles, width=width, height=height, name=f"growth-{kind}")

    return drawn_twice(chart, "On the searched images, after every step.")


def _strips(evolved: Evolved) -> list[Html]:
    """The same held-out images untouched and filtered by each chain of the front, with the chain's recipe."""
    strips = [_strip(evolved, None, "Untouched", ", ".join(evolved.sheet_labels))]
    for place in shown_places(evolved):
        found, seen = evolved.front[place], evolved.front[place].judged[0]
        parts: list[Html | str] = [f"Chain {place + 1}: fools ", share_inline(seen.asr)]
        if seen.detection:
            parts += [", detected ", share_inline(seen.detection)]
        strips.append(_strip(evolved, found.chain, join(parts), tag("code", breakable(short_chain(found.chain)))))
    if (left := len(evolved.front) - len(shown_places(evolved))) > 0:
        strips.append(tag("p", f"{counted(left, 'chain')} more in the table and in the folder chains.", class_="note"))
    return strips


def _strip(evolved: Evolved, chain: Chain | None, title: Html | str, below: Html | str) -> Html:
    picture = strip_png(evolved, chain)
    source = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    name = "untouched images" if chain is None else f"the same images filtered by {short_chain(chain)}"
    image = tag("img", src=source, alt=name, width=STRIP_WIDTH, loading="lazy")
    told = tag("figcaption", tag("span", title, class_="what"), below)
    return tag("figure", told, image, class_="strip")


def _chain_table(evolved: Evolved) -> Html:
    detected = ["Detected"] if _detects(evolved) else []
    names = [_SYMBOLS.get(name, name) for name in evolved.front[0].distances]
    heads = ["Chain", "Attack success", "Prediction changed", *detected, *names, "In 8 bits"]
    rows = [_chain_row(str(place), found) for place, found in enumerate(evolved.front, start=1)]
    published = [_chain_row(found.chain.title, found) for found in evolved.published]
    caption = f"Chains on held-out images, as {evolved.clean[0].model} sees them; distances are means"
    return table(caption, heads, [rows, published], "dense")


_SYMBOLS = {"linf": "ℓ∞", "l2": "ℓ2", "ssim": "SSIM", "color": "ΔE"}


def _chain_row(name: str, found: Found) -> Html:
    seen = found.judged[0]
    shares = [share(value) for value in (seen.asr, seen.asr_clean, seen.detection) if value is not None]
    return row(name, [*shares, *(number(mean.value) for mean in found.distances.values()), percent(seen.saved)])


def _detects(evolved: Evolved) -> bool:
    return evolved.clean[0].detection is not None


def _model_table(evolved: Evolved) -> Html:
    """Attack success of every chain on every model: the transfer matrix."""
    heads = ["Chain", *(f"{clean.model}{'' if clean.role == 'searched' else ' (transfer)'}" for clean in evolved.clean)]
    if evolved.together(evolved.front[0]):
        heads.append(f"Searched, {evolved.about['settings']['several']}")
    rows = [_transfer_row(str(place), found, evolved) for place, found in enumerate(evolved.front, start=1)]
    published = [_transfer_row(found.chain.title, found, evolved) for found in evolved.published]
    flags = ", and what each model's detector flags" if _detects(evolved) else ""
    caption = f"Attack success{flags}; a transfer model was never asked by the search"
    return table(caption, heads, [rows, published], "dense")


def _transfer_row(name: str, found: Found, evolved: Evolved) -> Html:
    cells = [
        join((share(seen.asr), _flagged(None if seen.detection is None else percent(seen.detection))))
        for seen in found.judged
    ]
    if whole := evolved.together(found):
        flagged = None if whole.detection is None else _rate(whole.detection)
        cells.append(join((_rate(whole.asr), " ", _flagged(flagged))))
    return row(name, cells)


def _rate(value: float) -> str:
    return f"{100 * value:.1f}\u00a0%"


def _flagged(rate: str | None) -> Html | str:
    return "" if rate is None else tag("span", f"{rate} detected", class_="interval")


def _clean_table(evolved: Evolved) -> Html:
    heads, rows = ["Model", "Accuracy"], []
    if _detects(evolved):
        heads += ["Falsely detected", "Threshold"]
    for clean in evolved.clean:
        cells: list[Html | str] = [share(clean.accuracy)]
        if clean.detection is not None and clean.threshold is not None:
            cells += [share(clean.detection), number(clean.threshold)]
        rows.append(row(clean.model, cells))
    return table("Models on the untouched held-out images", heads, [rows])


def _history_table(evolved: Evolved) -> Html:
    asked = ("queries", "detections", "judged", "front") if _detects(evolved) else ("queries", "judged", "front")
    heads = ["Step", *(_ASKED[name] for name in asked), "Hypervolume", "Best success"]
    rows = []
    for step in evolved.history:
        counts = [f"{getattr(step, name):,}" for name in asked]
        rows.append(row(str(step.step), [*counts, f"{step.hypervolume:.3f}", f"{100 * step.asr:.1f}\u00a0%"]))
    return table("What the search asked and found, on its own images", heads, [rows], "dense")


_ASKED = {
    "queries": "Queries",
    "detections": "Shown to detectors",
    "judged": "Chains tried",
    "front": "In the front",
}


def _repeat(evolved: Evolved) -> list[Html]:
    about, parts = evolved.about, []
    if about["command"]:
        parts += [tag("h3", "Command line"), tag("pre", tag("code", about["command"]), class_="wrap")]
    parts += [tag("h3", "Python"), tag("pre", tag("code", about["python"]), class_="wrap")]
    if evolved.front:
        chain = f"foolscope filter '{evolved.front[0].chain.spec()}' in.png -o out.png"
        parts += [tag("h3", "The first chain on an image"), tag("pre", tag("code", chain), class_="wrap")]
    return parts


def _provenance(evolved: Evolved) -> Html:
    about = evolved.about
    pairs: list[tuple[str, str]] = [(f"digest of {one['name']}", one["digest"]) for one in about["models"]]
    pairs += [
        (f"digest of the {name.replace('_', '-')} images", part["digest"])
        for name, part in about["data"].items()
        if name != "spec"
    ]
    pairs += [("seed", str(about["seed"]))]
    pairs += [(name, version or "not installed") for name, version in about["versions"].items()]
    return _pairs(pairs, "pairs")


def _terms(evolved: Evolved) -> Html:
    return _pairs([(name, text) for name, text in TERMS.items() if name != "Detection" or _detects(evolved)], "terms")


def _pairs(pairs: Iterable[tuple[str, str]], kind: str) -> Html:
    return tag("dl", *(part for name, text in pairs for part in (tag("dt", name), tag("dd", text))), class_=kind)
