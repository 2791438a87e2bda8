"""A slider that leafs through figures of one shape: the page's only script, which changes pictures inside SVGs.

Without the script the figure shows its middle stop, and the slider is not to be seen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from foolscope.report.explain_figures import on_page
from foolscope.report.explain_panels import Panels
from foolscope.report.figures import Styles
from foolscope.report.markup import Html, tag

SCRIPT = """
for (const whole of document.querySelectorAll("[data-stops]")) {
  const stops = JSON.parse(whole.dataset.stops);
  const slider = whole.querySelector("input");
  const told = whole.querySelector("output");
  const drawings = Array.from(whole.querySelectorAll("svg"), (svg) => svg.querySelectorAll("image"));
  const show = () => {
    const stop = stops[slider.value];
    told.textContent = stop.told;
    slider.setAttribute("aria-valuetext", stop.told);
    for (const pictures of drawings) {
      for (const [place, source] of Object.entries(stop.pictures)) pictures[place].setAttribute("href", source);
    }
  };
  slider.addEventListener("input", show);
  slider.closest("[hidden]").hidden = false;
  show();
}
"""
"""What every slider of a page is moved by; the arrow keys are the browser's own."""

_CONTROL = "display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 2px 16px; align-items: center"
_RANGE = "width: 100%; height: 28px; margin: 0; accent-color: var(--accent); cursor: pointer"
_TOLD = "grid-column: 1 / -1; color: var(--muted); font-size: 14px; min-height: 3.2em"


@dataclass(frozen=True, kw_only=True)
class Slider:
    """Planes of one shape and scale, one chart for each stop: `what` is the quantity, `told` a sentence a stop."""

    what: str
    told: tuple[str, ...]
    charts: tuple[Panels, ...]

    @property
    def start(self) -> int:
        """The stop that is shown first."""
        return len(self.charts) // 2


def slider(found: Slider, styles: Styles) -> Html:
    """The figure of the first stop with its slider, and what the others change in it."""
    drawn = [on_page(chart, styles) for chart in found.charts]
    name = found.charts[0].name
    control = tag(
        "div",
        tag("label", found.what, for_=name),
        tag(
            "input", type="range", id=name, min=0, max=len(drawn) - 1, step=1, value=found.start, autocomplete="off",
            aria_valuetext=found.told[found.start], class_=styles.of(_RANGE),
        ),
        tag("output", found.told[found.start], for_=name, class_=styles.of(_TOLD)),
        class_=styles.of(_CONTROL),
    )  # fmt: skip
    shown = (tag("div", control, hidden=True), drawn[found.start])
    return tag("div", *shown, data_stops=json.dumps(_stops(drawn, found.told)))


def _stops(drawn: Sequence[str], told: Sequence[str]) -> list[dict[str, object]]:
    """What is told at every stop, and the pictures of a drawing that are not the same at all, by their places."""
    pictures = [re.findall(r'<image [^>]*?href="([^"]*)"', one.partition('class="narrow"')[0]) for one in drawn]
    change = [place for place, sources in enumerate(zip(*pictures, strict=True)) if len(set(sources)) > 1]
    return [
        {"told": sentence, "pictures": {place: mine[place] for place in change}}
        for sentence, mine in zip(told, pictures, strict=True)
    ]
