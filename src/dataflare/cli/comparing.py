"""The command `schema diff`: which columns are not as they were, and what a run would do about it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from dataflare.cli.console import GREEN, RED, YELLOW, painted, table, write, write_json
from dataflare.cli.controlling import manager_of
from dataflare.cli.surroundings import state_named
from dataflare.errors import InvalidWorkflowError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dataflare.component import Registry
    from dataflare.workflow.differing import ColumnDifference

DIFFERENT = 1
_COLOURS = {"evolve": GREEN, "ignore": YELLOW, "refuse": RED}


def diff_command(file: Path, state: Path | None, *, as_json: bool) -> int:
    """Print what differs, nothing where all is the same; return 1 where something does.

    Raises InvalidWorkflowError, after that, where the workflow does not go with the columns that there are now.
    """
    from dataflare.component import Registry
    from dataflare.workflow import Written
    from dataflare.workflow.differing import column_differences

    registry = Registry.installed()
    memory = _remembered(file, state, registry)
    try:
        written = Written(file, file.read_bytes(), memory)
    except OSError as error:
        raise UnavailableError(f"{file} cannot be read: {error.strerror}", hint="check the path") from error
    found, findings = column_differences(written, registry, os.environ)
    for part in found if as_json else ():
        write_json(part.as_json())
    if found and not as_json:
        write("\n\n".join(_tables(found)))
    if any(f.severity == "error" for f in findings):
        raise InvalidWorkflowError(findings)
    return DIFFERENT if found else 0


def _remembered(file: Path, state: Path | None, registry: Registry) -> dict[str, Any] | None:
    """Return what the state knows of columns; None where the workflow has not run."""
    from dataflare.executor.evolving import remembered
    from dataflare.executor.runtime import LocalRuntime

    where = state_named(str(file), state)
    if not where.is_there:
        return None
    runtime = LocalRuntime()
    try:
        with where.existing_store(registry, runtime) as store:
            return remembered(manager_of(store, where.workflow))
    finally:
        runtime.close()


def _tables(found: Sequence[ColumnDifference]) -> list[str]:
    """Return a table of what sources have, and one of what destinations would do."""
    from dataflare.plan import NodeKind

    sources = [d for d in found if d.kind is NodeKind.SOURCE]
    ends = [d for d in found if d.kind is NodeKind.DESTINATION]
    parts = []
    if sources:
        rows = [(d.where, d.column, d.change, d.was, d.now, _then(d)) for d in sources]
        parts.append(table(("source", "column", "change", "was", "is", "then"), rows))
    if ends:
        cells = [(d.node, d.where, d.column, d.change, d.was, d.now, _then(d), d.statement) for d in ends]
        head = ("destination", "table", "column", "change", "is", "becomes", "then", "statement")
        parts.append(table(head, cells))
    return parts


def _then(difference: ColumnDifference) -> str:
    effect = painted(difference.effect, _COLOURS[difference.effect], sys.stdout)
    return f"{effect}: {difference.meaning}" if difference.meaning else effect


__all__ = ["diff_command"]
