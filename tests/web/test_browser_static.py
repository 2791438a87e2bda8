"""The page's files: vendored modules are what the manifest says, and all of them keep the page's rules."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from foolscope.web.app import STATIC
from tests.support import ROOT

VENDOR = STATIC / "vendor"
MANIFEST = json.loads((VENDOR / "manifest.json").read_text())["modules"]
MODULES = sorted((STATIC / "js").rglob("*.js"))
_LONGEST = 200


def test_five_modules_are_vendored_and_nothing_else() -> None:
    names = {one["file"] for one in MANIFEST}
    assert names == {"preact.js", "hooks.js", "htm.js", "signals-core.js", "signals.js"}
    assert {path.name for path in VENDOR.iterdir()} == {
        *names, "manifest.json", *(one["license_file"] for one in MANIFEST),
    }  # fmt: skip


@pytest.mark.parametrize("entry", MANIFEST, ids=lambda entry: entry["file"])
def test_a_vendored_module_is_the_one_in_the_manifest(entry: dict[str, str]) -> None:
    content = (VENDOR / entry["file"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == entry["sha256"]
    assert entry["license"] in ("MIT", "Apache-2.0")
    assert re.fullmatch(r"\d+\.\d+\.\d+", entry["version"])
    assert len((VENDOR / entry["license_file"]).read_text()) > 500


def test_the_manifest_names_the_versions_that_the_script_fetches() -> None:
    script = (ROOT / "tools" / "vendor.py").read_text()
    for one in MANIFEST:
        assert f'"{one["package"]}": "{one["version"]}"' in script


@pytest.mark.parametrize("path", [*MODULES, *VENDOR.glob("*.js")], ids=lambda path: str(path.relative_to(STATIC)))
def test_a_module_imports_files_of_the_page_alone(path: Path) -> None:
    text = path.read_text()
    specifiers = re.findall(r"""\b(?:from|import)\s*\(?["']([^"']+)["']""", text)
    for specifier in specifiers:
        assert specifier.startswith("."), specifier
        assert (path.parent / specifier).resolve().is_file(), specifier


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(STATIC)))
def test_a_module_is_short_checked_and_stays_on_its_host(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("// @ts-check\n/**")
    assert text.count("\n") <= _LONGEST
    assert not re.search(r"https?://(?!www\.w3\.org/)", text)
    assert not re.search(r"\binnerHTML|dangerouslySetInnerHTML|\beval\(|new Function", text)


def test_the_document_has_no_inline_script_or_style() -> None:
    text = (STATIC / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=", text)
    assert re.findall(r"<script[^>]*>(.*?)</script>", text) == [""]
    for place in re.findall(r'(?:href|src)="([^"]+)"', text):
        assert place.startswith("/static/")
        assert (STATIC / place.removeprefix("/static/")).is_file()


def test_style_sheets_load_nothing() -> None:
    for path in (STATIC / "css").glob("*.css"):
        assert "url(" not in path.read_text()
        assert "@import" not in path.read_text()
