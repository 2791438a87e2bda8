"""`foolscope evolve`: search universal chains of photo filters, and judge them on images that the search never saw."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from foolscope.cli import console
from foolscope.cli.options import Data, Device, Folder, Json, Offline, Seed

if TYPE_CHECKING:
    from rich.table import Table

    from foolscope.attacks.agv import Candidate
    from foolscope.experiments import Evolved, EvolveProgress

_WIDE = 120
"""Columns from which on the result shows the chains themselves."""

_ROWS = 12
"""So many chains of the front the live table shows."""


def evolve(
    model: Annotated[str, typer.Argument(help="Model: 'foolscope models' lists them.")],
    data: Data,
    also: Annotated[
        list[str] | None, typer.Option("--also", help="Fool this model with the same chain. May be repeated.")
    ] = None,
    transfer: Annotated[
        list[str] | None, typer.Option("--transfer", help="Only judge the chains on this model. May be repeated.")
    ] = None,
    detector: Annotated[
        str, typer.Option("--detector", help="Detector to pass: 'foolscope detectors' lists them; none.")
    ] = "none",
    filters: Annotated[int, typer.Option("--filters", help="Filters in a chain, 1 to 10.")] = 5,
    pool: Annotated[
        str, typer.Option("--pool", help="Filters to choose from: thesis (its five), all, or NAME,NAME.")
    ] = "thesis",
    population: Annotated[int, typer.Option("--population", help="Chains that survive a generation.")] = 10,
    epochs: Annotated[int, typer.Option("--epochs", help="Passes over the images.")] = 3,
    batch: Annotated[int, typer.Option("--batch", help="Images that a generation looks at.")] = 100,
    samples: Annotated[int, typer.Option("--samples", help="Inner strategy: points around a chain's amounts.")] = 5,
    generations: Annotated[int, typer.Option("--generations", help="Inner strategy: steps.")] = 3,
    rate: Annotated[float, typer.Option("--rate", help="Inner strategy: the first step's length.")] = 0.1,
    decay: Annotated[float, typer.Option("--decay", help="Inner strategy: factor on the rate a step.")] = 0.75,
    mutation: Annotated[float, typer.Option("--mutation", help="Probability that a filter is replaced.")] = 0.5,
    objective: Annotated[
        str | None,
        typer.Option("--objective", help="Minimized beside 1 - ASR: detection, linf, l2, ssim, color; A,B: several."),
    ] = None,
    against: Annotated[
        str, typer.Option("--against", help="What success changes: the true label, or the clean prediction.")
    ] = "label",
    several: Annotated[
        str, typer.Option("--several", help="How the rates of several models become one: worst or mean.")
    ] = "worst",
    max_linf: Annotated[float | None, typer.Option("--max-linf", help="Largest mean linf distance of a chain.")] = None,
    strategy: Annotated[
        str, typer.Option("--strategy", help="racing; gradient: a white box; plain: as the thesis.")
    ] = "racing",
    images: Annotated[int, typer.Option("--images", help="Images to search on.", min=1)] = 200,
    held_out: Annotated[
        int, typer.Option("--held-out", help="Images to judge on, none of them searched.", min=2)
    ] = 2000,
    out: Folder = None,
    seed: Seed = 0,
    device: Device = None,
    offline: Offline = False,
    json: Json = False,
) -> None:
    """Evolve chains of photo filters that fool a model on any image, and judge them on images that no search saw.

    Writes the front of chains, the search's history, a contact sheet and report.html. The same command resumes after a
    kill and ends with the same result.
    """
    from foolscope.cli.audit import default_folder
    from foolscope.cli.options import check_device, check_folder
    from foolscope.experiments import evolve as evolve_library
    from foolscope.experiments.evolve_about import usual_objective
    from foolscope.report import evolution_json, write_evolution

    console.log_to_stderr()
    check_device(device)
    chosen = None if detector == "none" else detector
    folder = check_folder(out or default_folder(f"{model}-evolved", data))
    with _display() as watch:
        evolved = evolve_library(
            (model, *(also or ())),
            data,
            detector=chosen,
            transfer=transfer or (),
            images=images,
            held_out=held_out,
            seed=seed,
            folder=folder,
            device=device,
            watch=watch,
            offline=offline,
            filters=filters,
            pool=pool,
            population=population,
            epochs=epochs,
            batch=batch,
            samples=samples,
            generations=generations,
            rate=rate,
            decay=decay,
            mutation=mutation,
            against=against,
            several=several,
            max_linf=max_linf,
            strategy=strategy,
            objective=usual_objective(chosen) if objective is None else objective,
        )
    page = write_evolution(evolved, folder)
    if json:
        console.print_json(evolution_json(evolved))
    else:
        _print_front(evolved)
    console.say(f"Report: {page.resolve()}")


@contextmanager
def _display() -> Iterator[Callable[[EvolveProgress], None]]:
    """A progress bar with the front below it, on a terminal; lines elsewhere."""
    from rich.console import Group
    from rich.live import Live

    shown = console.bar()
    task = shown.add_task("preparing", total=None)
    live = Live(shown, console=shown.console, transient=True)

    def watch(progress: EvolveProgress) -> None:
        console.check_interrupt()
        shown.update(task, description=progress.label, completed=progress.done, total=progress.total)
        live.update(Group(shown, _front_table(progress.front)))

    with live if shown.console.is_terminal else console.lines(shown):
        yield watch


def _front_table(front: Sequence[Candidate]) -> Table:
    """What the search knows of its best chains, on its own images."""
    from foolscope.report.words import short_chain

    flagged = [">detected %"] if front and front[0].detection is not None else []
    made = console.table(">ASR %", *flagged, ">linf", "chain", title="front so far, on the searched images")
    for one in front[:_ROWS]:
        shares = [f"{100 * share:.1f}" for share in (one.asr, one.detection) if share is not None]
        made.add_row(*shares, f"{one.distances['linf']:.3f}", short_chain(one.chain))
    return made


def _print_front(evolved: Evolved) -> None:
    """The front and the published chains, as the first model sees them on held-out images."""
    from foolscope.report.words import short_chain

    about, clean = evolved.about, evolved.clean[0]
    out = console.stdout()
    out.print(f"{clean.model} on {about['data']['spec']}: {len(evolved.front)} chains", style="bold", markup=False)
    others = [seen.model for seen in evolved.front[0].judged[1:]]
    flagged = [] if clean.detection is None else [">detected %"]
    heads = [">ASR %", ">of predictions %", *flagged, ">linf", *(f">ASR % on {name}" for name in others)]
    wide = ["chain"] if out.width >= _WIDE else []
    made = console.table("", *heads, *wide, title=f"on {clean.accuracy.trials:,} images that the search never saw")
    for place, found in enumerate((*evolved.front, *evolved.published), start=1):
        seen, *rest = found.judged
        name = found.chain.title or str(place)
        shares = (seen.asr, seen.asr_clean, seen.detection)
        cells = [f"{100 * share.value:.1f}" for share in shares if share is not None]
        cells += [f"{found.distances['linf'].value:.3f}", *(f"{100 * one.asr.value:.1f}" for one in rest)]
        made.add_row(name, *cells, *([short_chain(found.chain)] if wide else []))
    out.print(made)
    if clean.detection is not None:
        out.print(f"of the untouched images the detector flags {100 * clean.detection.value:.1f} %", style="dim")
