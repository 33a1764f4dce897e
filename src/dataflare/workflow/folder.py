"""Finds the workflow files of a folder."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = (".yaml", ".yml", ".json")
FILES_MAX = 10_000
_TESTS = ".test"
_KEYS = re.compile(rb"""^[{\s]*["']?(sources|sinks|destinations|transformations|transforms)["']?\s*:""", re.MULTILINE)


def workflow_files(folder: Path) -> list[Path]:
    """Return the files directly in a folder that look like workflows, by name; at most 10,000.

    These are YAML and JSON files with one of the words that a workflow is made of at the beginning of a line. Hidden
    files and files of tests are none.
    """
    found = (p for p in sorted(folder.iterdir()) if may_be_one(p.name) and p.is_file() and _looks_like_one(p))
    return [path for path, _ in zip(found, range(FILES_MAX), strict=False)]


def may_be_one(name: str) -> bool:
    """Tell whether a file may be a workflow by its name."""
    stem, dot, suffix = name.rpartition(".")
    return f"{dot}{suffix}" in SUFFIXES and not name.startswith(".") and not stem.endswith(_TESTS)


def reads_like_one(text: bytes) -> bool:
    """Tell whether a text looks like a workflow."""
    return _KEYS.search(text) is not None


def _looks_like_one(path: Path) -> bool:
    try:
        return reads_like_one(path.read_bytes())
    except OSError:
        return True  # whoever reads it says why it cannot be read


__all__ = ["may_be_one", "reads_like_one", "workflow_files"]
