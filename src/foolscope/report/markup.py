"""HTML by small functions: what is text is escaped, always; what is HTML says so by its type."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

_VOID = frozenset(("br", "img", "input", "link", "meta", "source", "wbr"))


class Html(str):
    """Text that is HTML already and is not escaped again."""

    __slots__ = ()


def escape(child: Html | str | int) -> Html:
    """Turn text into HTML; HTML stays as it is."""
    return child if isinstance(child, Html) else Html(html.escape(str(child)))


def join(children: Iterable[Html | str | int], separator: str = "") -> Html:
    """Escape each child and put them behind each other."""
    return Html(separator.join(escape(child) for child in children))


def breakable(text: str) -> Html:
    """Text that may be broken behind colons, commas, equals signs and bars, as specs have them."""
    return join(re.split(r"(?<=[:,=|])(?=\S)", text), "<wbr>")


def folded(summary: str, children: Iterable[Html | str]) -> Html:
    """What is seen once it is asked for: a line to click, and what it opens."""
    return tag("details", tag("summary", summary), *children)


def tag(name: str, *children: Html | str | int, **attributes: str | int | bool | None) -> Html:
    """One element; None and False attributes are left out.

    A trailing '_' is dropped from an attribute and others become '-': `class_`, `aria_label`.
    """
    written = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        written.append(f" {key}" if value is True else f' {key}="{html.escape(str(value))}"')
    opening = f"<{name}{''.join(written)}>"
    return Html(opening if name in _VOID else f"{opening}{join(children)}</{name}>")
