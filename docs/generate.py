"""Write the pages that come from the code: the command line's, and one for each registry.  `make docs` runs this.

Nothing is listed by hand: commands are read off their functions' signatures, entries off the registries.
"""

from __future__ import annotations

import inspect
import re
import sys
import typing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any

from typer.models import ArgumentInfo, ParameterInfo, ParamMeta
from typer.utils import get_params_from_function

import foolscope
from foolscope.attacks import ATTACKS
from foolscope.cli.app import app
from foolscope.data import DATASETS
from foolscope.defenses import DEFENSES, DETECTORS
from foolscope.files import write_bytes
from foolscope.filters import FILTERS
from foolscope.models import MODELS, shipped
from foolscope.registry import Registry
from foolscope.spec import Parameters, describe_parameters, format_value

FOLDER = Path(__file__).parent

_NOTE = "<!-- Written by docs/generate.py from the code: change that, then run `make docs`. -->"
_ARXIV = re.compile(r"arXiv (\d{4}\.\d{4,5})")
_TYPES = {"str": "text", "Path": "path", "int": "whole number", "float": "number", "bool": "true or false"}


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a registry's page begins with; `python` is the module whose classes can be used without a spec."""

    registry: Registry[Any]
    title: str
    begin: str
    python: str | None = None


PAGES = {
    "attacks": Page(
        registry=ATTACKS,
        title="Attacks",
        python="attacks",
        begin="""\
An attack is named by a spec, `pgd:eps=8/255,steps=40`: on the command line (`foolscope audit --attacks`,
`foolscope attack`), in Python by `fs.parse_attack(spec)` or the class itself, `fs.attacks.PGD(eps=8 / 255, steps=40)`.
What is not given has its default. In an audit, `--eps` says the radii, and an attack's own `eps` counts where it does
not.

Images are float32 in [0, 1], so `eps` is in units of that range: 8/255 in linf is eight steps of an 8-bit file.""",
    ),
    "filters-list": Page(
        registry=FILTERS,
        title="Filters",
        python="filters",
        begin="""\
A filter is named by a spec, `clarendon:strength=0.8,intensity=1.1`, several by specs that are joined by `|` and applied
from left to right: a chain. It is what `foolscope filter` takes, the parameter of the attack `filter`, in Python
`fs.parse_chain(spec)`. [Photo filters](filters.md) tells the rest: the effects' formulas, chains, files.""",
    ),
    "defenses": Page(
        registry=DEFENSES,
        title="Defenses",
        python="defenses",
        begin="""\
A defense changes the images before the network sees them. It is named by a spec, `jpeg:quality=50`, several by specs
that are joined by `|` and applied from left to right: on the command line by `--defense`, in Python by
`fs.defended(model, spec)`, which is again a classifier.

`gradient` says what an adaptive attack differentiates: `differentiable` is the defense itself, `straight-through` takes
the identity's derivative in its place (BPDA: Athalye, Carlini and Wagner 2018, arXiv 1802.00420), `none` lets nothing
through, and gradient attacks then meet the defense obliviously alone. It decides for Python; an audit tries each
gradient that is worth following by itself, the straight-through one and the smooth stand-in's where a defense has one,
as means over draws where it is random, and Square, which follows none. A defense's number is what all of them together
leave; [Adaptive attacks](adaptive.md) tells what that is for JPEG.""",
    ),
    "detectors": Page(
        registry=DETECTORS,
        title="Detectors",
        python="defenses",
        begin="""\
A detector gives every image a score, the higher the more suspicious, and calls those above a threshold adversarial. It
is named by a spec: on the command line for `foolscope detector`, in Python by `fs.parse_detector(spec)`. Calibrate it
for the network and the data that it shall judge.""",
    ),
    "models": Page(
        registry=MODELS,
        title="Models",
        begin="""\
A model is named by a spec, `lenet` or `torchvision:resnet50`: the first argument of `foolscope audit`, in Python
`fs.load_model(spec)`. Every model takes float32 images (N, C, H, W) in [0, 1] and answers logits (N, K); resizing and
normalization are its first layers. In Python any `nn.Module` that does so works as it is.""",
    ),
    "datasets": Page(
        registry=DATASETS,
        title="Data sets",
        begin="""\
A data set is named by a spec, `mnist` or `folder:my-photos`: on the command line by `--data`, with `--split` and
`--limit`, in Python by `fs.load_data(spec, split="test", limit=None, seed=0)`. `foolscope datasets` says which are at
hand. Nothing downloads silently: size and source are shown first, and `--offline` forbids it.""",
    ),
}


