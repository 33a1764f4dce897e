"""The commands `cdc add-table` and `cdc remove-table`: tables come and go while a workflow runs, by its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dataflare.cli.administering import Capture, placed
from dataflare.cli.console import write, write_json
from dataflare.cli.surroundings import plan_of
from dataflare.errors import WorkflowError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dataflare.component import TableStanding, TakesTables
    from dataflare.plan import Node


@dataclass(frozen=True, slots=True)
class _Found:
    """How a table stands to one source of the file."""

    node: Node
    source: TakesTables
    standing: TableStanding


def add_table_command(file: Path, name: str, *, as_json: bool) -> int:
    """Look at a table that the file names, and let the workflow take it in: now where it runs."""
    with Capture(file) as capture:
        found = _standings(capture, name)
        named = [one for one in found if one.standing.stream is not None]
        if not named:
            raise _unnamed(found)
        node, standing = named[0].node, named[0].standing
        plan_of(file, capture.registry)  # raises all that is wrong with the file
        before = capture.answer("followed")
        followed = standing.followed if before is None else _followed(capture, before, standing.table) is not None
        if not followed:  # a table that was lost meanwhile is for the run to find
            with placed(node):
                named[0].source.admit(name)
        now = before if before is None or followed else capture.answer("reload")
        if now is not None and _followed(capture, now, standing.table) is None:
            raise _not_by(file, capture, f"does not name {standing.table}")
        reader = capture.reader(node.id) if now is None else ""
    if as_json:
        facts = {"table": standing.table, "stream": standing.stream, "added": not followed, "running": now is not None}
        write_json({"workflow": capture.plan.workflow, "source": node.id, **facts})
    elif followed:
        write(f"{node.id}: {standing.table} is followed already")
    else:
        by = "by the run that goes on" if now is not None else "by the next run"
        write(f"{node.id}: {standing.table} is taken in {by}")
        _note(reader)
    return 0


def remove_table_command(file: Path, name: str, *, as_json: bool) -> int:
    """Let the workflow follow a table no more that the file names no more: now where it runs."""
    with Capture(file) as capture:
        before = capture.answer("followed")
        known = _followed(capture, before, name) if before is not None else None
        found = _standings(capture, known.table if known else name)
        for one in found:
            if one.standing.stream is not None:
                what = f"{file} still names {one.standing.table}, at {one.node.id}"
                raise WorkflowError(what, hint=one.standing.lines, place=one.node.place)
        followed = [one for one in found if (known if before is not None else one.standing.followed)]
        if not followed:
            raise WorkflowError(
                f"the workflow follows no table {name}", hint="see: dataflare cdc status", place=found[0].node.place
            )
        node, standing = followed[0].node, followed[0].standing
        now = capture.answer("reload") if before is not None else None
        if now is not None and _followed(capture, now, standing.table) is not None:
            raise _not_by(file, capture, f"still names {standing.table}")
        reader = capture.reader(node.id) if now is None else ""
    if as_json:
        facts = {"table": standing.table, "running": now is not None, "statement": standing.statement}
        write_json({"workflow": capture.plan.workflow, "source": node.id, **facts})
        return 0
    by = "by the run that goes on" if now is not None else "by the next run"
    write(f"{node.id}: {standing.table} is followed no more {by}")
    _note(reader)
    if standing.statement:
        write(f"the publication is not of this workflow; if nobody else needs it there, run: {standing.statement}")
    return 0


def _note(text: str) -> None:
    if text:
        write(text)


def _standings(capture: Capture, name: str) -> list[_Found]:
    from dataflare.component import TakesTables

    sources = [(node, source) for node, source in capture.sources() if isinstance(source, TakesTables)]
    if not sources:
        raise WorkflowError(
            f"no source of {capture.plan.workflow} takes tables in while it runs", hint="stop it, and run it again"
        )
    found = []
    for node, source in sources:
        with placed(node):
            found.append(_Found(node, source, source.table_standing(name, capture.opened(node.id))))
    return found


def _unnamed(found: list[_Found]) -> WorkflowError:
    first = found[0]
    if not any(one.standing.is_there for one in found):
        return WorkflowError(
            f"there is no table {first.standing.table}",
            hint="check its name, its schema and the database",
            place=first.node.place,
        )
    what = f"the workflow file does not name {first.standing.table}"
    return WorkflowError(what, hint=first.standing.lines, place=first.node.place)


def _followed(capture: Capture, told: Mapping[str, Any], name: str) -> TableStanding | None:
    """Return how a table stands to the settings that a run goes by, where it follows it; `told` is its answer.

    The state may not know yet: it is behind the run until the next epoch.
    """
    from dataflare.component import TakesTables

    for node, source in capture.sources(told["sources"]):
        if isinstance(source, TakesTables):
            standing = source.table_standing(name, [])
            output = f"{node.id}.{standing.stream}" if standing.stream else node.id
            if standing.stream is not None and output in told["outputs"]:
                return standing
    return None


def _not_by(file: Path, capture: Capture, what: str) -> WorkflowError:
    return WorkflowError(
        f"{capture.plan.workflow} runs by another file than {file}, which {what}",
        hint="edit the file that it was started with, and name that one",
    )


__all__ = ["add_table_command", "remove_table_command"]
