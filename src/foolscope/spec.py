"""One grammar for models, data sets, attacks and defenses, in Python, on the command line, in TOML and in URLs.

    spec     = name [":" body]
    body     = [argument] [("?" | ",") option ("," option)*]     argument: `resnet50`, `OWNER/NAME`, a path, "(" any ")"
    option   = key "=" value                                     value: number, fraction, word, or "(" anything ")"
    pipeline = spec ("|" spec)*

`pgd:eps=8/255,steps=40`, `torchvision:resnet50`, `file:net.safetensors?arch=lenet`, `jpeg:quality=50|bits:depth=5`.
Parentheses around a value or an argument keep what would otherwise mean something: `folder:(a,b=c)`, `folder:(why?)`.

What a spec names is a `Parameters` subclass: a frozen, keyword-only dataclass whose fields carry their help and their
range, so that construction, repr, equality, JSON, hash, command line and web form come from one place.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Self

from foolscope.errors import ParameterError, SpecError, nearest

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_OPTION = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)=(.*)", re.DOTALL)
_OPTIONS_BEGIN = re.compile(r"\?|,(?=[A-Za-z_][A-Za-z0-9_-]*=)")


@dataclass(frozen=True)
class Spec:
    """A parsed spec string: `name`, the `argument` after the colon if any, and the options as text."""

    name: str
    argument: str | None = None
    options: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        body = _quoted_argument(self.argument) if self.argument else ""
        options = ",".join(f"{key}={_quoted(value)}" for key, value in self.options)
        if options:
            body += ("?" if self.argument else "") + options
        return f"{self.name}:{body}" if body else self.name


def parse_spec(text: str) -> Spec:
    """Parse one spec.  Raises `SpecError` where `text` does not follow the grammar."""
    text = text.strip()
    name, colon, body = text.partition(":")
    if not _NAME.fullmatch(name):
        raise SpecError(f"malformed spec '{text}': expected NAME or NAME:KEY=VALUE,KEY=VALUE.")
    if colon and not body:
        raise SpecError(f"malformed spec '{text}': nothing follows the colon.")
    argument, body = _argument(body)
    options: dict[str, str] = {}
    for item in split(body, ",") if body else []:
        match = _OPTION.fullmatch(item.strip())
        if match is None or not match[2]:
            raise SpecError(f"malformed spec '{text}': '{item}' is not KEY=VALUE.")
        if match[1] in options:
            raise SpecError(f"malformed spec '{text}': '{match[1]}' is given twice.")
        value = match[2]
        options[match[1]] = value[1:-1] if value.startswith("(") and value.endswith(")") else value
    return Spec(name.lower(), argument, tuple(options.items()))


def _argument(body: str) -> tuple[str | None, str]:
    """What follows the colon, cut into the argument, without its parentheses, and the options."""
    if _OPTION.match(body):
        return None, body
    end = _closing(body)
    if end is not None and (end + 1 == len(body) or _OPTIONS_BEGIN.match(body, end + 1)):
        return body[1:end] or None, body[end + 2 :]
    begin = _OPTIONS_BEGIN.search(body)
    argument, options = (body[: begin.start()], body[begin.end() :]) if begin else (body, "")
    return argument.strip() or None, options


def _closing(text: str) -> int | None:
    """Where the parenthesis closes that `text` begins with; None where it begins with none, or it never closes."""
    depth = 0
    for index, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth <= 0:
            return index if index else None
    return None


def parse_pipeline(text: str) -> list[Spec]:
    """Parse specs joined by `|`."""
    return [parse_spec(part) for part in split(text, "|")]


def split(text: str, separator: str) -> list[str]:
    """Split at `separator` outside parentheses.  Raises `SpecError` where they do not balance."""
    parts, depth, begin = [], 0, 0
    for index, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth < 0:
            break
        if character == separator and depth == 0:
            parts.append(text[begin:index])
            begin = index + 1
    if depth != 0:
        raise SpecError(f"malformed spec '{text}': its parentheses do not balance.")
    return [*parts, text[begin:]]


def parameter(
    default: Any = dataclasses.MISSING,
    help: str = "",
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """Declare a field of a `Parameters` class: its default, one line of help, and the closed range or the choices."""
    return dataclasses.field(default=default, metadata={"help": help, "low": low, "high": high, "choices": choices})


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Base of everything that a spec names: checks every field against its declared type and range.

    Subclasses set `name`, the word in the spec, `listing`, the command that lists their kin, and, where text without a
    key may follow the colon (`torchvision:resnet50`), `argument`, the field that it fills, and an `example`.  `manual`
    is the command that lists the parameters, where that is not `listing` with the name.
    """

    name: ClassVar[str]
    listing: ClassVar[str]
    argument: ClassVar[str | None] = None
    example: ClassVar[str] = ""
    manual: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = _checked(f"{self.name}: {field.name}", field, self._types()[field.name], getattr(self, field.name))
            object.__setattr__(self, field.name, value)

    @classmethod
    def _types(cls) -> dict[str, Any]:
        return typing.get_type_hints(cls)

    @classmethod
    def from_spec(cls, spec: Spec | str) -> Self:
        """Build from a spec.  Raises `SpecError` for unknown or unreadable options, `ParameterError` out of range."""
        spec = parse_spec(spec) if isinstance(spec, str) else spec
        hints, fields = cls._types(), {field.name: field for field in dataclasses.fields(cls)}
        values = {}
        for key, text in cls._options(spec):
            if key not in fields:
                raise cls._unknown(key)
            values[key] = parse_value(text, hints[key], f"{cls.name}: {key}")
        missing = [n for n, f in fields.items() if f.default is dataclasses.MISSING and n not in values]
        if missing:
            raise SpecError(f"{cls.name} needs {', '.join(missing)}: '{cls.name}:{missing[0]}=...'.")
        return cls(**values)

    @classmethod
    def _unknown(cls, key: str) -> SpecError:
        """The one line for a parameter that there is not."""
        manual = cls.manual or f"{cls.listing} {cls.name}"
        near = nearest(key, (field.name for field in dataclasses.fields(cls)))
        return SpecError(f"{cls.name} has no parameter '{key}'.{near} '{manual}' lists all.")

    @classmethod
    def _options(cls, spec: Spec) -> list[tuple[str, str]]:
        """The spec's options, with the argument among them."""
        if cls.argument is None:
            if spec.argument is not None:
                raise SpecError(f"malformed spec '{spec}': '{spec.argument}' is not KEY=VALUE.")
            return list(spec.options)
        if spec.argument is None or cls.argument in dict(spec.options):
            expected = f"{cls.name}:{cls.argument.upper()}, as in '{cls.example}'"
            raise SpecError(f"malformed spec '{spec}': expected {expected}.")
        return [(cls.argument, spec.argument), *spec.options]

    def spec(self) -> str:
        """The shortest spec string that builds this value again."""
        options = tuple(
            (field.name, _plain(getattr(self, field.name)))
            for field in dataclasses.fields(self)
            if field.name != self.argument and getattr(self, field.name) != field.default
        )
        return str(Spec(self.name, None if self.argument is None else str(getattr(self, self.argument)), options))

    def replace(self, **changes: Any) -> Self:
        """A copy with some parameters changed.  Raises `SpecError` for unknown ones, `ParameterError` out of range."""
        for key in changes.keys() - {field.name for field in dataclasses.fields(self)}:
            raise self._unknown(key)
        return dataclasses.replace(self, **changes)