def pages() -> dict[str, str]:
    """The name and the text of every page."""
    return {"cli.md": _cli(), **{f"{name}.md": _registry(page) for name, page in PAGES.items()}}


def main() -> None:
    """Write all pages beside this file."""
    for name, text in pages().items():
        write_bytes(FOLDER / name, text.encode())
        print(f"docs/{name}")


def _registry(page: Page) -> str:
    """One page: all entries in a table, then each with its parameters, those of a module behind one another."""
    modules: dict[str, list[type[Parameters]]] = {}
    for kind in page.registry.values():
        modules.setdefault(kind.__module__, []).append(kind)
    blocks = [_NOTE, f"# {page.title}", _linked(page.begin)]
    holder = next((name for name in modules if page.registry in vars(sys.modules[name]).values()), None)
    if holder:  # its docstring speaks of all entries, and its own come last
        blocks.append(_titled(sys.modules[holder])[1])
        modules[holder] = modules.pop(holder)
    ordered = [kind for kinds in modules.values() for kind in kinds]
    rows = [(f"[`{kind.name}`](#{kind.name})", _told(kind, "summary")) for kind in ordered]
    blocks.append(_table((page.registry.kind, "what"), rows))
    if page.registry is MODELS:
        blocks += _shipped()
    for module, kinds in modules.items():
        title, body = _titled(sys.modules[module])
        if module != holder:
            blocks += [f"## {title}", body]
        elif len(modules) > 1:
            blocks.append(f"## Other {page.title.lower()}")
        for kind in kinds:
            blocks += _entry(kind, page)
    return _joined(blocks)


def _entry(kind: type[Parameters], page: Page) -> list[str]:
    facts = [f"Example: `{kind.example}`"] if kind.example else []
    if page.python and getattr(getattr(foolscope, page.python), kind.__name__, None) is kind:
        facts.append(f"Python: `fs.{page.python}.{kind.__name__}`")
    if splits := getattr(kind, "splits", None):
        facts.append("Splits: " + ", ".join(f"{split} ({count:,} images)" for split, count in splits.items()))
    facts += [f"{name.capitalize()}: {_told(kind, name)}" for name in ("source", "license") if hasattr(kind, name)]
    if page.registry is FILTERS:
        facts.append("Gray images: taken" if kind.takes_gray else "Gray images: refused")  # type: ignore[attr-defined]
        ranges = [(name, getattr(kind, f"{name}_range")) for name in ("strength", "intensity")]
        facts.append("Searched: " + ", ".join(f"{name} from {low:g} to {high:g}" for name, (low, high) in ranges))
    if page.registry is ATTACKS:
        facts.append("Gradients: needed" if kind.needs_gradients else "Gradients: not needed")  # type: ignore[attr-defined]
    blocks = [f"### `{kind.name}`", _docstring(kind), "\n".join(f"- {fact}" for fact in facts)]
    rows = [
        (
            f"`{field['name']}`",
            _type(field["type"]),
            "needed" if field["required"] else f"`{format_value(field['default'])}`" if field["default"] != "" else "",
            _range(field),
            field["help"],
        )
        for field in describe_parameters(kind)
    ]
    return [*blocks, *([_table(("parameter", "type", "default", "range", "what"), rows)] if rows else [])]


def _told(kind: type[Parameters], name: str) -> str:
    return _linked(str(getattr(kind, name)))


def _type(name: str) -> str:
    return " or ".join("none" if part == "None" else _TYPES.get(part, part) for part in name.split(" | "))


def _range(field: dict[str, Any]) -> str:
    return ", ".join(f"`{choice}`" for choice in field["choices"]) or _bounds(field["low"], field["high"])


