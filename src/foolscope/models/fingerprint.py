"""A model's digest: equal for models that answer alike, another wherever something that decides the answers differs.

It is over the structure, parameters, buffers, all other attributes of every layer (also private ones, hooks, and what
lists, dicts and objects among them hold) and the code: the files that define the layers and, of code that is not an
installed package's, whatever these import.  A global variable that is changed while the program runs is not seen.
"""

from __future__ import annotations

import ast
import enum
import functools
import importlib.util
import inspect
import logging
import pickle
import re
import sys
import sysconfig
import types
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from foolscope.files import digest
from foolscope.models.classifier import Classifier

_log = logging.getLogger("foolscope")

_LABELS = frozenset(("name", "weights", "trained_on", "class_names"))
"""What a `Classifier` is called, which does not decide its answers."""

_PARTS = frozenset(("training", "_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"))
"""Attributes of every module that are told otherwise or do not matter: the engine runs in evaluation mode."""

_PLAIN = (str, bytes, int, float, complex, type(None), range, slice, PurePath, torch.dtype, torch.device, torch.Size)


_Seen = dict[int, tuple[int, Any]]
"""By id, the number and the object itself, so that no other gets its id."""


class _Unknown(Exception):
    """Something of which nobody can say whether it is equal to another."""


def model_digest(model: nn.Module) -> str:
    """SHA-256 over all that decides a model's answers; see the module's docstring.

    A module with a text attribute `digest`, such as a black box with its file's, is known by that.  A model that
    holds something that cannot be compared gets another digest every time, and a warning says so.
    """
    seen: _Seen = {}
    parts: list[bytes | str] = []
    for name, module in model.named_modules():
        try:
            parts += [name, *_module(module, seen)]
        except (_Unknown, RecursionError) as unknown:
            layer = f"its layer {name}" if name else "it"
            _log.warning("%s cannot be told from others: %s holds %s; nothing computed of it is reused",
                         type(model).__name__, layer, unknown)  # fmt: skip
            parts.append(uuid.uuid4().hex)
    parts += _sources({type(module) for module in model.modules()})
    return digest(*parts)


def _module(module: nn.Module, seen: _Seen) -> Iterator[bytes | str]:
    """All of one module but its submodules."""
    seen[id(module)] = len(seen), module
    yield f"{type(module).__module__}.{type(module).__qualname__} {module.extra_repr()}"
    if isinstance(known := getattr(module, "digest", None), str):
        yield known
        return
    for tensors in (module._parameters, module._buffers):
        yield from (f"{name} {_described(tensor, seen)}" for name, tensor in tensors.items())
    if isinstance(module, torch.jit.ScriptModule):
        yield re.sub(
            r"(___torch_mangle_\d+\.)|(# .*)", "", str(module.inlined_graph)
        )  # the count of modules so far, places
        return
    if isinstance(module, fx.GraphModule):
        yield module.code
    skipped = _PARTS | (_LABELS if isinstance(module, Classifier) else frozenset())
    for name, value in sorted(vars(module).items()):
        graph = isinstance(module, fx.GraphModule) and name in ("_graph", "_code", "_tracer_cls")
        if name not in skipped and not graph:
            held = list(value.values()) if "_hooks" in name and isinstance(value, Mapping) else value  # numbered anew
            yield f"{name} {_described(held, seen)}"


def _described(value: Any, seen: _Seen) -> str:
    """A value as text, equal for equal values; what was described before is told by its number."""
    if isinstance(value, (enum.Enum, *_PLAIN)):
        return f"{type(value).__qualname__} {value!r}"
    if isinstance(value, Tensor | np.ndarray):
        return _array(value)
    if id(value) in seen:
        return f"the same as {seen[id(value)][0]}"
    seen[id(value)] = len(seen), value
    if isinstance(value, Mapping):
        parts = [f"{_described(key, seen)}: {_described(item, seen)}" for key, item in value.items()]
    elif isinstance(value, list | tuple):
        parts = [_described(item, seen) for item in value]
    elif isinstance(value, set | frozenset):
        parts = sorted(_described(item, {}) for item in value)
    elif isinstance(value, nn.Module):
        parts = [str(part) for part in _module(value, seen)]
        parts += [f"{name} {_described(child, seen)}" for name, child in value.named_children()]
    else:
        return _object(value, seen)
    return f"{type(value).__qualname__}({', '.join(parts)})"