def parse_value(text: str, annotation: Any, where: str = "value") -> Any:
    """Read `text` as `annotation` (bool, int, float, str, or one of them with None).  Raises `SpecError`."""
    kinds = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    if types.NoneType in kinds and text.lower() == "none":
        return None
    kind = next(k for k in kinds if k is not types.NoneType)
    try:
        if kind is bool:
            return {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}[text.lower()]
        if kind is int:
            return int(text)
        if kind is float:
            return float(Fraction(text)) if "/" in text else float(text)
    except (KeyError, ValueError, ZeroDivisionError, OverflowError):
        raise SpecError(f"{where}: '{text}' is not {_KINDS[kind]}.") from None
    return text


_KINDS = {bool: "true or false", int: "a whole number", float: "a number or a fraction such as 8/255", str: "text"}


def format_value(value: Any) -> str:
    """The option text that reads back to `value`; multiples of 1/255 become fractions where that is shorter."""
    return _quoted(_plain(value))


def _plain(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, float):
        plain, level = f"{value:g}" if float(f"{value:g}") == value else repr(value), value * 255
        fraction = f"{round(level)}/255" if math.isfinite(level) and round(level) / 255 == value else plain
        return min(plain, fraction, key=len)
    return str(value)


def _quoted(text: str) -> str:
    return f"({text})" if not text or text != text.strip() or any(c in text for c in ",|=:()") else text


def _quoted_argument(text: str) -> str:
    """The argument, in parentheses where it would otherwise be read as something else."""
    plain = _argument(text) == (text, "") and "|" not in text
    return text if plain or _closing(f"({text})") != len(text) + 1 else f"({text})"


def _checked(where: str, field: dataclasses.Field[Any], annotation: Any, value: Any) -> Any:
    """Return `value` in the declared type; raise `ParameterError` where type or range do not fit."""
    kinds = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    if value is None and types.NoneType in kinds:
        return None
    kind = next(k for k in kinds if k is not types.NoneType)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if kind in _KINDS and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        raise ParameterError(f"{where} must be {_KINDS[kind]}, got {value!r}.")
    low, high, choices = (field.metadata.get(key) for key in ("low", "high", "choices"))
    if isinstance(value, (int, float)) and not isinstance(value, bool) and not _inside(value, low, high):
        raise ParameterError(f"{where} must be {_range_text(low, high)}, got {format_value(value)}.")
    if choices and value not in choices:
        raise ParameterError(f"{where} must be one of {', '.join(choices)}, got '{value}'.")
    return value


def _inside(value: float, low: float | None, high: float | None) -> bool:
    return math.isfinite(value) and (low is None or value >= low) and (high is None or value <= high)


def _range_text(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"between {format_value(low)} and {format_value(high)}"
    if low is not None:
        return f"at least {format_value(low)}"
    return f"at most {format_value(high)}" if high is not None else "a finite number"


def describe_parameters(cls: type[Parameters]) -> list[dict[str, Any]]:
    """One record a field: name, type, default, range or choices, help; what `foolscope attacks NAME` prints."""
    hints = cls._types()
    return [
        {
            "name": field.name,
            "type": str(getattr(hints[field.name], "__name__", hints[field.name])),
            "required": field.default is dataclasses.MISSING,
            "default": None if field.default is dataclasses.MISSING else field.default,
            "low": field.metadata.get("low"),
            "high": field.metadata.get("high"),
            "choices": list(field.metadata.get("choices", ())),
            "help": field.metadata.get("help", ""),
        }
        for field in dataclasses.fields(cls)
    ]