def _bounds(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"from {format_value(low)} to {format_value(high)}"
    if low is not None:
        return f"from {format_value(low)}"
    return f"to {format_value(high)}" if high is not None else ""


def _shipped() -> list[str]:
    rows = [
        (
            f"`{card.family}:weights={card.name}`",
            card.data,
            f"{100 * card.accuracy:.2f} %",
            f"`{card.adversarial}`" if card.adversarial else "",
            card.robust_accuracy or "",
            f"{card.parameters:,}",
        )
        for card in shipped()
    ]
    heads = ("shipped weights", "data", "test accuracy", "trained against", "accuracy under attack", "parameters")
    told = "These weights come with the package, each with a card that names the command that trained them."
    return [told, _table(heads, rows)]


@dataclass(frozen=True, kw_only=True)
class Option:
    """An argument or option of a command: its names, what it takes ('' for a switch), its default and its help."""

    names: tuple[str, ...]
    takes: str
    required: bool
    repeated: bool
    default: Any
    help: str

    @property
    def usage(self) -> str:
        """How it stands in the command: `MODEL`, `[IMAGES]...`, `--data DATA`; '' for what may be left out."""
        name = self.names[-1]
        if name.startswith("-"):
            return f"{name} {name.strip('-').upper()}" if self.required else ""
        return (name if self.required else f"[{name}]") + ("..." if self.repeated else "")

    @property
    def row(self) -> tuple[str, str, str, str]:
        """Names, value, default and help for a table."""
        takes = f"{self.takes}, may be repeated" if self.repeated else self.takes
        shown = self.default is not None and self.default is not False and not self.required
        default = "needed" if self.required else f"`{self.default}`" if shown else ""
        return ", ".join(f"`{name}`" for name in self.names), takes, default, self.help


def _options(command: Callable[..., Any]) -> list[Option]:
    """What a command takes, in its own order."""
    return [_option(found) for found in get_params_from_function(command).values()]


def _option(found: ParamMeta) -> Option:
    info: ParameterInfo = found.default
    kind = found.annotation
    if isinstance(kind, UnionType):
        (kind,) = {*typing.get_args(kind)} - {NoneType}
    repeated = typing.get_origin(kind) is list
    if repeated:
        (kind,) = typing.get_args(kind)
    takes = "" if kind is bool else f"{_TYPES[kind.__name__]} {_bounds(info.min, info.max)}".strip()
    positional = isinstance(info, ArgumentInfo)
    return Option(
        names=(found.name.upper(),) if positional else tuple(info.param_decls or (f"--{found.name}",)),
        takes=takes,
        required=info.default is ...,
        repeated=repeated,
        default=info.default,
        help=info.help or "",
    )


def _cli() -> str:
    """The command line's page."""
    commands = {
        command.name or command.callback.__name__.replace("_", "-"): command.callback
        for command in app.registered_commands
        if command.callback
    }
    listed = [(f"[`foolscope {name}`](#foolscope-{name})", _titled(command)[0]) for name, command in commands.items()]
    blocks = [_NOTE, "# The command line", _CLI, _table(("command", "what"), listed)]
    if app.registered_callback and app.registered_callback.callback:
        told = "Options of the program itself stand before the command; `--debug` may stand anywhere."
        options = _options(app.registered_callback.callback)
        blocks += [told, _table(("option", "what"), [(option.row[0], option.row[-1]) for option in options])]
    for name, command in commands.items():
        options = _options(command)
        usage = " ".join(("foolscope", name, *filter(None, (option.usage for option in options)), "[OPTIONS]"))
        rows = [option.row for option in options]
        blocks += [f"## `foolscope {name}`", _docstring(command), f"```\n{usage}\n```"]
        blocks.append(_table(("argument or option", "value", "default", "what"), rows))
    return _joined(blocks)


_CLI = """\
stdout is the result, stderr the progress; `--json` prints the result as JSON. The exit code is 0 when all is done, 1
when something failed that nobody foresaw, 2 when what was asked for is wrong (with one line that says what), and 130
when the program was stopped."""


def _docstring(what: object) -> str:
    """A docstring as Markdown, whose indented blocks are code there too."""
    return _linked(_unspaced(what))


def _unspaced(what: object) -> str:
    return re.sub(r"(?<=[.:;])  (?=\S)", " ", inspect.getdoc(what) or "")


def _titled(what: object) -> tuple[str, str]:
    """The first paragraph of a docstring as one line, without links and its period, and the rest."""
    title, _, body = _unspaced(what).partition("\n\n")
    return " ".join(title.split()).rstrip("."), _linked(body)


def _linked(text: str) -> str:
    return _ARXIV.sub(r"[arXiv \1](https://arxiv.org/abs/\1)", text)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _joined(blocks: Iterable[str]) -> str:
    return "\n\n".join(block for block in blocks if block) + "\n"


if __name__ == "__main__":
    main()
