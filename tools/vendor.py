"""Fetch the page's vendored modules from npm: for developers, after `VERSIONS` was changed.

    .venv/bin/python tools/vendor.py

Each package is fetched by `npm pack`, which checks its integrity.  Of each module one file is copied, with the bare
specifiers of its imports rewritten to relative paths, so that the page needs no import map, which its policy would
refuse, and without the reference to a source map, which is not shipped.  `manifest.json` says what came from where.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path

VENDOR = Path(__file__).parents[1] / "src" / "foolscope" / "web" / "static" / "vendor"

VERSIONS = {
    "preact": "11.2.0",
    "htm": "3.1.1",
    "@preact/signals-core": "1.14.5",
    "@preact/signals": "2.11.4",
}

MODULES = {
    "preact": ("preact", "dist/preact.mjs", "preact.js"),
    "preact/hooks": ("preact", "hooks/dist/hooks.mjs", "hooks.js"),
    "htm": ("htm", "dist/htm.mjs", "htm.js"),
    "@preact/signals-core": ("@preact/signals-core", "dist/signals-core.mjs", "signals-core.js"),
    "@preact/signals": ("@preact/signals", "dist/signals.mjs", "signals.js"),
}
"""Bare specifier to package, file inside it, and its name here."""

_IMPORT = re.compile(r"""(\bfrom\s*|\bimport\s*)(["'])([^"'.][^"']*)\2""")
_SOURCE_MAP = re.compile(r"\n?//# sourceMappingURL=.*\s*$")


def main() -> None:
    """Fetch all packages and write their modules, licences and the manifest."""
    VENDOR.mkdir(parents=True, exist_ok=True)
    entries = []
    with tempfile.TemporaryDirectory() as folder:
        packages = {name: _packed(name, version, Path(folder)) for name, version in VERSIONS.items()}
        for specifier, (package, inside, name) in MODULES.items():
            text = rewritten(_read(packages[package], inside))
            (VENDOR / name).write_text(text, encoding="utf-8")
            about = json.loads(_read(packages[package], "package.json"))
            licence = f"LICENSE-{package.lstrip('@').replace('/', '-')}.txt"
            (VENDOR / licence).write_text(_read(packages[package], "LICENSE"), encoding="utf-8")
            entries.append(
                {
                    "file": name,
                    "module": specifier,
                    "package": package,
                    "version": about["version"],
                    "license": about["license"],
                    "license_file": licence,
                    "sha256": hashlib.sha256(text.encode()).hexdigest(),
                }
            )
    (VENDOR / "manifest.json").write_text(json.dumps({"modules": entries}, indent=2) + "\n", encoding="utf-8")


def rewritten(text: str) -> str:
    """A module's text with its bare import specifiers made relative, and without its source map's address.

    Raises `KeyError` for an import of something that is not vendored.
    """
    text = _IMPORT.sub(lambda found: f'{found[1]}"./{MODULES[found[3]][2]}"', text)
    return _SOURCE_MAP.sub("", text).rstrip() + "\n"


def _packed(name: str, version: str, folder: Path) -> Path:
    """The path of a package's archive, fetched by npm into `folder`."""
    command = ["npm", "pack", "--silent", "--pack-destination", str(folder), f"{name}@{version}"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder)
    return folder / done.stdout.split()[-1]


def _read(archive: Path, inside: str) -> str:
    with tarfile.open(archive) as opened:
        member = opened.extractfile(f"package/{inside}")
        if member is None:
            raise FileNotFoundError(f"{archive.name} has no {inside}")
        return member.read().decode("utf-8")


if __name__ == "__main__":
    main()
