"""`models`, `attacks`, `filters`, `datasets`, `defenses`: all of them, or one."""

from __future__ import annotations

import pytest

from foolscope.attacks import ATTACKS
from foolscope.data import DATASETS
from foolscope.defenses import DEFENSES
from foolscope.filters import CHAINS, FILTERS, parse_chain
from foolscope.models import MODELS, shipped
from foolscope.registry import Registry
from foolscope.spec import Parameters
from tests.cli.running import Program

LISTS: dict[str, Registry[type[Parameters]]] = {
    "models": MODELS,  # type: ignore[dict-item]
    "attacks": ATTACKS,  # type: ignore[dict-item]
    "filters": FILTERS,  # type: ignore[dict-item]
    "datasets": DATASETS,  # type: ignore[dict-item]
    "defenses": DEFENSES,  # type: ignore[dict-item]
}
EVERY = [(command, name) for command, registry in LISTS.items() for name in registry]


@pytest.mark.parametrize("command", LISTS)
def test_lists_all(program: Program, command: str) -> None:
    outcome = program(command)
    assert outcome.code == 0
    for name, kind in LISTS[command].items():
        rows = [line for line in outcome.out.splitlines() if line.split()[:1] == [kind.example or name]]
        assert rows, name
        assert getattr(kind, "summary", "") in rows[0]
    assert outcome.err == f"'foolscope {command} NAME' shows one with its parameters, defaults and source.\n"


def test_brackets_are_shown_as_they_are(program: Program) -> None:
    assert "pip install 'foolscope[timm]'" in program("models").out


@pytest.mark.parametrize("command", LISTS)
def test_lists_all_as_json(program: Program, command: str) -> None:
    outcome = program(command, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    assert [record["name"] for record in outcome.json[command]] == list(LISTS[command])


@pytest.mark.parametrize(("command", "name"), EVERY)
def test_shows_one_with_parameters_and_source(program: Program, command: str, name: str) -> None:
    kind = LISTS[command][name]
    outcome = program(command, name)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(f"{name}: {kind.summary}\n")  # type: ignore[attr-defined]
    assert kind.summary  # type: ignore[attr-defined]
    assert f"source: {kind.source}\n" in outcome.out  # type: ignore[attr-defined]
    record = program(command, name, "--json").json
    assert record["name"] == name
    for parameter in record["parameters"]:
        assert parameter["help"], parameter["name"]
        assert parameter["name"] in outcome.out
        assert parameter["required"] or "default" in parameter


def test_shows_defaults_and_ranges(program: Program) -> None:
    lines = program("attacks", "pgd").out.splitlines()
    (steps,) = [line.split() for line in lines if line.split()[:1] == ["steps"]]
    assert steps[:5] == ["steps", "int", "40", "1", ".."]
    (norm,) = [line for line in lines if line.split()[:1] == ["norm"]]
    assert "l1, l2, linf" in norm


def test_shipped_weights_are_listed(program: Program) -> None:
    records = program("models", "--json").json["weights"]
    assert [(record["model"], record["weights"]) for record in records] == [(c.family, c.name) for c in shipped()]
    out = program("models").out
    for card in shipped():
        assert f"{card.family}:weights={card.name}" in out


def test_search_ranges_are_shown_with_a_filter(program: Program) -> None:
    lines = program("filters", "perpetua").out.splitlines()
    assert lines[3:5] == ["strength that is searched: 0.7 .. 1", "intensity that is searched: 1.1 .. 1.45"]
    record = program("filters", "perpetua", "--json").json
    assert (record["strength_range"], record["intensity_range"]) == ([0.7, 1.0], [1.1, 1.45])


def test_named_chains_are_listed(program: Program) -> None:
    records = program("filters", "--json").json["chains"]
    assert [record["name"] for record in records] == list(CHAINS)
    assert all(parse_chain(record["chain"]) == CHAINS[record["name"]] for record in records)
    (row,) = [line for line in program("filters").out.splitlines() if line.split()[:1] == ["agv-a"]]
    shown = "juno 0.44 0.90 | lark 0.51 0.90 | gingham 0.35 0.93 | reyes 0.18 0.63 | gingham 0.49 1.08"
    assert row.split(maxsplit=1)[1].strip() == shown


@pytest.mark.parametrize("name", CHAINS)
def test_a_named_chain_is_shown(program: Program, name: str) -> None:
    chain = CHAINS[name]
    lines = program("filters", name).out.splitlines()
    assert lines[0] == f"{name}: {chain.title}"
    rows = [line.split() for line in lines if line.split()[:1] and line.split()[0] in FILTERS]
    assert rows == [[item.name, f"{item.strength:.4f}", f"{item.intensity:.4f}"] for item in chain.filters]
    record = program("filters", name, "--json").json
    assert record == {"name": name, "title": chain.title, "chain": chain.spec()}


@pytest.mark.parametrize(
    ("command", "name", "message"),
    [
        ("models", "lenett", "unknown model 'lenett'. Did you mean lenet, resnet20? 'foolscope models' lists all."),
        ("attacks", "fgms", "unknown attack 'fgms'. Did you mean fgm, fgsm, fmn? 'foolscope attacks' lists all."),
        ("datasets", "mnits", "unknown data set 'mnits'. Did you mean mnist, digits? 'foolscope datasets' lists all."),
        ("defenses", "jpg", "unknown defense 'jpg'. Did you mean jpeg? 'foolscope defenses' lists all."),
        ("filters", "jun", "unknown filter 'jun'. Did you mean juno? 'foolscope filters' lists all."),
        ("attacks", "zzz", "unknown attack 'zzz'. 'foolscope attacks' lists all."),
    ],
)
def test_unknown_names(program: Program, command: str, name: str, message: str) -> None:
    assert program.fails(command, name) == message
    assert program.fails(command, name, "--json") == message


def test_all_networks_of_torchvision_are_listed(program: Program) -> None:
    networks = program("models", "torchvision", "--json").json["networks"]
    assert {"mobilenet_v2", "resnet50", "vgg19", "inception_v3", "densenet201"} <= set(networks)
    (line,) = [line for line in program("models", "torchvision").out.splitlines() if line.startswith("networks: ")]
    assert line == f"networks: {', '.join(networks)}"
    assert "networks" not in program("models", "lenet", "--json").json
