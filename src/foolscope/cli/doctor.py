"""`foolscope doctor`: what is installed, what is downloaded, what device."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
from importlib import metadata
from typing import Any

from foolscope.cli import console
from foolscope.cli.options import Json

_PACKAGES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "opencv-python-headless": "cv2",
    "pyarrow": "pyarrow",
    "matplotlib": "matplotlib",
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
}
_EXTRAS = {"timm": "timm", "onnxruntime": "onnx"}


def doctor(json: Json = False) -> None:
    """Show versions, devices, folders and data, and what is missing.  Exits with 1 where something needed fails."""
    import typer

    found = examine()
    if json:
        console.print_json(found)
    else:
        _print(found)
    if found["problems"]:
        raise typer.Exit(1)


def examine() -> dict[str, Any]:
    """Everything that `doctor` prints, as JSON."""
    import torch

    from foolscope import __version__
    from foolscope.data import DATASETS, status
    from foolscope.errors import FoolscopeError
    from foolscope.files import check_home, data_folder, home
    from foolscope.models import shipped

    problems, packages = [], {}
    for package, module in _PACKAGES.items():
        try:
            importlib.import_module(module)
            packages[package] = metadata.version(package)
        except Exception as error:  # a broken installation raises anything
            problems.append(f"{package} cannot be imported: {error}")
    for package, extra in _EXTRAS.items():
        try:
            packages[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            packages[package] = f"not installed: pip install 'foolscope[{extra}]'"
    try:
        chosen = str(data_folder() or "not set")
        data = {name: str(status(name)) for name in DATASETS}
    except FoolscopeError as error:
        problems.append(str(error))
        chosen, data = os.environ.get("FOOLSCOPE_DATA", ""), {}
    folder = home()
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
    try:
        check_home()
    except FoolscopeError as error:
        problems.append(str(error))
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "foolscope": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": packages,
        "devices": {"cpu threads": torch.get_num_threads(), "cuda": gpus},
        "bfloat16 in hardware": _bfloat16(),
        "folders": {
            "FOOLSCOPE_HOME": str(folder),
            "FOOLSCOPE_DATA": chosen,
            "free GB": round(shutil.disk_usage(existing).free / 1e9, 1),
        },
        "data sets": data,
        "shipped weights": [f"{card.family}:weights={card.name}" for card in shipped()],
        "problems": problems,
    }


def _bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 matrices itself: there `--precision bfloat16` is fast."""
    import torch

    flags = torch.backends.cpu.get_cpu_capability()
    try:
        with open("/proc/cpuinfo") as file:
            text = file.read()
    except OSError:
        return False
    return "AVX512" in flags and ("avx512_bf16" in text or "amx_bf16" in text)


def _print(found: dict[str, Any]) -> None:
    made = console.table("what", "value")
    for key, value in found.items():
        if isinstance(value, dict):
            for name, text in value.items():
                made.add_row(name, ", ".join(map(str, text)) or "none" if isinstance(text, list) else str(text))
        elif isinstance(value, list):
            made.add_row(key, "\n".join(map(str, value)) or "none")
        else:
            made.add_row(key, str(value))
    console.stdout().print(made)
