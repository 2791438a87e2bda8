"""Registries are mappings whose missing names teach."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from foolscope.errors import SpecError
from foolscope.registry import Registry

ENTRIES = {"one": 1, "two": 2, "three": 3}


@pytest.fixture
def registry() -> Registry[int]:
    return Registry("number", "foolscope numbers", ENTRIES)


def test_it_is_a_mapping(registry: Registry[int]) -> None:
    assert isinstance(registry, Mapping)
    assert dict(registry) == ENTRIES
    assert list(registry) == ["one", "two", "three"]
    assert len(registry) == 3
    assert registry["two"] == 2
    assert "two" in registry and "four" not in registry
    assert list(registry.values()) == [1, 2, 3]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tow", "unknown number 'tow'. Did you mean two? 'foolscope numbers' lists all."),
        ("Three", "unknown number 'Three'. Did you mean three? 'foolscope numbers' lists all."),
        ("zzz", "unknown number 'zzz'. 'foolscope numbers' lists all."),
    ],
)
def test_unknown_names(registry: Registry[int], name: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        registry[name]
    assert str(caught.value) == message
    assert caught.value.__suppress_context__, "a KeyError above the message would say nothing"


def test_it_cannot_be_changed(registry: Registry[int]) -> None:
    entries = dict(ENTRIES)
    other = Registry("number", "foolscope numbers", entries)
    entries["four"] = 4
    assert "four" not in other
    changeable: Any = registry
    with pytest.raises(TypeError):
        changeable["four"] = 4
    with pytest.raises(TypeError):
        del changeable["one"]
