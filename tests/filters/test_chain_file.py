"""Chains as files: our own, the thesis', and what is neither."""

from __future__ import annotations

import json
import pickle
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from foolscope.errors import CorruptError, FoolscopeError, ParameterError, SpecError
from foolscope.filters import AGV_A, AGV_A_CODE, AGV_B, AGV_B_CODE, Chain, Juno, Lark, thesis
from foolscope.filters.chain_file import MAX_BYTES
from tests.filters.test_chain import chains, few

TITLES = st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), max_size=100).filter(str.isprintable)


def ours(**changes: Any) -> str:
    """A file of ours with some keys changed."""
    entry = {"name": "juno", "strength": 0.5, "intensity": 0.9}
    return json.dumps({"format": "foolscope-chain", "version": 1, "title": "mine", "filters": [entry], **changes})


def theirs(**changes: Any) -> str:
    """A file of the thesis with some keys changed."""
    return json.dumps({"filters": [3, 4], "params": [0.5, 0.9, 1, 1], **changes})


@few
@given(chains(0.1, 5), TITLES)
def test_files_read_back_to_the_same_bits(chain: Chain, title: str) -> None:
    chain = Chain(chain.filters, title)
    again = Chain.from_json(chain.to_json())
    assert (again, again.title) == (chain, title)
    assert Chain.from_json(chain.to_json().encode()).to_json() == chain.to_json()


def test_the_format_by_hand() -> None:
    text = Chain((Juno(strength=0.5, intensity=0.9), Lark()), title="mine").to_json()
    assert json.loads(text) == {
        "format": "foolscope-chain",
        "version": 1,
        "title": "mine",
        "filters": [
            {"name": "juno", "strength": 0.5, "intensity": 0.9},
            {"name": "lark", "strength": 1.0, "intensity": 1.0},
        ],
    }
    assert text.endswith("}\n")
    short = '{"format": "foolscope-chain", "version": 1, "filters": [{"name": "juno", "strength": 1}]}'
    assert Chain.from_json(short) == Chain((Juno(),))


@pytest.mark.parametrize(
    ("content", "ids", "chain"),
    [
        (thesis.AGV_A, "thesis", AGV_A),
        (thesis.AGV_A, "code", AGV_A_CODE),
        (thesis.AGV_B, "thesis", AGV_B),
        (thesis.AGV_B, "code", AGV_B_CODE),
    ],
)
def test_the_thesis_files_flat_and_nested(content: dict[str, list[float]], ids: str, chain: Chain) -> None:
    numbers, params = content["filters"], content["params"]
    nested = [list(pair) for pair in zip(params[::2], params[1::2], strict=True)]
    for given_params in (params, nested):
        text = json.dumps({"filters": numbers, "params": given_params})
        assert Chain.from_json(text, ids=ids) == chain
        assert (Chain.from_json(text) == chain) == (ids == "thesis")


