"""`foolscope filter`: photos in, filtered PNGs out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foolscope.cli import console
from foolscope.cli.options import Json

if TYPE_CHECKING:
    from foolscope.filters import Chain

_FOLDER = Path("foolscope-filtered")


def filter(
    chain: Annotated[
        str,
        typer.Argument(help="Filters, such as 'clarendon:strength=0.8|juno', a chain's name, or a file CHAIN.json."),
    ],
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="A file OUT.png for one image, or a folder for any number.")
    ] = _FOLDER,
    ids: Annotated[
        str, typer.Option("--ids", help="Whose numbers a file of the thesis has: its text's (thesis), or its code's.")
    ] = "thesis",
    allow_extreme: Annotated[
        bool, typer.Option("--allow-extreme", help="Take intensities outside 0.5 to 1.5 too.")
    ] = False,
    json: Json = False,
) -> None:
    """Apply photo filters to images and save them as 8-bit PNG, in their own size and turned as a camera meant them.

    Gray images stay gray where all filters leave them so, else they are filtered as color images.
    """
    import torch

    from foolscope.cli.options import check_originals
    from foolscope.files import write_bytes
    from foolscope.images import decode_image, encode_png, from_uint8, quantize
    from foolscope.norms import l2, linf

    chosen = _chain(chain, ids, allow_extreme)
    targets = _targets(images, out)
    check_originals(([Path(chain)] if _is_file(chain) else []) + images, targets, "filtered")
    channels = None if all(item.takes_gray for item in chosen.filters) else 3
    rows: list[dict[str, Any]] = []
    for path, target in zip(images, targets, strict=True):
        image = from_uint8(decode_image(path, channels)[None])
        with torch.no_grad():
            filtered = quantize(chosen(image))
        write_bytes(target, encode_png(filtered[0]))
        rows.append(
            {
                "image": str(path),
                "file": str(target),
                "width": image.shape[3],
                "height": image.shape[2],
                "l2": round(float(l2.length(filtered - image)), 6),
                "linf": round(float(linf.length(filtered - image)), 6),
            }
        )
    _show(rows, chosen, json)


def _is_file(chain: str) -> bool:
    return chain.lower().endswith(".json")


def _chain(text: str, ids: str, allow_extreme: bool) -> Chain:
    """The chain that an argument means; files may hold any intensity that a filter takes."""
    from foolscope.errors import MissingError
    from foolscope.filters import Chain, parse_chain

    if not _is_file(text):
        return parse_chain(text, allow_extreme=allow_extreme)
    try:
        content = Path(text).read_bytes()
    except OSError as error:
        raise MissingError(f"{text}: cannot be read ({error.strerror}).") from None
    return Chain.from_json(content, ids=ids, name=text)


def _targets(images: list[Path], out: Path) -> list[Path]:
    """Where every image goes.  Raises `SpecError` where `out` is no place for them, `StorageError` for no folder."""
    from PIL import Image

    from foolscope.cli.options import check_folder
    from foolscope.errors import SpecError

    suffix = "" if out.is_dir() else out.suffix.lower()
    if suffix == ".png":
        if len(images) > 1:
            raise SpecError(f"--out {out} is one file for {len(images)} images: name a folder.")
        check_folder(out.parent)
        return [out]
    if suffix in Image.registered_extensions():
        raise SpecError(f"--out {out}: filtered images are saved as PNG, which keeps every pixel: name OUT.png.")
    check_folder(out)
    known = Counter(path.stem for path in images)
    numbered = [f"{number:03d}-{path.stem}" for number, path in enumerate(images)]
    names = [name if known[path.stem] > 1 else path.stem for name, path in zip(numbered, images, strict=True)]
    # An image may itself be called 000-a.
    return [out / f"{name}.png" for name in (names if len(set(names)) == len(names) else numbered)]


def _show(rows: list[dict[str, Any]], chain: Chain, json: bool) -> None:
    if json:
        console.print_json({"chain": chain.spec(), "title": chain.title, "images": rows})
        return
    made = console.table("image", "file", ">size", ">l2", ">linf")
    for row in rows:
        size = f"{row['width']} x {row['height']}"
        made.add_row(row["image"], row["file"], size, f"{row['l2']:.3f}", f"{row['linf']:.4f}")
    console.stdout().print(made)
