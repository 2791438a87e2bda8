"""`foolscope experiments`: the catalog, or one experiment of it."""

from __future__ import annotations

from typing import Annotated

import typer

from foolscope.cli import console
from foolscope.cli.options import Json


def experiments(
    name: Annotated[str | None, typer.Argument(help="One of them, to see what it shows and its settings.")] = None,
    json: Json = False,
) -> None:
    """List the experiments, or show one: what it shows, what the seed showed, its settings."""
    from foolscope.experiments.catalog import EXPERIMENTS
    from foolscope.spec import describe_parameters, format_value

    kinds = [EXPERIMENTS[name]] if name else list(EXPERIMENTS.values())
    records = [
        {
            "name": kind.name,
            "figure": kind.figure,
            "summary": kind.summary,
            "data": list(kind.on),
            **kind.told(),
            "settings": describe_parameters(kind),
        }
        for kind in kinds
    ]
    if json:
        console.print_json(records[0] if name else {"experiments": records})
        return
    out = console.stdout()
    if not name:
        made = console.table("name", "seed", "data", "what")
        for kind in kinds:
            made.add_row(kind.name, kind.figure, ", ".join(kind.on), kind.summary)
        out.print(made)
        console.say("'foolscope experiments NAME' shows one; 'foolscope run NAME --data digits' runs it.")
        return
    (kind,), told = kinds, kinds[0].told()
    out.print(f"{kind.name}: {kind.summary}", style="bold", markup=False)
    out.print(f"data: {', '.join(kind.on)}", markup=False)
    out.print(f"seed: {kind.figure}. {told['seed']}", markup=False)
    out.print(f"differences: {told['differences']}", markup=False)
    if settings := describe_parameters(kind):
        made = console.table("setting", ">default", "what")
        for setting in settings:
            made.add_row(setting["name"], format_value(setting["default"]), setting["help"])
        out.print(made)