def _array(value: Tensor | np.ndarray[Any, Any]) -> str:
    if isinstance(value, Tensor):
        content = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    else:
        content = pickle.dumps(value.tolist()) if value.dtype.hasobject else np.ascontiguousarray(value).tobytes()
    return f"{type(value).__qualname__} {value.dtype} {tuple(value.shape)} {digest(content)}"


def _object(value: Any, seen: _Seen) -> str:
    """Functions, classes and instances of classes that are not known here."""
    if isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        held = [_described(item, seen) for item in (cells, value.__defaults__, value.__kwdefaults__)]
        return f"{value.__qualname__} {_code(value.__code__)} {held}"
    if isinstance(value, types.MethodType):
        return f"{value.__qualname__} of {_described(value.__self__, seen)}"
    if isinstance(value, functools.partial):
        return f"partial {_described([value.func, value.args, value.keywords], seen)}"
    if isinstance(value, type | types.BuiltinFunctionType | types.ModuleType | np.ufunc):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', value.__name__)}"
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if hasattr(value, "__dict__") and type(value).__module__ != "builtins":
        return f"{kind} {_described(vars(value), seen)}"
    try:
        return f"{kind} {digest(pickle.dumps(value))}"
    except Exception:  # whatever a class raises when it is pickled
        raise _Unknown(f"a {kind}") from None


def _code(code: types.CodeType) -> str:
    """What a function does, without where it stands."""
    constants = [_code(item) if isinstance(item, types.CodeType) else repr(item) for item in code.co_consts]
    return digest(code.co_code, repr((code.co_names, code.co_varnames, constants)))


def _sources(kinds: set[type]) -> list[str]:
    """The code of the classes' files, and of the files of the user's that these import."""
    texts, files = set[str](), list[Path]()
    for kind in kinds:
        file = _file(sys.modules.get(kind.__module__))
        if file is None or not file.is_file():  # written in a notebook, or gone
            texts.add(_source(kind))
        elif kind.__module__.partition(".")[0] not in ("torch", "torchvision"):
            files.append(file)
    known = {file: _text(file) for file in files}
    files = [file for file in known if _is_users(file)]
    modules = list(sys.modules.values()) if files else []
    packages = {_file(module): getattr(module, "__package__", None) or "" for module in modules}
    while files:
        file = files.pop()
        imported = set(_imported(file, known[file], packages.get(file, "")))
        new = {other for other in imported if other not in known and _is_users(other)}
        known |= {other: _text(other) for other in new}
        files += new
    return sorted(texts | set(known.values()))


def _source(kind: type) -> str:
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return ""


def _file(module: types.ModuleType | None) -> Path | None:
    name = getattr(module, "__file__", None)
    return Path(name).resolve() if name else None


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8", errors="replace")
    except OSError:
        return ""


@functools.cache
def _installed() -> tuple[Path, ...]:
    """Where installed packages lie, the standard library, and foolscope."""
    paths = sysconfig.get_paths()
    places = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return (*(Path(place).resolve() for place in places), Path(__file__).resolve().parents[1])


def _is_users(file: Path) -> bool:
    return not any(file.is_relative_to(place) for place in _installed())


def _imported(file: Path, text: str, package: str) -> Iterator[Path]:
    """The files that a file of a package imports, as far as they can be found without running them."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = (
                importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                if (package or not node.level)
                else ""
            )
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)] if base else []
        for name in names:
            if (found := _file(sys.modules.get(name)) or _beside(file, name)) is not None:
                yield found


def _beside(file: Path, name: str) -> Path | None:
    """A module that is not loaded yet and lies beside the file that imports it."""
    path = file.parent.joinpath(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate.resolve()
    return None
