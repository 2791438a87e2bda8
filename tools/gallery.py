"""The gallery of the docs: reduced figures of finished runs, and their key numbers beside the seed's.

    foolscope run jpeg-epsilon --data mnist --out runs/jpeg-epsilon-mnist        # and so on
    python tools/gallery.py runs

Reads `run.json` and `figures/` of every folder in `runs` and writes docs/gallery.md and docs/images/gallery/, whole:
what is there of other runs is removed.  Nothing is computed.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from foolscope.experiments.catalog import EXPERIMENTS

ROOT = Path(__file__).parents[1]
LARGEST = 100_000
"""Bytes of a reduced figure at most."""

FIGURES = 2
"""Figures shown of each run at most."""

WIDTHS = (900, 760, 640, 520, 420)
COLORS = (128, 64, 32)


@dataclass(frozen=True)
class Run:
    """A finished run: its folder and its `run.json`."""

    folder: Path
    content: dict[str, Any]

    @property
    def name(self) -> str:
        """The experiment's name."""
        return str(self.content["about"]["experiment"])

    @property
    def title(self) -> str:
        """'mnist, 1,000 of 10,000 test images'."""
        data = self.content["about"]["data"]
        preview = ", a preview" if data["preview"] else ""
        return f"{Path(data['spec']).name}, {data['images']:,} of {data['of']:,} {data['split']} images{preview}"

    @property
    def command(self) -> str:
        """The command that repeats it; where a folder lies here means nothing elsewhere."""
        command, spec = str(self.content["about"]["command"]), self.content["about"]["data"]["spec"]
        return command.replace(spec, "folder:PATH") if spec.startswith("folder:") else command

    @property
    def figures(self) -> list[str]:
        """The names of its figures; of a folder's images, which are not ours to show, those alone that show numbers."""
        names: list[str] = self.content["figures"]
        foreign = self.content["about"]["data"]["spec"].startswith("folder:")
        return [name for name in names if not foreign or (self.folder / "data" / f"{name}.csv").is_file()]


def runs(folder: Path) -> list[Run]:
    """The runs in a folder, in the catalog's order."""
    found = [Run(path.parent, json.loads(path.read_text())) for path in sorted(folder.glob("*/run.json"))]
    order = list(EXPERIMENTS)
    return sorted(found, key=lambda run: order.index(run.name))


def reduced(picture: Path) -> bytes:
    """A PNG of at most `LARGEST` bytes: as wide, then with as many colors as that allows."""
    with Image.open(picture) as opened:
        whole = opened.convert("RGB")
    for width in WIDTHS:
        for colors in COLORS:
            size = (min(width, whole.width), round(whole.height * min(1.0, width / whole.width)))
            small = whole.resize(size, Image.Resampling.LANCZOS).quantize(colors, dither=Image.Dither.NONE)
            buffer = io.BytesIO()
            small.save(buffer, "PNG", optimize=True)
            if buffer.tell() <= LARGEST:
                return buffer.getvalue()
    raise SystemExit(f"{picture} cannot be made smaller than {LARGEST} bytes")


def shown(value: Any) -> str:
    """A value of `run.json` in a table: shares in percent with their interval."""
    if isinstance(value, dict):
        scale, unit = (100, " %") if "trials" in value else (1, "")
        ends = [f"{scale * value[key]:.3g}" for key in ("low", "high") if value[key] is not None]
        between = f" [{', '.join(ends)}]" if len(ends) == 2 else ""  # of a single value there is none
        return f"{scale * value['value']:.3g}{unit}{between}"
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value or "")


def page(found: list[Run], images: Path) -> Iterator[str]:
    """The lines of gallery.md; writes the figures."""
    yield "# Gallery"
    yield ""
    yield "Made by `python tools/gallery.py RUNS` from finished runs, whose commands it names:"
    yield "[experiments.md](experiments.md) tells of them. The page that `foolscope run` writes has all figures."
    for run in found:
        kind = EXPERIMENTS[run.name]
        yield ""
        yield f"## {run.name}: {run.title}"
        yield ""
        yield f"`{run.command}` ({kind.figure}). The seed: {kind.told()['seed']}"
        yield ""
        yield from (f"- {sentence}" for sentence in run.content["told"])
        for figure in run.figures[:FIGURES]:
            file = images / f"{run.folder.name}-{figure}.png"
            file.write_bytes(reduced(run.folder / "figures" / f"{figure}.png"))
            yield ""
            yield f"![{run.name}, {figure}](images/gallery/{file.name})"
    yield ""
    yield "## Seed, ours, why"
    yield ""
    yield "| experiment | what | seed | ours | why they differ |"
    yield "|---|---|---|---|---|"
    for run in found:
        for row in run.content["compared"]:
            cells = (f"{run.name}, {Path(run.content['about']['data']['spec']).name}", row["what"], row["seed"] or "",
                     shown(row["ours"]), row["why"])  # fmt: skip
            yield f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def main() -> None:
    """Write the gallery."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder with a folder of each run")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder to write into")
    asked = parser.parse_args()
    found = runs(asked.runs)
    if not found:
        raise SystemExit(f"{asked.runs} has no folder with a run.json: foolscope run NAME --out {asked.runs}/NAME")
    images = asked.docs / "images" / "gallery"
    shutil.rmtree(images, ignore_errors=True)
    images.mkdir(parents=True)
    (asked.docs / "gallery.md").write_text("\n".join(page(found, images)) + "\n")
    print(f"{len(found)} runs: {asked.docs / 'gallery.md'}")


if __name__ == "__main__":
    main()
