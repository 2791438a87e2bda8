"""The grammar of specs, the classes that they name, and what is said where they are wrong."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foolscope.errors import ParameterError, SpecError
from foolscope.spec import (
    Parameters,
    Spec,
    describe_parameters,
    format_value,
    parameter,
    parse_pipeline,
    parse_spec,
    parse_value,
    split,
)


@dataclass(frozen=True, kw_only=True)
class Brew(Parameters):
    name: ClassVar[str] = "brew"
    listing: ClassVar[str] = "foolscope brews"

    strength: float = parameter(0.5, "how strong", low=0, high=1)
    cups: int = parameter(2, "how many", low=1)
    kind: str = parameter("tea", "what", choices=("tea", "coffee"))
    note: str = parameter("", "for the label")
    milk: bool = parameter(False, "with milk")
    minutes: float | None = parameter(None, "how long (none: until it is done)", low=0)
    depth: float = parameter(0.0, "below the table", high=8 / 255)


@dataclass(frozen=True, kw_only=True)
class Pot(Parameters):
    name: ClassVar[str] = "pot"
    listing: ClassVar[str] = "foolscope pots"
    argument: ClassVar[str | None] = "maker"
    example: ClassVar[str] = "pot:bodum"

    maker: str = parameter(help="who made it")
    size: int = parameter(help="in milliliters")


# --- grammar ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("fgsm", Spec("fgsm")),
        ("  PGD ", Spec("pgd")),
        ("pgd:eps=8/255,steps=40", Spec("pgd", None, (("eps", "8/255"), ("steps", "40")))),
        ("pgd:eps=8/255, steps=40", Spec("pgd", None, (("eps", "8/255"), ("steps", "40")))),
        ("cifar-cnn", Spec("cifar-cnn")),
        ("torchvision:resnet50", Spec("torchvision", "resnet50")),
        ("torchvision:resnet50,weights=none", Spec("torchvision", "resnet50", (("weights", "none"),))),
        ("file:net.safetensors?arch=lenet", Spec("file", "net.safetensors", (("arch", "lenet"),))),
        ("file:/a,b/net?arch=lenet,extra=4", Spec("file", "/a,b/net", (("arch", "lenet"), ("extra", "4")))),
        ("hf-hub:OWNER/NAME", Spec("hf-hub", "OWNER/NAME")),
        ("py:module:factory", Spec("py", "module:factory")),
        (r"folder:C:\images", Spec("folder", r"C:\images")),
        (
            "x:attacks=(fgsm:eps=0.1|pgd:steps=5,eps=1)",
            Spec("x", None, (("attacks", "fgsm:eps=0.1|pgd:steps=5,eps=1"),)),
        ),
        ("folder:(f/com,ma=x)", Spec("folder", "f/com,ma=x")),
        ("folder:(f/q?x)", Spec("folder", "f/q?x")),
        ("folder:(f/q?x),size=28", Spec("folder", "f/q?x", (("size", "28"),))),
        ("folder:(a=b)?size=28", Spec("folder", "a=b", (("size", "28"),))),
        ("folder:((x))", Spec("folder", "(x)")),
        ("folder:(a)b", Spec("folder", "(a)b")),
        ("folder:a)b", Spec("folder", "a)b")),
        ("folder:( a )", Spec("folder", " a ")),
        ("x:a=b=c", Spec("x", None, (("a", "b=c"),))),
        ("x:a=()", Spec("x", None, (("a", ""),))),
    ],
)
def test_specs(text: str, spec: Spec) -> None:
    assert parse_spec(text) == spec
    assert parse_spec(str(spec)) == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "malformed spec '': expected NAME or NAME:KEY=VALUE,KEY=VALUE."),
        (":eps=1", "malformed spec ':eps=1': expected NAME or NAME:KEY=VALUE,KEY=VALUE."),
        ("8/255", "malformed spec '8/255': expected NAME or NAME:KEY=VALUE,KEY=VALUE."),
        ("pgd eps=1", "malformed spec 'pgd eps=1': expected NAME or NAME:KEY=VALUE,KEY=VALUE."),
        ("pgd:", "malformed spec 'pgd:': nothing follows the colon."),
        ("pgd:eps=1,", "malformed spec 'pgd:eps=1,': '' is not KEY=VALUE."),
        ("pgd:eps=1,steps", "malformed spec 'pgd:eps=1,steps': 'steps' is not KEY=VALUE."),
        ("pgd:eps=", "malformed spec 'pgd:eps=': 'eps=' is not KEY=VALUE."),
        ("pgd:eps=1,=2", "malformed spec 'pgd:eps=1,=2': '=2' is not KEY=VALUE."),
        ("pgd:eps=1,eps=2", "malformed spec 'pgd:eps=1,eps=2': 'eps' is given twice."),
        ("x:a=(1", "malformed spec 'a=(1': its parentheses do not balance."),
        ("x:a=1)", "malformed spec 'a=1)': its parentheses do not balance."),
    ],
)
def test_malformed_specs(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        parse_spec(text)


@given(st.text(alphabet="abZ1=,|():?/._- \t8", max_size=25))
def test_whatever_parses_is_printed_so_that_it_parses_again(text: str) -> None:
    try:
        spec = parse_spec(text)
    except SpecError as error:
        assert "\n" not in str(error)
        return
    assert parse_spec(str(spec)) == spec


def balanced(text: str) -> bool:
    depth = 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if depth < 0:
            return False
    return depth == 0


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(balanced)
keys = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,8}", fullmatch=True)
names = st.from_regex(r"[a-z][a-z0-9_.-]{0,8}", fullmatch=True)


@given(names, st.dictionaries(keys, words, max_size=4))
def test_every_option_text_can_be_printed(name: str, options: dict[str, str]) -> None:
    spec = Spec(name, None, tuple(options.items()))
    assert parse_spec(str(spec)) == spec
    assert parse_pipeline(f"{spec}|{spec}") == [spec, spec]


@given(words.filter(bool))
def test_every_argument_can_be_printed(argument: str) -> None:
    spec = Spec("folder", argument, (("size", "28"),))
    for one in (spec, Spec("folder", argument)):
        assert parse_spec(str(one)) == one
        assert parse_pipeline(f"{one}|{one}") == [one, one]


def test_arguments_are_quoted_where_it_is_needed() -> None:
    assert str(Spec("folder", "f/com,ma")) == "folder:f/com,ma"
    assert str(Spec("folder", "f/com,ma=x")) == "folder:(f/com,ma=x)"
    assert str(Spec("py", "net:build")) == "py:net:build"


def test_pipelines() -> None:
    assert parse_pipeline("jpeg:quality=50|bits:depth=5") == [parse_spec("jpeg:quality=50"), parse_spec("bits:depth=5")]
    assert parse_pipeline("jpeg") == [Spec("jpeg")]
    with pytest.raises(SpecError, match=r"^malformed spec '': expected NAME or NAME:KEY=VALUE,KEY=VALUE\.$"):
        parse_pipeline("jpeg|")


def test_split_heeds_parentheses() -> None:
    assert split("a,(b,c),d", ",") == ["a", "(b,c)", "d"]
    assert split("", ",") == [""]
    for text in ("(a,b", "a)b", ")("):
        with pytest.raises(SpecError, match=f"^malformed spec '{re.escape(text)}': its parentheses do not balance\\.$"):
            split(text, ",")


# --- values -----------------------------------------------------------------------------------------------------------


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_read_back_exactly(value: float) -> None:
    assert parse_value(format_value(value), float) == value


@given(st.integers(0, 10_000))
def test_levels_are_fractions(level: int) -> None:
    text = format_value(level / 255)
    assert parse_value(text, float) == level / 255
    assert len(text) <= len(f"{level}/255")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (8 / 255, "8/255"),
        (0.2, "0.2"),  # 51/255
        (0.3, "0.3"),
        (1.0, "1"),
        (0.0, "0"),
        (1e-7, "1e-07"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (1234567.0, "1234567.0"),
        (-3 / 255, "-3/255"),
        (True, "true"),
        (None, "none"),
        (7, "7"),
        ("tea", "tea"),
        ("a,b", "(a,b)"),
        ("jpeg:quality=50|bits", "(jpeg:quality=50|bits)"),
        ("(x)", "((x))"),
        ("", "()"),
        (" x", "( x)"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_format_value(value: object, text: str) -> None:
    assert format_value(value) == text


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("8/255", float, 8 / 255),
        ("1e-3", float, 0.001),
        ("40", int, 40),
        ("none", int | None, None),
        ("None", float | None, None),
        ("3", int | None, 3),
        ("YES", bool, True),
        ("0", bool, False),
        ("none", str, "none"),
    ],
)
def test_parse_value(text: str, kind: Any, value: object) -> None:
    found = parse_value(text, kind)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("8/0", float, "value: '8/0' is not a number or a fraction such as 8/255."),
        ("a/b", float, "value: 'a/b' is not a number or a fraction such as 8/255."),
        ("much", float, "value: 'much' is not a number or a fraction such as 8/255."),
        ("9" * 400 + "/1", float, f"value: '{'9' * 400}/1' is not a number or a fraction such as 8/255."),
        ("1.5", int, "value: '1.5' is not a whole number."),
        ("none", int, "value: 'none' is not a whole number."),
        ("maybe", bool, "value: 'maybe' is not true or false."),
    ],
)
def test_values_that_cannot_be_read(text: str, kind: type, message: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        parse_value(text, kind)


# --- parameters -------------------------------------------------------------------------------------------------------

brews = st.builds(
    Brew,
    strength=st.floats(0, 1),
    cups=st.integers(1, 10**9),
    kind=st.sampled_from(["tea", "coffee"]),
    note=words,
    milk=st.booleans(),
    minutes=st.none() | st.floats(0, 1e300),
    depth=st.floats(-1e300, 8 / 255),
)


@given(brews)
def test_every_value_has_a_spec_that_builds_it_again(brew: Brew) -> None:
    assert Brew.from_spec(brew.spec()) == brew
    assert Brew.from_spec(parse_spec(brew.spec())) == brew
    assert hash(Brew.from_spec(brew.spec())) == hash(brew)


def test_specs_are_short() -> None:
    assert Brew().spec() == "brew"
    assert Brew(strength=8 / 255, milk=True).spec() == "brew:strength=8/255,milk=true"
    assert Brew(note="a, b").spec() == "brew:note=(a, b)"
    assert Pot(maker="bodum", size=300).spec() == "pot:bodum?size=300"
    assert Pot.from_spec("pot:bodum?size=300") == Pot(maker="bodum", size=300)


def test_parameters_are_values() -> None:
    brew = Brew(cups=3)
    assert brew == Brew(cups=3) != Brew()
    assert brew.replace(cups=4) == Brew(cups=4)
    assert brew.cups == 3
    assert Brew(strength=1).strength == 1.0
    assert isinstance(Brew(strength=1).strength, float)
    with pytest.raises(dataclasses.FrozenInstanceError):
        brew.cups = 4  # type: ignore[misc]
    with pytest.raises(ParameterError):
        brew.replace(cups=0)
    with pytest.raises(SpecError) as named:
        Brew.from_spec("brew:cup=3")
    with pytest.raises(SpecError) as replaced:
        brew.replace(cup=3)
    assert str(replaced.value) == str(named.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("brew:cup=3", "brew has no parameter 'cup'. Did you mean cups? 'foolscope brews brew' lists all."),
        ("brew:zzz=3", "brew has no parameter 'zzz'. 'foolscope brews brew' lists all."),
        ("brew:cups=three", "brew: cups: 'three' is not a whole number."),
        ("brew:milk=x", "brew: milk: 'x' is not true or false."),
        ("brew:strength=x", "brew: strength: 'x' is not a number or a fraction such as 8/255."),
        ("brew:strong", "malformed spec 'brew:strong': 'strong' is not KEY=VALUE."),
        ("pot:bodum", "pot needs size: 'pot:size=...'."),
        ("pot", "malformed spec 'pot': expected pot:MAKER, as in 'pot:bodum'."),
        ("pot:size=3", "malformed spec 'pot:size=3': expected pot:MAKER, as in 'pot:bodum'."),
        ("pot:a?maker=b", "malformed spec 'pot:a?maker=b': expected pot:MAKER, as in 'pot:bodum'."),
    ],
)
def test_specs_that_build_nothing(spec: str, message: str) -> None:
    kind: type[Parameters] = Pot if spec.startswith("pot") else Brew
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        kind.from_spec(spec)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"strength": 1.5}, "brew: strength must be between 0 and 1, got 1.5."),
        ({"strength": math.nan}, "brew: strength must be between 0 and 1, got nan."),
        ({"cups": 0}, "brew: cups must be at least 1, got 0."),
        ({"minutes": -1}, "brew: minutes must be at least 0, got -1."),
        ({"minutes": math.inf}, "brew: minutes must be at least 0, got inf."),
        ({"depth": 9 / 255}, "brew: depth must be at most 8/255, got 9/255."),
        ({"kind": "cocoa"}, "brew: kind must be one of tea, coffee, got 'cocoa'."),
        ({"cups": 2.0}, "brew: cups must be a whole number, got 2.0."),
        ({"cups": True}, "brew: cups must be a whole number, got True."),
        ({"cups": None}, "brew: cups must be a whole number, got None."),
        ({"milk": 1}, "brew: milk must be true or false, got 1."),
        ({"strength": "0.5"}, "brew: strength must be a number or a fraction such as 8/255, got '0.5'."),
        ({"strength": True}, "brew: strength must be a number or a fraction such as 8/255, got True."),
        ({"kind": 3}, "brew: kind must be text, got 3."),
    ],
)
def test_values_out_of_range(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=f"^{re.escape(message)}$"):
        Brew(**values)


def test_a_number_without_a_range_must_be_finite() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Free(Parameters):
        name: ClassVar[str] = "free"
        listing: ClassVar[str] = "foolscope"
        value: float = parameter(0.0)

    assert Free(value=-1e300).value == -1e300
    with pytest.raises(ParameterError, match=r"^free: value must be a finite number, got inf\.$"):
        Free(value=math.inf)


def test_parameters_describe_themselves() -> None:
    described = {record["name"]: record for record in describe_parameters(Brew)}
    assert list(described) == ["strength", "cups", "kind", "note", "milk", "minutes", "depth"]
    assert described["strength"] == {
        "name": "strength",
        "type": "float",
        "required": False,
        "default": 0.5,
        "low": 0,
        "high": 1,
        "choices": [],
        "help": "how strong",
    }
    assert described["kind"]["choices"] == ["tea", "coffee"]
    assert described["minutes"]["type"] == "float | None"
    maker = describe_parameters(Pot)[0]
    assert (maker["required"], maker["default"]) == (True, None)
