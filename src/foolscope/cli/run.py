"""`foolscope run` and `foolscope report`: an experiment of the catalog, and its page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foolscope.cli import console
from foolscope.cli.options import Folder, Json, Offline, Seed

if TYPE_CHECKING:
    from foolscope.experiments.findings import Value
    from foolscope.experiments.runner import RunProgress
    from foolscope.experiments.running import Planned, RunResult

_RUNS = Path("foolscope-runs")


def run(
    name: Annotated[str, typer.Argument(help="Experiment: 'foolscope experiments' lists them.")],
    data: Annotated[
        str | None, typer.Option("--data", help="Data set; by default the first that the experiment is meant for.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Another grid: eps=0.1,0.2. May be repeated.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            min=1,
            help="Take this many random test images: a preview. Trainings take all of theirs, or --set train_images=N.",
        ),
    ] = None,
    jobs: Annotated[
        str | None, typer.Option("--jobs", help="Processes, or ray, or ray:ADDRESS; by default as it pays off.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is done and what is to do, and do nothing.")
    ] = False,
    out: Folder = None,
    seed: Seed = 0,
    offline: Offline = False,
    json: Json = False,
) -> None:
    """Run an experiment and write its page, figures and numbers. The same command goes on after a kill."""
    from foolscope.cli.options import check_folder
    from foolscope.experiments.catalog import EXPERIMENTS
    from foolscope.experiments.running import Asked, parse_settings, plan, run_planned
    from foolscope.files import check_home
    from foolscope.report.gallery import run_json, write_run

    console.log_to_stderr()
    check_home()
    given = data or EXPERIMENTS[name].on[0]
    asked = Asked(name=name, data=given, settings=parse_settings(settings or ()), limit=limit, seed=seed)
    planned = plan(asked, offline=offline)
    if dry_run:
        _print_estimate(planned, json)
        return
    folder = out or default_folder(name, given, preview=planned.is_preview)
    check_folder(folder)
    with console.progress() as shown:
        task = shown.add_task("preparing", total=None)

        def watch(progress: RunProgress) -> None:
            console.check_interrupt()
            label = f"{progress.label} ({progress.done} of {progress.cells})"
            shown.update(task, description=label, completed=progress.passes, total=progress.total_passes)

        result = run_planned(planned, jobs=jobs, watch=watch)
        shown.update(task, description="drawing")
        page = write_run(result, folder)
    if json:
        console.print_json(run_json(result))
    else:
        _print(result)
    console.say(f"{result.computed} cells computed, {result.reused} from the store, {result.seconds:.1f} s.")
    console.say(f"Report: {page.resolve()}")


def report(
    folder: Annotated[Path, typer.Argument(metavar="RUNDIR", help="Folder that 'foolscope run' has written.")],
    offline: Offline = False,
    json: Json = False,
) -> None:
    """Draw the page of a finished run again, from the store alone."""
    from foolscope.experiments.running import plan, read_asked, shown
    from foolscope.report.gallery import run_json, write_run

    console.log_to_stderr()
    result = shown(plan(read_asked(folder), offline=offline))
    page = write_run(result, folder)
    if json:
        console.print_json(run_json(result))
    console.say(f"Report: {page.resolve()}")


def default_folder(name: str, data: str, *, preview: bool = False) -> Path:
    """Where a run goes without `--out`; a preview has a folder of its own."""
    place = re.sub(r"[^A-Za-z0-9.]+", "-", data)[-60:].strip("-.")
    return _RUNS / "-".join([name, place, *(["preview"] if preview else [])])


def _print_estimate(planned: Planned, json: bool) -> None:
    from foolscope.report.words import counted

    estimate = planned.estimate()
    record: dict[str, Any] = {
        "cells": estimate.cells,
        "done": estimate.done,
        "to_do": estimate.cells - estimate.done,
        "failed_before": estimate.failed,
        "seconds_of_one_worker": estimate.seconds,
        "bytes": estimate.size,
        "unknown_cells": estimate.unknown_cells,
    }
    if json:
        console.print_json(record)
        return
    unknown = "unknown: cells of this kind were never computed here; a run with --limit tells"
    out = console.stdout()
    out.print(f"{record['done']} of {record['cells']} cells done, {record['to_do']} to do", markup=False)
    if estimate.failed:
        out.print(f"{estimate.failed} of these failed before and are tried again", markup=False)
    kinds = ("cell of a kind that was never computed here", "cells of kinds that were never computed here")
    more = f", and {counted(estimate.unknown_cells, *kinds)}" if estimate.unknown_cells else ""
    seconds = unknown if estimate.seconds is None else f"about {estimate.seconds:.0f} s with one worker{more}"
    size = unknown if estimate.size is None else f"about {estimate.size / 1e6:.1f} MB{more}"
    out.print(f"time: {seconds}", markup=False)
    out.print(f"disk: {size}", markup=False)


def _print(result: RunResult) -> None:
    """What was found, as sentences and tables."""
    out = console.stdout()
    data = result.sample.data
    images = f"{len(data):,} of {data.total:,} images"
    preview = ": a preview" if result.is_preview else ""
    out.print(f"{result.experiment.name} on {data.name} ({images}){preview}", style="bold", markup=False)
    for sentence in result.findings.told:
        out.print(sentence, markup=False)
    for one in result.findings.tables:
        made = console.table(one.columns[0], *(f">{name}" for name in one.columns[1:]), title=one.caption)
        for line in one.rows:
            made.add_row(*(_text(value) for value in line))
        out.print(made)
    if result.findings.compared:
        made = console.table("what", "seed", "ours", "why", title="seed and ours")
        for row in result.findings.compared:
            made.add_row(row.what, row.seed or "", _text(row.ours), row.why)
        out.print(made)


def _text(value: Value) -> str:
    import math

    from foolscope.measure import Mean

    if isinstance(value, Mean) and not math.isfinite(value.low):  # of a single value
        value = value.value
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
