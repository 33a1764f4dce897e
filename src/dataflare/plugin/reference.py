"""How a workflow names a plugin: a file by its ending, an installed one as `price` or `price@1.2.0`."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from dataflare.errors import WorkflowError
from dataflare.plugin.manifest import ENTRIES
from dataflare.plugin.package import ENDING
from dataflare.plugin.semantic_version import Version

_REFERENCE = re.compile(r"(?P<name>[a-z][a-z0-9-]{0,63})(@(?P<version>[0-9A-Za-z.+-]+))?")
_ENDINGS = {ENDING, *(ending for endings in ENTRIES.values() for ending in endings)}


def is_package_file(reference: str) -> bool:
    """Tell whether a reference names a package by its path."""
    return reference.lower().endswith(ENDING)


def is_installed(reference: str) -> bool:
    """Tell whether a reference names an installed plugin, and no file."""
    return _REFERENCE.fullmatch(reference) is not None and PurePosixPath(reference).suffix not in _ENDINGS


def name_and_version(reference: str) -> tuple[str, str]:
    """Return name and version of an installed plugin, "" for the newest one; raise WorkflowError for other texts."""
    found = _REFERENCE.fullmatch(reference)
    if not found or not (found["version"] is None or Version.is_valid(found["version"])):
        raise WorkflowError(
            f"{reference[:100]!r} is no plugin",
            hint="an installed one is named as price or price@1.2.0, a file by its ending",
        )
    return found["name"], found["version"] or ""


__all__ = ["is_installed", "is_package_file", "name_and_version"]
