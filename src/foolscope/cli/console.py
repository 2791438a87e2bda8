"""What every command shares: where text goes, how progress looks, and how an error ends the program."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from foolscope.errors import Cancelled

if TYPE_CHECKING:
    from types import FrameType

    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from foolscope.data import ImageSet

_WIDEST = 240
"""Columns of a table that goes into a file or a pipe."""


def stdout() -> Console:
    """The console for results."""
    from rich.console import Console

    piped = not sys.stdout.isatty()  # there a table takes the width that it needs
    return Console(highlight=False, markup=False, soft_wrap=piped, width=_WIDEST if piped else None)


def stderr() -> Console:
    """The console for progress and messages."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """One line on stderr, as it is."""
    print(text, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """The result as JSON on stdout."""
    print(json.dumps(value, indent=2, allow_nan=False))


def data_record(data: ImageSet) -> dict[str, Any]:
    """Which images a result is of, as JSON."""
    preview = data.is_preview
    return {"spec": data.name, "split": data.split, "images": len(data), "of": data.total, "preview": preview}


def preview(data: ImageSet) -> str:
    """What marks a result of some of the images: 'digits (32 of 500 images): a preview'."""
    return f"{data.name} {data.split} ({len(data):,} of {data.total:,} images): a preview"


def table(*columns: str, title: str | None = None) -> Table:
    """An empty table in the house's style; a column that begins with '>' is set right."""
    from rich import box
    from rich.table import Table

    made = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        made.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left", overflow="fold")
    return made


@contextmanager
def progress() -> Iterator[Progress]:
    """A progress display on stderr: a bar with the time left on a terminal, a line every half minute elsewhere."""
    with bar() as shown, lines(shown):
        yield shown


@contextmanager
def lines(shown: Progress) -> Iterator[None]:
    """The lines of `progress`; none on a terminal."""
    if shown.console.is_terminal:
        yield
        return
    ended = threading.Event()
    teller = threading.Thread(target=_tell, args=(shown, ended), daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()


def _tell(shown: Progress, ended: threading.Event) -> None:
    """Say now and then, as a line each, what the bars would show."""
    while not ended.wait(_TOLD_EVERY):
        for task in shown.tasks:
            say(progress_line(task.description, task.percentage, task.elapsed or 0.0, task.time_remaining))


def progress_line(what: str, percent: float, elapsed: float, left: float | None) -> str:
    """'training lenet (3 of 40): 12 %, 90 s, about 640 s left'."""
    rest = "" if left is None else f", about {left:.0f} s left"
    return f"{what}: {percent:.0f} %, {elapsed:.0f} s{rest}"


_TOLD_EVERY = 30.0
"""Seconds between two lines of progress where there is no terminal."""

_SPEED_PERIOD = 600.0
"""Seconds over which the speed is averaged that the time left comes from; some steps take minutes."""

_interrupted = threading.Event()


@contextmanager
def interrupts_noted() -> Iterator[None]:
    """An interrupt is raised as always and noted besides: one that is raised inside a callback of a library is lost."""
    if threading.current_thread() is not threading.main_thread():  # no other can have a handler
        yield
        return

    def note(number: int, frame: FrameType | None) -> None:
        _interrupted.set()
        signal.default_int_handler(number, frame)

    _interrupted.clear()
    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        _interrupted.clear()


def check_interrupt() -> None:
    """Raise `Cancelled` where an interrupt was noted: whatever watches long work calls it."""
    if _interrupted.is_set():
        raise Cancelled


def bar() -> Progress:
    """The bar of `progress`, not shown yet."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = stderr()
    return Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal, speed_estimate_period=_SPEED_PERIOD
    )


def log_to_stderr() -> None:
    """Show the library's own notes (downloads, damaged results) on stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("foolscope")
    if not logger.handlers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
