"""The pages in docs/ that come from the code are those that the code gives now, and say all of it."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from foolscope.cli.app import app
from foolscope.models import shipped
from foolscope.spec import describe_parameters
from tests.cli.running import Program
from tests.support import ROOT

GENERATE = runpy.run_path(str(ROOT / "docs" / "generate.py"))
PAGES: dict[str, str] = GENERATE["pages"]()
REGISTRIES: dict[str, Any] = {f"{name}.md": page.registry for name, page in GENERATE["PAGES"].items()}
ENTRIES = [(page, name) for page, registry in REGISTRIES.items() for name in registry]
COMMANDS = [str(command.callback.__name__) for command in app.registered_commands if command.callback]


def section(text: str, heading: str) -> str:
    """What stands under a heading, up to the next of its level or above."""
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,3}} |\Z)", text, re.S | re.M)
    assert found, heading
    return found[2]


def test_there_is_a_page_for_the_command_line_and_each_registry() -> None:
    registries = ["attacks.md", "filters-list.md", "defenses.md", "detectors.md", "models.md", "datasets.md"]
    assert list(PAGES) == ["cli.md", *registries]
    assert not app.registered_groups, "commands inside commands would need a place in cli.md"


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_those_of_the_code(name: str) -> None:
    path = ROOT / "docs" / name
    assert path.is_file(), "run `make docs`"
    assert path.read_text() == PAGES[name], f"docs/{name} is out of date: run `make docs`"


@pytest.mark.parametrize(("page", "name"), ENTRIES)
def test_every_registered_name_has_its_section(page: str, name: str) -> None:
    kind, text = REGISTRIES[page][name], section(PAGES[page], f"`{name}`")
    assert f"| [`{name}`](#{name}) |" in PAGES[page]
    for field in describe_parameters(kind):
        row = next(line for line in text.splitlines() if line.startswith(f"| `{field['name']}` | "))
        assert field["help"].replace("|", "\\|") in row
        assert all(f"`{choice}`" in row for choice in field["choices"])
        assert ("| needed |" in row) == field["required"]


def test_a_parameter_by_hand() -> None:
    row = "| `eps` | number | `8/255` | from 0 to 1e+06 | radius in `norm` |"
    assert row in section(PAGES["attacks.md"], "`pgd`").splitlines()
    quality = "| `quality` | whole number | `75` | from 1 to 100 | JPEG quality: 1 removes most, 100 least |"
    assert quality in section(PAGES["defenses.md"], "`jpeg`").splitlines()
    assert "- Splits: train (60,000 images), test (10,000 images)" in section(PAGES["datasets.md"], "`mnist`")
    assert "[arXiv 1706.06083](https://arxiv.org/abs/1706.06083)" in section(PAGES["attacks.md"], "`pgd`")
    assert "- Python: `fs.attacks.PGD`" in section(PAGES["attacks.md"], "`pgd`")


def test_shipped_weights_are_listed() -> None:
    for card in shipped():
        assert (
            f"| `{card.family}:weights={card.name}` | {card.data} | {100 * card.accuracy:.2f} % |" in PAGES["models.md"]
        )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_the_program_is_there(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The page is made of the functions' signatures; the program's own help is the second opinion."""
    said = re.sub(r"\n {6,}", " ", Program(capsys)(command, "--help").out)
    text = section(PAGES["cli.md"], f"`foolscope {command}`")
    options = dict(re.findall(r"^  (?:-\w, )?(--[a-z-]+) (.*)$", said, re.M))
    del options["--help"]
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`(--[a-z-]+)`", row.split(" | ")[0])} == set(options)
    needed = {name for name, told in options.items() if "[required]" in told}
    assert {row.split("`")[1] for row in rows if "| needed |" in row and "`--" in row} == needed
    for name in needed:
        assert f"{name} {name.strip('-').upper()}" in text


@pytest.mark.parametrize("name", PAGES)
def test_links_inside_a_page_lead_somewhere(name: str) -> None:
    headings = re.findall(r"^#+ (.*)$", PAGES[name], re.M)
    anchors = {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]*)\)", PAGES[name])) <= anchors


def test_tables_have_as_many_cells_in_every_row() -> None:
    for name, text in PAGES.items():
        for table in re.findall(r"(?:^\|.*\|\n)+", text, re.M):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1, (name, table)


def test_pages_are_written_where_they_belong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(GENERATE["main"].__globals__, "FOLDER", tmp_path)
    GENERATE["main"]()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == PAGES
    assert capsys.readouterr().out.splitlines() == [f"docs/{name}" for name in PAGES]
