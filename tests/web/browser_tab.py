"""One page of a browser, and what goes wrong on it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import ConsoleMessage, Dialog, Page, Request

WIDE = (1280, 900)
PHONE = (390, 844)
_LARGEST_PICTURE = 300_000


@dataclass
class Tab:
    """One page, and what went wrong on it."""

    page: Page
    server: str
    pictures: Path
    troubles: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)

    def allow(self, pattern: str) -> None:
        """Expect a trouble that the test is about: a request that the server refuses is one for the console."""
        self.allowed.append(pattern)

    def open(self, address: str = "/") -> Page:
        """Go to an address of the server."""
        self.page.goto(self.server + address)
        return self.page

    def keep(self, name: str, **options: Any) -> None:
        """Take a picture of the page, in 256 colors: docs/images keeps it small."""
        path = self.pictures / f"{name}.png"
        with Image.open(io.BytesIO(self.page.screenshot(**options))) as shot:
            shot.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
        assert path.stat().st_size < _LARGEST_PICTURE

    def check(self) -> None:
        """No trouble but what was allowed."""
        left = [one for one in self.troubles if not any(re.search(pattern, one) for pattern in self.allowed)]
        assert not left, "\n".join(left)

    def watch(self) -> None:
        """Listen to the page."""

        def heard(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                self.troubles.append(f"console: {message.text} {message.location.get('url', '')}")

        def asked(request: Request) -> None:
            if not request.url.startswith((self.server + "/", "blob:", "data:")):
                self.troubles.append(f"off host: {request.url}")

        def dialog(shown: Dialog) -> None:
            self.troubles.append(f"dialog: {shown.message}")
            shown.dismiss()

        self.page.on("console", heard)
        self.page.on("pageerror", lambda error: self.troubles.append(f"error: {error}"))
        self.page.on("request", asked)
        self.page.on("dialog", dialog)


Opener = Callable[..., Tab]
"""Opens a tab: its size, the server's address, and what Playwright's contexts take."""


def fit(page: Page) -> None:
    """Wait until the page is as wide as the screen and no wider; what loads may stick out for a moment."""
    assert page.viewport_size
    page.wait_for_function("width => document.documentElement.scrollWidth === width", arg=page.viewport_size["width"])
