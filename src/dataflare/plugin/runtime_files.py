"""Where the components are that run scripts: in here, or in packages of their own, which are found by entry point."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path

from dataflare.errors import UnavailableError

GROUP = "dataflare_plugin_runtime"
"""An entry point of this group is called as the runtime is, and is the path of a component, packed by xz.

It does not begin with `dataflare.`: what does is a component of workflows.
"""
_OTHERS = {"python": "dataflare-python-runtime"}


def runtime_file(name: str) -> Path:
    """Return the path of a component, packed by xz; raise UnavailableError where its package is not installed."""
    package = _OTHERS.get(name)
    if package is None:
        return Path(__file__).with_name("runtimes") / f"{name}.wasm.xz"
    for entry in entry_points(group=GROUP, name=name):
        try:
            path = Path(entry.load())
        except ImportError:
            continue
        if path.is_file():
            return path
    raise UnavailableError(
        f"plugins in {name.capitalize()} need the package {package}, which is not installed",
        hint=f"pip install {package}; in a checkout of DataFlare: make python-runtime",
    )


@lru_cache(maxsize=16)
def runtime_digest(name: str) -> str:
    """Return what changes whenever a component does."""
    return hashlib.sha256(runtime_file(name).read_bytes()).hexdigest()


__all__ = ["GROUP", "runtime_digest", "runtime_file"]
