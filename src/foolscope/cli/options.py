"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Offline = Annotated[bool, typer.Option("--offline", help="Never download anything.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of every random choice.", min=0, max=2**63 - 1)]
Data = Annotated[str, typer.Option("--data", help="Data set: 'foolscope datasets' lists them.")]
Split = Annotated[str, typer.Option("--split", help="Part of the data set: test or train.")]
Limit = Annotated[
    int | None, typer.Option("--limit", help="Take this many random images; the result is a preview.", min=1)
]
Folder = Annotated[Path | None, typer.Option("--out", help="Folder for what is written.")]
Device = Annotated[str | None, typer.Option("--device", help="Where networks run, such as cpu or cuda:0.")]
Precision = Annotated[
    str, typer.Option("--precision", help="Of gradient passes: float32, bfloat16 or float64; success: float32.")
]


def check_folder(path: Path) -> Path:
    """Return `path`.  Raises `StorageError` where no files can be written there: before the work, not after it."""
    from foolscope.files import check_writable

    check_writable(path, "name another --out")
    return path


def check_originals(originals: list[Path], targets: list[Path], what: str) -> None:
    """Raise `StorageError` where one of `targets` would take the place of a file that is read."""
    from foolscope.errors import StorageError

    read = {path.resolve() for path in originals}
    for target in targets:
        if target.resolve() in read:
            raise StorageError(f"{target} would be overwritten by its own {what} image: name another --out.")


def check_precision(name: str) -> str:
    """Return `name`.  Raises `ParameterError` for an unknown one."""
    from foolscope.errors import ParameterError

    if name not in ("float32", "bfloat16", "float64"):
        raise ParameterError(f"--precision must be float32, bfloat16 or float64, got '{name}'.")
    return name


def check_device(name: str | None) -> str | None:
    """Return `name`.  Raises `ParameterError` for a device that torch does not have."""
    import torch

    from foolscope.errors import ParameterError

    if name is not None:
        try:
            torch.zeros(1, device=name).cpu()  # the device 'meta' holds nothing that could be read
        except (RuntimeError, AssertionError) as error:
            raise ParameterError(f"--device {name} is not there: {str(error).splitlines()[0]}") from None
    return name
