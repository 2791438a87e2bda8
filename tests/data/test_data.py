from __future__ import annotations

import re

import numpy as np
import pytest

from foolscope.data import DATASETS, load_data, parse_data, status
from foolscope.errors import FoolscopeError, ParameterError, SpecError
from foolscope.spec import describe_parameters


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_is_described(name: str) -> None:
    kind = DATASETS[name]
    assert kind.name == name
    assert kind.summary
    assert kind.source
    assert kind.license
    assert parse_data(kind.example).spec() == kind.example
    assert all(record["help"] for record in describe_parameters(kind))
    assert str(status(name))


@pytest.mark.parametrize("name", ["digits", "photos"])
def test_embedded_sets_have_the_numbers_that_are_announced(name: str) -> None:
    for split, count in (DATASETS[name].splits or {}).items():
        data = load_data(name, split)
        assert len(data) == data.total == count
        assert (data.name, data.split) == (name, split)
        assert data.license
        assert data.source
        assert data.images.min() >= 0
        assert data.images.max() <= 1


def test_limit_and_seed() -> None:
    whole, part = load_data("digits"), load_data("digits", limit=16, seed=3)
    assert part.is_preview
    assert part.digest == whole.limit(16, 3).digest
    assert np.array_equal(part.pixels, load_data("digits", limit=64, seed=3).pixels[:16])
    assert load_data("digits", limit=10_000).digest == whole.digest


@pytest.mark.parametrize(
    "spec", ["hf:a/b", "hf:a/b?config=x,image=img,label=fine,size=32", "folder:/x y/z", "folder:a?size=64", "digits"]
)
def test_specs_round_trip(spec: str) -> None:
    assert parse_data(spec).spec() == spec


@pytest.mark.parametrize(
    ("spec", "options", "kind", "message"),
    [
        ("minst", {}, SpecError, "unknown data set 'minst'. Did you mean mnist? 'foolscope datasets' lists all."),
        ("digits:x", {}, SpecError, "malformed spec 'digits:x': 'x' is not KEY=VALUE."),
        ("digits:size=3", {}, SpecError, "digits has no parameter 'size'. 'foolscope datasets digits' lists all."),
        ("folder", {}, SpecError, "malformed spec 'folder': expected folder:PATH, as in 'folder:photos'."),
        ("hf", {}, SpecError, "malformed spec 'hf': expected hf:REPOSITORY, as in 'hf:ylecun/mnist'."),
        (
            "hf:a/b?confg=x",
            {},
            SpecError,
            "hf has no parameter 'confg'. Did you mean config? 'foolscope datasets hf' lists all.",
        ),
        ("folder:x?size=0", {}, ParameterError, "folder: size must be between 1 and 8192, got 0."),
        ("folder:x?size=big", {}, SpecError, "folder: size: 'big' is not a whole number."),
        ("digits", {"limit": 0}, ParameterError, "limit must be at least 1, got 0."),
        (
            "mnist",
            {"split": "tests"},
            SpecError,
            "mnist has no split 'tests'. Did you mean test? It has train and test.",
        ),
        ("photos", {"split": "train"}, SpecError, "photos has no split 'train'. It has test only."),
        (
            "folder:x",
            {"split": "../y"},
            SpecError,
            "malformed split '../y': expected a word such as train or test.",
        ),
        ("hf:a/b", {"split": ""}, SpecError, "malformed split '': expected a word such as train or test."),
    ],
)
def test_what_cannot_be_loaded(spec: str, options: dict[str, object], kind: type[FoolscopeError], message: str) -> None:
    with pytest.raises(kind, match=f"^{re.escape(message)}$"):
        load_data(spec, **options)  # type: ignore[arg-type]