class Bomb:
    """Says so when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('unpickled')",))


def test_a_pickle_in_a_file_of_the_thesis_is_ignored() -> None:
    data = pickle.dumps(Bomb())
    with pytest.raises(SystemExit, match="unpickled"):
        pickle.loads(data)
    for shown in (data.hex(), list(data), data.decode("latin-1")):
        assert Chain.from_json(theirs(filters_data=shown, name="x")) == Chain(
            (Juno(strength=0.5, intensity=0.9), Lark())
        )


def test_parameters_outside_the_usual_range_are_taken_from_files() -> None:
    assert Chain.from_json(ours(filters=[{"name": "juno", "intensity": 4}])).filters[0].intensity == 4
    assert Chain.from_json(theirs(params=[1, 0.2, 0, 4.5])).filters[1] == Lark(strength=0, intensity=4.5)


NOT_A_CHAIN = 'x.json: not a chain: expected {"filters": [...], ...}.'
A_FILTER = 'x.json: a filter is {"name": ..., "strength": ..., "intensity": ...}, not '
PAIRS = 'x.json: "params" must be 2 pairs of strength and intensity, nested or in one list.'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x.json: not JSON: Expecting value (line 1, column 1)."),
        ("juno", "x.json: not JSON: Expecting value (line 1, column 1)."),
        ('{"filters": [1,', "x.json: not JSON: Expecting value (line 1, column 16)."),
        ("[" * 100_000, "x.json: not a chain: nested too deeply."),
        ('{"filters": ' + "[" * 90_000 + "]" * 90_000 + "}", "x.json: not a chain: nested too deeply."),
        ('{"a":' * 100_000, "x.json: not a chain: nested too deeply."),
        (" " * (MAX_BYTES + 1), f"x.json: {MAX_BYTES + 1:,} bytes are more than a chain needs ({MAX_BYTES:,})."),
        (theirs(params=[float("nan"), 1, 1, 1]), "x.json: not JSON: NaN is no JSON number."),
        (theirs(params=[1, float("-inf"), 1, 1]), "x.json: not JSON: -Infinity is no JSON number."),
        (theirs(params=[10**400, 1, 1, 1]), "x.json: strength is too large a number."),
        ('{"filters": [3], "params": [1, 1e999]}', "x.json: intensity is too large a number."),
        (ours(filters=[{"name": "juno", "intensity": 10**400}]), "x.json: intensity is too large a number."),
        ("[]", NOT_A_CHAIN),
        ('"juno"', NOT_A_CHAIN),
        ("null", NOT_A_CHAIN),
        ("{}", NOT_A_CHAIN),
        (theirs(filters="juno"), NOT_A_CHAIN),
        (theirs(filters={"0": 1}), NOT_A_CHAIN),
        (theirs(filters=[]), "x.json: a chain has 1 to 10 filters, this one 0."),
        (theirs(filters=[1] * 10_000), "x.json: a chain has 1 to 10 filters, this one 10,000."),
        (ours(filters=[{"name": "juno"}] * 11), "x.json: a chain has 1 to 10 filters, this one 11."),
        (theirs(params=[0.5, 0.9]), PAIRS),
        (theirs(params=[[0.5, 0.9]]), PAIRS),
        (theirs(params=[[0.5, 0.9], [1]]), PAIRS),
        (theirs(params=[[0.5, 0.9], 1, 1]), PAIRS),
        (theirs(params=None), PAIRS),
        (theirs(params={"0": [1, 1]}), PAIRS),
        (theirs(params=[True, 1, 1, 1]), "x.json: strength must be a number, got true."),
        (theirs(params=[1, "1", 1, 1]), 'x.json: intensity must be a number, got "1".'),
        (theirs(params=[1, None, 1, 1]), "x.json: intensity must be a number, got null."),
        (
            theirs(filters=[3, 5]),
            "x.json: unknown filter 5: the thesis has 0 clarendon, 1 gingham, 2 reyes, 3 juno, 4 lark.",
        ),
        (
            theirs(filters=[3, -1]),
            "x.json: unknown filter -1: the thesis has 0 clarendon, 1 gingham, 2 reyes, 3 juno, 4 lark.",
        ),
        (
            theirs(filters=[True, 1]),
            "x.json: unknown filter true: the thesis has 0 clarendon, 1 gingham, 2 reyes, 3 juno, 4 lark.",
        ),
        (
            theirs(filters=["juno", 1.0]),
            'x.json: unknown filter "juno": the thesis has 0 clarendon, 1 gingham, 2 reyes, 3 juno, 4 lark.',
        ),
        (
            ours(version=2),
            "x.json: this foolscope reads 'foolscope-chain', version 1, not \"foolscope-chain\", version 2.",
        ),
        *(
            (
                ours(version=version),
                "x.json: this foolscope reads 'foolscope-chain', version 1, not \"foolscope-chain\", "
                f"version {json.dumps(version)}.",
            )
            for version in (1.0, True, None, "1")
        ),
        (
            ours().replace('"version"', '"title": "x", "version"'),
            'x.json: not JSON: the key "title" is given twice.',
        ),
        (
            ours().replace('"strength": 0.5', '"strength": 0.5, "strength": 1'),
            'x.json: not JSON: the key "strength" is given twice.',
        ),
        (
            '{"filters": [' + "1" * 5_000 + "]}",
            "x.json: not JSON: an integer of 5,000 characters is too long.",
        ),
        (
            ours(format="pickle"),
            "x.json: this foolscope reads 'foolscope-chain', version 1, not \"pickle\", version 1.",
        ),
        (ours(titel="x"), 'x.json: unknown key "titel". Did you mean title, filters?'),
        (ours(title=7), "x.json: a title is one line of at most 100 characters."),
        (ours(title="a\nb"), "x.json: a title is one line of at most 100 characters."),
        (ours(title="a" * 101), "x.json: a title is one line of at most 100 characters."),
        (ours(filters=["juno"]), A_FILTER + '"juno".'),
        (ours(filters=[3]), A_FILTER + "3."),
        (ours(filters=[{"name": 3}]), A_FILTER + '{"name": 3}.'),
        (ours(filters=[["x" * 500]]), A_FILTER + '["' + "x" * 35 + "...."),
        (ours(filters=[{"name": "jumo"}]), 'x.json: unknown filter "jumo". Did you mean juno?'),
        (
            ours(filters=[{"name": "juno", "strenght": 1}]),
            'x.json: unknown key "strenght". Did you mean strength?',
        ),
        (ours(filters=[{"name": "juno", "strength": "1"}]), 'x.json: strength must be a number, got "1".'),
    ],
    ids=lambda text: text[:40],
)
def test_what_is_no_chain_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(CorruptError, match=f"^{re.escape(message)}$"):
        Chain.from_json(text, name="x.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (theirs(params=[1.5, 1, 1, 1]), "juno: strength must be between 0 and 1, got 1.5."),
        (theirs(params=[1, 1, 1, 0]), "lark: intensity must be between 0.1 and 5, got 0."),
        (
            ours(filters=[{"name": "juno", "intensity": 1e300}]),
            "juno: intensity must be between 0.1 and 5, got 1e+300.",
        ),
    ],
)
def test_parameters_beyond_the_limits_are_refused(text: str, message: str) -> None:
    with pytest.raises(ParameterError, match=f"^{re.escape(message)}$"):
        Chain.from_json(text)


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(CorruptError, match=r"^x\.json: not JSON: [^\n]*$"):
        Chain.from_json(b"\xff\xfe\x00\x80", name="x.json")


@pytest.mark.parametrize("ids", ["", "Thesis", "pickle"])
def test_other_ids(ids: str) -> None:
    with pytest.raises(SpecError, match=rf"^ids must be thesis or code, got '{ids}'\.$"):
        Chain.from_json(theirs(), ids=ids)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["format", "version", "title", "filters", "params", "name"]), inner, max_size=5
        )
    ),
    max_leaves=20,
)


@few
@given(st.one_of(st.text(), st.binary(), JSON.map(json.dumps)))
@example(ours(filters=[{"name": "x\ny"}]))
@example(ours(title="\u2028"))
def test_any_text_is_a_chain_or_one_line(text: str | bytes) -> None:
    try:
        chain = Chain.from_json(text)
    except FoolscopeError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 300
    else:
        assert Chain.from_json(chain.to_json()) == chain
