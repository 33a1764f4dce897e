"""The commands `history` and `trigger`: which runs there were, and what asks for the next one."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dataflare.cli.board import COLOURS
from dataflare.cli.console import painted, table, write, write_json
from dataflare.cli.controlling import ask, everyone
from dataflare.cli.surroundings import state_named
from dataflare.errors import UnavailableError, WorkflowError
from dataflare.executor.surroundings import STATE, TENANT, StateOf
from dataflare.schedule import text_of

if TYPE_CHECKING:
    from pathlib import Path

    from dataflare.operate.history import RunRecord

STATUSES = ("running", "succeeded", "failed", "stopped", "skipped", "interrupted")
HEAD = ("workflow", "no", "trigger", "status", "began (UTC)", "took", "read", "written", "dead", "said")
RIGHT = (1, 5, 6, 7, 8)


def history_command(workflow: str, state: Path | None, last: int, status: str, *, as_json: bool) -> int:
    """Print the last runs of a workflow, or of every workflow of a folder of state, oldest first."""
    from dataflare.component import Registry
    from dataflare.executor.runtime import LocalRuntime
    from dataflare.operate.history import History
    from dataflare.security.codec import Codec

    if status and status not in STATUSES:
        raise WorkflowError(f"there is no status {status!r} of runs", hint=f"one of {', '.join(STATUSES)}")
    where = state_named(workflow, state) if workflow else StateOf.folder_of(state)
    found: list[tuple[str, RunRecord, str]] = []
    for one in [where] if workflow else everyone(where):
        with one.existing_store(Registry.installed(), LocalRuntime()) as store:
            history = History(store, Codec(), one.workflow, tenant=TENANT)
            records = history.newest(len(history.numbers()) if status else last)
        found += [(one.workflow, record, word) for record, word in zip(records, _words(one, records), strict=True)]
    shown = sorted((f for f in found if status in ("", f[2])), key=lambda f: f[1].began)[-last:]
    if as_json:
        for name, record, word in shown:
            write_json({"workflow": name, **asdict(record), "status": word})
    elif shown:
        write(table(HEAD, [_row(*one) for one in shown], right=RIGHT))
    else:
        write(f"there is no run{f' of {where.workflow}' if workflow else ''} in {where.folder or STATE} that fits")
    return 0


def trigger_command(event: str, state: Path | None, *, as_json: bool) -> int:
    """Publish an event: workflows of this state whose schedule waits for it are run."""
    import os

    from dataflare.clock import SystemClock
    from dataflare.component import Registry
    from dataflare.executor.runtime import LocalRuntime
    from dataflare.operate.senses import EventLog
    from dataflare.security.codec import Codec

    where = StateOf.folder_of(state)
    with where.existing_store(Registry.installed(), LocalRuntime()) as store:
        log = EventLog(store, Codec(), tenant=TENANT)
        number = log.publish(event, SystemClock().now(), f"uid:{os.getuid()}")
    if as_json:
        write_json({"event": event, "number": number})
    else:
        write(f"{event} is event {number} of {where.folder}")
    return 0


def _words(where: StateOf, records: list[RunRecord]) -> list[str]:
    """Return the status of each; a run without an end that nobody runs now was interrupted."""
    words = [record.status for record in records]
    unfinished = [place for place, record in enumerate(records) if record.open]
    if unfinished:
        alive = _runs_now(where)
        for place in unfinished[:-1] if alive else unfinished:
            words[place] = "interrupted"
    return words


def _runs_now(where: StateOf) -> bool:
    try:
        ask(where, "status")
    except UnavailableError:
        return False
    except WorkflowError:  # between two attempts
        return True
    return True


def _row(workflow: str, record: RunRecord, word: str) -> tuple[str, ...]:
    rows: dict[str, Any] = dict(record.rows or {})
    took = f"{(record.ended - record.began) / 1e6:,.1f} s" if record.ended and record.tries else ""
    counts = [f"{rows[kind]:,}" if rows.get(kind) else "" for kind in ("read", "written", "dead")]
    began = text_of(record.began // 1_000_000 * 1_000_000).rstrip("Z").replace("T", " ")
    tries = f"{record.tries} tries; " if record.tries > 1 else ""
    made_up = f"makes up for {record.missed} missed; " if record.missed else ""
    more = "there is more to read; " if record.more else ""
    key = f"called with key {record.key}; " if record.key else ""
    said = f"{tries}{made_up}{key}{more}{record.message}".removesuffix("; ")
    status = painted(word, COLOURS.get(word, ""), sys.stdout)
    return workflow, str(record.number), record.trigger, status, began, took, *counts, said


__all__ = ["history_command", "trigger_command"]
