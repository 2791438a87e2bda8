"""What the README shows works: its Python runs as it is, its commands parse, and those on data that is there run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from foolscope.attacks import parse_attack
from foolscope.cli.app import app
from foolscope.data import parse_data
from foolscope.defenses import parse_defense
from foolscope.experiments.grid import parse_eps_by_norm, split_attacks
from foolscope.models import MODELS
from foolscope.spec import parse_spec
from tests.cli.running import Program
from tests.support import ROOT, needs_data

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.S | re.M)
SHELL = [line for block in re.findall(r"^```sh\n(.*?)^```", README, re.S | re.M) for line in block.splitlines()]
COMMANDS = sorted(
    {line for line in SHELL if line.startswith("foolscope ")} | set(re.findall(r"`(foolscope [^`\n]*)`", README))
)


LONG = ("foolscope demo", "foolscope serve")
"""Commands without arguments that other tests run: one takes long, one does not end."""


def arguments(command: str) -> list[str]:
    """What follows `foolscope`, without a comment."""
    return shlex.split(command, comments=True)[1:]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_is_something_to_test() -> None:
    assert len(BLOCKS) == 1
    assert len(COMMANDS) >= 9
    assert sum(" audit " in command for command in COMMANDS) >= 5


@pytest.mark.parametrize("block", BLOCKS)
def test_the_python_runs_as_it_is(block: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("tensor(")
    assert (here / "my-report" / "report.html").is_file()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_parses(command: str) -> None:
    name, *rest = arguments(command)
    group = typer.main.get_command(app)
    chosen = group.commands[name]  # type: ignore[attr-defined]
    asked = chosen.make_context(name, rest).params
    if name != "audit" or "MODEL" in command:
        return
    model = parse_spec(asked["model"])
    MODELS[model.name].from_spec(model)
    parse_data(asked["data"])
    for attack in split_attacks(asked["attacks"]):
        parse_attack(attack)
    parse_eps_by_norm(asked["eps"] or ())
    for defense in asked["defense"] or ():
        parse_defense(defense)


def test_an_option_that_is_not_there_would_be_found() -> None:
    audit = typer.main.get_command(app).commands["audit"]  # type: ignore[attr-defined]
    with pytest.raises(Exception, match=r"No such option"):
        audit.make_context("audit", ["lenet", "--data", "digits", "--epsilon", "1"])


@pytest.mark.parametrize("command", [c for c in COMMANDS if len(arguments(c)) == 1 and c not in LONG])
def test_commands_without_arguments_run(command: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert Program(capsys)(*arguments(command)).code == 0


@needs_data
@pytest.mark.parametrize("command", [c for c in COMMANDS if re.search(r"audit .* --data (mnist|cifar10) ", c)])
def test_audits_of_the_hubs_data_run(command: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = Program(capsys)(*arguments(command), "--limit", 8, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["clean"][0]["accuracy"]["value"] > 0.7


def test_models_data_attacks_and_defenses_that_are_named_exist() -> None:
    lists = dict(re.findall(r"^- (models|data|attacks|defenses): (.*?)(?=^- |^\n)", README, re.S | re.M))
    specs = {kind: re.findall(r"`([^`]+)`", text) for kind, text in lists.items()}
    assert all(specs[kind] for kind in ("models", "data", "attacks", "defenses"))
    for spec in specs["models"]:
        parsed = parse_spec(spec)
        MODELS[parsed.name].from_spec(parsed)
    for spec in specs["data"]:
        parse_data(spec)
    for spec in specs["attacks"]:
        parse_attack(spec)
    for spec in specs["defenses"]:
        parse_defense(spec)
