"""The project as a whole: what the wheel carries, what imports what, and what the README promises."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import foolscope
from tests.support import ROOT

SOURCE = ROOT / "src" / "foolscope"
HEAVY = {
    "cv2", "huggingface_hub", "matplotlib", "onnxruntime", "pyarrow", "scipy", "skimage", "sklearn", "timm",
    "torchvision", "typer",
}  # fmt: skip
LARGEST_WEIGHTS = 12_000_000
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _run(*arguments: str | Path, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*map(str, arguments)], cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False
    )


def _loaded_by(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after `code`."""
    done = _run(sys.executable, "-c", f"{code}\nimport sys; print('loaded', *{{m.split('.')[0] for m in sys.modules}})")
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


def _names(requirements: list[str]) -> set[str]:
    """Distribution names, spelled as the package index does."""
    return {_normal(re.split(r"[\s<>=!~;\[]", requirement)[0]) for requirement in requirements}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    built = _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = out.iterdir()
    return path


def test_wheel_carries_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    assert wheel.name == f"foolscope-{foolscope.__version__}-py3-none-any.whl"
    metadata = {name for name in names if name.startswith(f"foolscope-{foolscope.__version__}.dist-info/")}
    expected = {
        path.relative_to(ROOT / "src").as_posix()
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names - metadata == expected
    assert "foolscope/py.typed" in names
    assert any(name.endswith("/licenses/LICENSE") for name in metadata)


def test_wheel_carries_every_card_with_its_weights(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        content = {n: archive.read(n) for n in archive.namelist() if n.startswith("foolscope/models/weights/")}
    weights = {name.removesuffix(".safetensors") for name in content if name.endswith(".safetensors")}
    cards = {name.removesuffix(".json") for name in content if name.endswith(".json")}
    assert cards == weights != set()
    for name in cards:
        digest = hashlib.sha256(content[f"{name}.safetensors"]).hexdigest()
        assert json.loads(content[f"{name}.json"])["sha256"] == digest, name
    assert sum(map(len, content.values())) < LARGEST_WEIGHTS


def test_wheel_runs_without_the_repository(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = "import foolscope; print(foolscope.__file__, foolscope.load_model('lenet').name)"
    done = _run(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=str(tmp_path / "site"))
    assert done.returncode == 0, done.stderr
    file, name = done.stdout.split()
    assert Path(file).is_relative_to(tmp_path)
    assert name == "lenet"


def test_arrows_of_the_design_hold() -> None:
    done = _run(Path(sys.executable).with_name("lint-imports"), "--no-cache")
    assert done.returncode == 0, done.stdout
    assert re.search(r"Contracts: [1-9]\d* kept, 0 broken", done.stdout), done.stdout


def test_importing_the_package_loads_no_heavy_library() -> None:
    assert not (HEAVY | {"numpy", "torch"}) & _loaded_by("import foolscope")
    loaded = _loaded_by("import foolscope\nfor name in foolscope.__all__: getattr(foolscope, name)")
    assert "torch" in loaded
    assert not HEAVY & loaded


def test_help_loads_no_torch() -> None:
    code = "import sys\nsys.argv = ['foolscope', '--help']\nfrom foolscope.cli import main\n"
    loaded = _loaded_by(f"{code}try: main()\nexcept SystemExit as stop: assert not stop.code")
    assert "typer" in loaded
    assert not (HEAVY | {"torch", "numpy"}) & (loaded - {"typer"})


def test_module_is_the_command_line() -> None:
    done = _run(sys.executable, "-m", "foolscope", "--help")
    assert done.returncode == 0, done.stderr
    assert "audit" in done.stdout


def _imported(tree: ast.AST) -> Iterator[str]:
    """The modules that a file imports or, by name, asks for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
            if called in ("find_spec", "import_module", "require"):
                yield str(node.args[0].value)


def test_dependencies_are_those_that_the_code_imports() -> None:
    names = {name.split(".")[0] for path in SOURCE.rglob("*.py") for name in _imported(ast.parse(path.read_text()))}
    owners = packages_distributions()
    used = {_normal(owners.get(name, [name])[0]) for name in names - {"foolscope"} - sys.stdlib_module_names}
    core = _names(PROJECT["dependencies"])
    optional = {name for extra in ("timm", "onnx", "ray") for name in _names(PROJECT["optional-dependencies"][extra])}
    assert core <= used
    assert used <= core | optional


def test_constraints_pin_what_is_required() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    pinned, extras = _names(pins), PROJECT["optional-dependencies"].values()
    assert _names(PROJECT["dependencies"]).union(*map(_names, extras)) <= pinned
    assert not [name for name in pinned if re.match("nvidia|cuda|triton", name)], "works on other platforms too"


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_readme_names_the_command_and_make_knows_it(command: str) -> None:
    assert command in (ROOT / "README.md").read_text()
    done = _run("make", "--dry-run", command.removeprefix("make "))
    assert done.returncode == 0, done.stderr


def test_make_says_which_python_is_too_old(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.1" || exit 1\n')
    old.chmod(0o755)
    for file in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / file).write_bytes((ROOT / file).read_bytes())
    done = _run("make", "demo", f"PYTHON={old}", cwd=tmp_path)
    assert done.returncode == 2
    expected = "Python 3.9.1 is too old: foolscope needs 3.11 or newer. Name one: make PYTHON=python3.12"
    assert expected in done.stderr.splitlines()
    missing = _run("make", "demo", "PYTHON=no-such-python", cwd=tmp_path)
    assert missing.returncode == 2
    expected = "There is no 'no-such-python': install Python 3.11 or newer, or name one: make PYTHON=python3.12"
    assert expected in missing.stderr.splitlines()
    assert not (tmp_path / ".venv").exists()


def test_missing_data_are_an_error_where_they_are_required() -> None:
    command = (sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider", __file__)
    done = _run(*command, FOOLSCOPE_REQUIRE_DATA="1", FOOLSCOPE_DATA="")
    assert done.returncode == 4
    assert "FOOLSCOPE_REQUIRE_DATA is set and FOOLSCOPE_DATA is not: tests would be skipped." in done.stderr


def test_every_worker_has_one_thread_and_a_home_of_its_own() -> None:
    import torch

    if "PYTEST_XDIST_WORKER" in os.environ:
        assert torch.get_num_threads() == 1
    assert "foolscope-home" in os.environ["FOOLSCOPE_HOME"]
