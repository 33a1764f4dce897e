"""`dataflare plugin inspect`: what a plugin is, what it asks for, and whose it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataflare.cli.console import write, write_json
from dataflare.plugin.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Mapping


def inspect_command(what: str, *, as_json: bool) -> int:
    """Say it, as lines or as one value of JSON; raise DataFlareError where it cannot be read."""
    told = told_of(Manifest.read(Path(what)))
    if as_json:
        write_json(told)
        return 0
    wide = max(map(len, told))
    for name, value in told.items():
        write(f"{name:{wide}}  {value}")
    return 0


def told_of(manifest: Manifest) -> Mapping[str, Any]:
    """Return what a manifest says."""
    return {
        "name": manifest.name,
        "version": manifest.version,
        "description": manifest.description,
        "language": manifest.language,
        "entry": manifest.entry,
        "interface": manifest.interface,
        "capabilities": manifest.capabilities.as_json(),
        "limits": {"memory_bytes_max": manifest.memory_bytes_max, "seconds_max": manifest.seconds_max},
        "settings": dict(manifest.settings),
    }


__all__ = ["inspect_command", "told_of"]
