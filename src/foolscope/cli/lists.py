"""`foolscope models`, `attacks`, `filters` and so on: list all, or one with its parameters and source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from foolscope.cli import console
from foolscope.cli.options import Json, Offline

if TYPE_CHECKING:
    from collections.abc import Callable

    from foolscope.filters import Chain
    from foolscope.registry import Registry
    from foolscope.spec import Parameters

Name = Annotated[str | None, typer.Argument(help="One of them, to see its parameters and source.")]


def models(name: Name = None, offline: Offline = False, json: Json = False) -> None:
    """List the models, or show one: parameters, shipped weights, source."""
    from foolscope.models import MODELS, shipped

    cards: list[dict[str, Any]] = [
        {"model": card.family, "weights": card.name, "accuracy": card.accuracy, "robust": card.robust_accuracy}
        for card in shipped()
        if name in (None, card.family)
    ]
    networks = MODELS[name].members() if name else []
    _list_or_show(MODELS, name, json, {"weights": cards, **({"networks": networks} if networks else {})})
    if not json and networks:
        console.stdout().print(f"networks: {', '.join(networks)}", markup=False)
    if not json and cards:
        made = console.table("shipped weights", ">test accuracy", "under attack", title="Weights")
        for card in cards:
            shown = f"{card['model']}:weights={card['weights']}"
            made.add_row(shown, f"{100 * card['accuracy']:.2f} %", card["robust"] or "")
        console.stdout().print(made)


def attacks(name: Name = None, json: Json = False) -> None:
    """List the attacks, or show one: parameters, defaults, source."""
    from foolscope.attacks import ATTACKS

    _list_or_show(ATTACKS, name, json)


def filters(name: Name = None, json: Json = False) -> None:
    """List the photo filters and the named chains of them, or show one: parameters, search ranges, source."""
    from foolscope.filters import CHAINS, FILTERS

    if name and name in CHAINS:
        _show_chain(name, CHAINS[name], json)
        return
    chains = [{"name": known, "title": chain.title, "chain": chain.spec()} for known, chain in CHAINS.items()]
    _list_or_show(FILTERS, name, json, {} if name else {"chains": chains})
    if not json and not name:
        made = console.table("name", "filters with strength and intensity", title="Chains")
        for known, chain in CHAINS.items():
            made.add_row(known, " | ".join(f"{f.name} {f.strength:.2f} {f.intensity:.2f}" for f in chain.filters))
        console.stdout().print(made)


def _show_chain(name: str, chain: Chain, json: bool) -> None:
    if json:
        console.print_json({"name": name, "title": chain.title, "chain": chain.spec()})
        return
    out = console.stdout()
    out.print(f"{name}: {chain.title}", style="bold", markup=False)
    made = console.table("filter", ">strength", ">intensity")
    for item in chain.filters:
        made.add_row(item.name, f"{item.strength:.4f}", f"{item.intensity:.4f}")
    out.print(made)


def datasets(name: Name = None, json: Json = False) -> None:
    """List the data sets, or show one: options, source, license, whether it is at hand."""
    from foolscope.data import DATASETS, status

    _list_or_show(DATASETS, name, json, state=lambda known: str(status(known)))


def defenses(name: Name = None, json: Json = False) -> None:
    """List the defenses, or show one: parameters, defaults, source."""
    from foolscope.defenses import DEFENSES

    _list_or_show(DEFENSES, name, json)


def detectors(name: Name = None, json: Json = False) -> None:
    """List the detectors, or show one: parameters, defaults, source."""
    from foolscope.defenses import DETECTORS

    _list_or_show(DETECTORS, name, json)


def _list_or_show(
    registry: Registry[Any],
    name: str | None,
    json: bool,
    more: dict[str, Any] | None = None,
    state: Callable[[str], str] | None = None,
) -> None:
    records = [_record(registry[known], state) for known in ([name] if name else registry)]
    if json:
        kind = registry.listing.split()[-1]
        console.print_json({**(records[0] if name else {kind: records}), **(more or {})})
    elif name:
        _show(records[0])
    else:
        columns = ["name", "what", *(["at hand"] if state else [])]
        made = console.table(*columns)
        for record in records:
            made.add_row(record["example"], record["summary"], *([record["status"]] if state else []))
        console.stdout().print(made)
        console.say(f"'{registry.listing} NAME' shows one with its parameters, defaults and source.")


def _record(kind: type[Parameters], state: Callable[[str], str] | None) -> dict[str, Any]:
    """What is known about one entry, as JSON."""
    from foolscope.spec import describe_parameters

    record: dict[str, Any] = {
        "name": kind.name,
        "example": kind.example or kind.name,
        "summary": getattr(kind, "summary", ""),
        "source": getattr(kind, "source", ""),
        "parameters": describe_parameters(kind),
    }
    if license_ := getattr(kind, "license", None):
        record["license"] = license_
    for key in ("strength_range", "intensity_range"):
        if searched := getattr(kind, key, None):
            record[key] = list(searched)
    if state:
        record["status"] = state(kind.name)
    return record


def _show(record: dict[str, Any]) -> None:
    from foolscope.spec import format_value

    out = console.stdout()
    out.print(f"{record['name']}: {record['summary']}", style="bold", markup=False)
    for key in ("example", "source", "license", "status"):
        if record.get(key):
            out.print(f"{key}: {record[key]}", markup=False)
    for key in ("strength", "intensity"):
        if searched := record.get(f"{key}_range"):
            out.print(f"{key} that is searched: {searched[0]:g} .. {searched[1]:g}", markup=False)
    if not record["parameters"]:
        return
    made = console.table("parameter", "type", ">default", "range", "what")
    for parameter in record["parameters"]:
        low, high = parameter["low"], parameter["high"]
        bounds = f"{'' if low is None else format_value(low)} .. {'' if high is None else format_value(high)}"
        limits = ", ".join(parameter["choices"]) or ("" if low is None and high is None else bounds)
        default = "needed" if parameter["required"] else format_value(parameter["default"])
        made.add_row(parameter["name"], parameter["type"], default, limits, parameter["help"])
    out.print(made)
