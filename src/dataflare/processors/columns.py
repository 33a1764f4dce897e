"""Says which columns a setting may name, and which one was meant."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from dataflare.errors import WorkflowError

if TYPE_CHECKING:
    from collections.abc import Iterable


def known(names: Iterable[str], columns: Iterable[str], setting: str) -> None:
    """Raise WorkflowError for the first name that is no column."""
    listed = list(columns)
    for name in names:
        if name not in listed:
            raise WorkflowError(f"{setting}: there is no column {name!r}", hint=near(name, listed))


def near(name: str, names: Iterable[str]) -> str:
    """Return the hint for a name that is not one of `names`."""
    listed = list(names)
    found = difflib.get_close_matches(name, listed, n=1)
    return f"did you mean {found[0]!r}?" if found else f"known: {', '.join(listed)}"


def free(name: str, taken: Iterable[str]) -> str:
    """Return a name that no column has, whatever its case."""
    used = {n.lower() for n in taken}
    while name.lower() in used:
        name += "_"
    return name


__all__ = ["free", "known", "near"]
