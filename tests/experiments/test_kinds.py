"""What computes a cell is part of the cell's name: code or a constant that changes has a new version."""

from __future__ import annotations

import ast
import inspect
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

from foolscope.experiments import catalog
from foolscope.experiments.catalog import KINDS, attack_noise
from foolscope.experiments.experiment import Images, Kind, Library, Work
from foolscope.experiments.store import cell_key
from foolscope.files import digest
from foolscope.registry import Registry

CODE = {
    "predict": (1, "c720b535b5a19d15"),
    "under-attack": (1, "6dffb3c924923d33"),
    "overview": (1, "bb3df4d59d31f0da"),
    "targeted": (1, "f67a6c12288cee33"),
    "attack-noise": (1, "6f46316ce8500b32"),
    "jpeg-levels": (1, "1dbd3cdfb040b175"),
    "transfer": (1, "e9907a3d4e60b1d4"),
    "first-error": (2, "107a483532a73f8e"),
    "noise-spectrum": (1, "2e962d4419f4033e"),
    "saliency": (1, "32d45ce8f8b37b7f"),
    "fourier-heatmap": (1, "cef3b6a91b1b56d3"),
    "training": (1, "0807b5012988b5ee"),
    "examination": (1, "8fbf848a95389c19"),
    "learning": (1, "468a936619d6f8b0"),
    "evolution": (1, "e6a74d591f836c95"),
}
"""The version of each kind and the digest of its code, as of when that version came to be."""


def parts(function: Callable[..., Any]) -> dict[str, str]:
    """The source, without docstrings and comments, of a function and of all that it uses of the catalog."""
    found: dict[str, str] = {}
    waiting: list[tuple[str, object]] = [(function.__qualname__, function)]
    while waiting:
        name, value = waiting.pop()
        if name in found:
            continue
        if not isinstance(value, types.FunctionType):
            found[name] = repr(value)
            continue
        tree = ast.parse(inspect.getsource(value))
        body = tree.body[0]
        assert isinstance(body, ast.FunctionDef)
        body.body = body.body[1:] if ast.get_docstring(body) else body.body
        found[name] = ast.unparse(tree)
        scope = vars(sys.modules[value.__module__])
        for used in {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} & scope.keys():
            of = getattr(scope[used], "__module__", None)  # None of a constant
            if not isinstance(scope[used], types.ModuleType) and (of is None or of.startswith(catalog.__name__)):
                waiting.append((used, scope[used]))
    return found


def code_digest(function: Callable[..., Any]) -> str:
    return digest("\n".join(f"{name}: {text}" for name, text in sorted(parts(function).items())))[:16]


@pytest.mark.parametrize("name", KINDS)
def test_code_that_changes_has_a_new_version(name: str) -> None:
    """Where this fails: raise the kind's version if cells come to hold other numbers, then write the pair down."""
    kind = KINDS[name]
    assert CODE.get(name) == (kind.version, code_digest(kind.compute))


def test_a_constant_is_part_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_digest(attack_noise.noises)
    assert {"noises", "_smallest", "_CANDIDATES"} <= parts(attack_noise.noises).keys()
    monkeypatch.setattr(attack_noise, "_CANDIDATES", 65)
    assert code_digest(attack_noise.noises) != before


def test_a_version_names_other_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(kind="overview", images=Images(data="digits", end=8), options={"shown": 2, "seed": 0})
    keys = set()
    for version in (1, 2):
        changed = {**KINDS, "overview": Kind(KINDS["overview"].compute, version)}
        monkeypatch.setattr(catalog, "KINDS", Registry("kind of cell", "nothing", changed))
        keys.add(cell_key(Library().spec(work)))
    assert len(keys) == 2
