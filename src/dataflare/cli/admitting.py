"""The commands `cdc add-table` and `cdc remove-table`: tables come and go while a workflow runs, by its file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.cli.administering import Capture
from dataflare.cli.console import write, write_json
from dataflare.cli.controlling import ask
from dataflare.cli.surroundings import plan_of
from dataflare.errors import UnavailableError, WorkflowError

if TYPE_CHECKING:
    from pathlib import Path

    from dataflare.component import TableStanding, TakesTables


def add_table_command(file: Path, name: str, *, as_json: bool) -> int:
    """Look at a table that the file names, and let the workflow take it in: now where it runs."""
    with Capture(file) as capture:
        found = _standings(capture, name)
        named = [one for one in found if one[2].stream is not None]
        if not named:
            raise _unnamed(found)
        node, source, standing = named[0]
        plan_of(file, capture.registry)  # raises all that is wrong with the file
        source.admit(name)
        runs, answer = (True, {}) if standing.followed else _reloaded(capture)
    stream = f"{node}.{standing.stream}" if standing.stream else node
    added = not standing.followed and (not runs or stream in answer["came"])
    if as_json:
        facts = {"table": standing.table, "stream": standing.stream, "added": added, "running": runs}
        write_json({"workflow": capture.plan.workflow, "source": node, **facts})
    elif not added:
        write(f"{node}: {standing.table} is followed already")
    else:
        by = "by the run that goes on" if runs else "by the next run"
        write(f"{node}: {standing.table} is taken in {by}")
    return 0


def remove_table_command(file: Path, name: str, *, as_json: bool) -> int:
    """Let the workflow follow a table no more that the file names no more: now where it runs."""
    with Capture(file) as capture:
        found = _standings(capture, name)
        for node, _, standing in found:
            if standing.stream is not None:
                raise WorkflowError(f"{file} still names {standing.table}, at {node}", hint=standing.lines)
        known = [one for one in found if one[2].followed]
        if not known:
            raise WorkflowError(f"the workflow follows no table {name}", hint="see: dataflare cdc status")
        node, _, standing = known[0]
        runs, _ = _reloaded(capture)
    if as_json:
        facts = {"table": standing.table, "running": runs, "statement": standing.statement}
        write_json({"workflow": capture.plan.workflow, "source": node, **facts})
        return 0
    by = "by the run that goes on" if runs else "by the next run"
    write(f"{node}: {standing.table} is followed no more {by}")
    if standing.statement:
        write(f"the publication is not of this workflow; if nobody else needs it there, run: {standing.statement}")
    return 0


def _standings(capture: Capture, name: str) -> list[tuple[str, TakesTables, TableStanding]]:
    from dataflare.component import TakesTables

    sources = [(node.id, source) for node, source in capture.sources() if isinstance(source, TakesTables)]
    if not sources:
        raise WorkflowError(
            f"no source of {capture.plan.workflow} takes tables in while it runs", hint="stop it, and run it again"
        )
    return [(node, source, source.table_standing(name, capture.opened(node))) for node, source in sources]


def _unnamed(found: list[tuple[str, TakesTables, TableStanding]]) -> WorkflowError:
    _, _, standing = found[0]
    if not any(one[2].is_there for one in found):
        return WorkflowError(f"there is no table {standing.table}", hint="check its name, its schema and the database")
    return WorkflowError(f"the workflow file does not name {standing.table}", hint=standing.lines)


def _reloaded(capture: Capture) -> tuple[bool, dict[str, Any]]:
    """Let a run go on by the file as it is now; tell whether there is one, and what it has answered."""
    try:
        return True, ask(capture.where, "reload")
    except UnavailableError:
        return False, {}


__all__ = ["add_table_command", "remove_table_command"]
