"""Reports: what an audit or an evolution found as a page to read and as data.  Nothing is computed here."""

from __future__ import annotations

from pathlib import Path

from foolscope.experiments.results import Results
from foolscope.files import replacing, write_bytes, write_json
from foolscope.report.evolution import evolution_page
from foolscope.report.evolution_export import evolution_json, write_evolution
from foolscope.report.export import to_json, to_table
from foolscope.report.html import page


def write(results: Results, folder: Path | str) -> Path:
    """Write `report.html`, `results.json` and `results.parquet` into `folder` and return the page's path.

    Each is written whole or not at all; the folder is made where it is missing.  Raises `StorageError`.
    """
    import pyarrow.parquet as pq

    folder = Path(folder)
    write_json(folder / "results.json", to_json(results))
    with replacing(folder / "results.parquet") as temporary:
        pq.write_table(to_table(results), temporary, compression="zstd")
    path = folder / "report.html"
    write_bytes(path, page(results).encode())
    return path


__all__ = ["evolution_json", "evolution_page", "page", "to_json", "to_table", "write", "write_evolution"]
