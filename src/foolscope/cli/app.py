"""The program: its commands, and the one place where errors become exit codes."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated

import typer

from foolscope.cli import console
from foolscope.cli.attack import attack
from foolscope.cli.audit import audit
from foolscope.cli.demo import demo
from foolscope.cli.detector import detector
from foolscope.cli.doctor import doctor
from foolscope.cli.evolve import evolve
from foolscope.cli.experiments import experiments
from foolscope.cli.explain import explain
from foolscope.cli.filter import filter
from foolscope.cli.lists import attacks, datasets, defenses, detectors, filters, models
from foolscope.cli.run import report, run
from foolscope.cli.serve import serve
from foolscope.cli.train import train
from foolscope.errors import Cancelled, FoolscopeError, GradientWarning

_STOPPED = 130

app = typer.Typer(
    name="foolscope",
    help="How image classifiers are fooled, how badly, and why.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        from foolscope import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the whole traceback of an error.")] = False,
) -> None:
    """Options of every command."""


work = (demo, serve, audit, attack, explain, evolve, run, report, filter, train, detector)
listings = (models, attacks, filters, datasets, defenses, detectors, experiments)
for command in (*work, *listings, doctor):
    app.command()(command)


def _stopped() -> None:
    print("stopped; the same command goes on from here.", file=sys.stderr)
    sys.exit(_STOPPED)


def main(arguments: list[str] | None = None) -> None:
    """Run the program and leave it with its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    if debug:  # wherever it stands
        given = ["--debug", *(argument for argument in given if argument != "--debug")]
    try:
        with console.interrupts_noted(), warnings.catch_warnings():
            warnings.simplefilter("ignore", GradientWarning)  # commands tell it with their results
            app(given, standalone_mode=True)
    except (Cancelled, KeyboardInterrupt):
        if debug:
            raise
        _stopped()
    except SystemExit as leaving:
        if leaving.code == _STOPPED:  # Typer has caught the interrupt
            _stopped()
        raise
    except FoolscopeError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # the reader of stdout has gone: `foolscope attacks | head -1`
        sys.stderr.close()
        sys.exit(1)
