"""The commands `status`, `pause`, `resume` and `stop`: a running workflow is asked over its socket."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from dataflare.cli.console import GREEN, YELLOW, painted, table, write, write_json
from dataflare.cli.summary import counts_text
from dataflare.cli.surroundings import state_named
from dataflare.errors import UnavailableError, WorkflowError
from dataflare.executor.surroundings import TENANT, StateOf
from dataflare.schedule import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dataflare.component import StateStore
    from dataflare.state.checkpoint import CheckpointManager

STYLES = {"running": GREEN, "paused": YELLOW, "restarting": YELLOW}
EPOCH = 3
"""The last column of the table that is always shown."""
KINDS = ("committed", "runs", "agenda")
"""What a workflow may have in its state; the first it has when it has committed an epoch."""
DONE = {"pause": "is paused", "resume": "goes on", "stop": "stops after this epoch"}


def control_command(verb: str, workflow: str, state: Path | None, *, as_json: bool) -> int:
    """Ask a running workflow to do something, and say that it does.

    As JSON: what was done, the status now (`paused`, `running`, `stopping`), the attempt, the last committed epoch.
    """
    where = state_named(workflow, state)
    before = ask(where, "status") if verb == "stop" else {}  # it may have ended by the time that it has answered
    ask(where, verb)
    now = {**before, "status": "stopping"} if verb == "stop" else ask(where, "status")
    if as_json:
        facts = {key: now[key] for key in ("status", "attempt", "epoch")}
        write_json({"workflow": where.workflow, "done": verb, **facts})
    else:
        write(f"{where.workflow} {DONE[verb]}")
    return 0


def ask(where: StateOf, verb: str, **arguments: Any) -> dict[str, Any]:
    """Send a verb to a running workflow; raise UnavailableError where none runs."""
    from dataflare.executor.control import request

    if where.socket is None:
        raise UnavailableError(
            f"{where.workflow} keeps its state in memory and cannot be reached from outside",
            hint="press Ctrl-C where it runs, or give it a state of type sqlite",
        )
    return request(where.socket, verb, workflow=where.workflow, **arguments)


def status_command(workflow: str, state: Path | None, *, as_json: bool) -> int:
    """Say where a workflow stands, or every workflow of a folder of state; running or not."""
    where = state_named(workflow, state) if workflow else StateOf.folder_of(state)
    found = [{**status_of(one), **_schedule_of(one)} for one in ([where] if workflow else everyone(where))]
    if as_json:
        for status in found:
            write_json(status)
        return 0
    rows = [
        (
            s["workflow"],
            painted(s["status"], STYLES.get(s["status"], ""), sys.stdout),
            str(s["attempt"]),
            str(s["epoch"]),
            s.get("last_run", ""),
            text_of(s["next_run"]).rstrip("Z").replace("T", " ") if s.get("next_run") is not None else "",
        )
        for s in found
    ]
    head = ["workflow", "status", "attempt", "epoch", "last run", "next run (UTC)"]
    shown = [i for i, _ in enumerate(head) if i <= EPOCH or any(row[i] for row in rows)]
    write(table([head[i] for i in shown], [[row[i] for i in shown] for row in rows], right=(2, 3)))
    if workflow and any(found[0]["nodes"].values()):
        write()
        write(counts_text(found[0]["nodes"], sys.stdout))
    return 0


def status_of(where: StateOf) -> dict[str, Any]:
    """Return where a workflow stands: from itself while it runs, else from its state.

    `status` is `running`, `paused`, `restarting`, `finished` or `stopped`, whoever or whatever stopped it.
    """
    try:
        found = ask(where, "status")
    except UnavailableError:
        return _status_at_rest(where)
    except WorkflowError:  # it is there, but between two attempts
        return {**_status_at_rest(where), "status": "restarting"}
    return {**found, **_counted(found.get("nodes", {}))}


def _status_at_rest(where: StateOf) -> dict[str, Any]:
    from dataflare.component import Registry
    from dataflare.executor.runtime import LocalRuntime

    with where.existing_store(Registry.installed(), LocalRuntime()) as store:
        manager = manager_of(store, where.workflow)
        proposals, infos = manager.proposals(), manager.checkpoints()
        began = [key for kind in KINDS for key in store.keys(f"{TENANT}/{where.workflow}/{kind}/")]
    if not began and not proposals:
        known = f"{where.workflow} has committed nothing yet in {where.folder}"
        raise UnavailableError(known, hint="see all workflows of that state with: dataflare status")
    newest = proposals[-1] if proposals else None
    return {
        "workflow": where.workflow,
        "status": "finished" if infos and infos[-1].status == "finished" else "stopped",
        "attempt": newest.attempt if newest else 0,
        "epoch": newest.epoch if newest else 0,
        **_counted(newest.totals if newest else {}),
    }


def _schedule_of(where: StateOf) -> dict[str, Any]:
    """Return how the last run ended and when the next is planned for, as far as there are any."""
    from dataflare.component import Registry
    from dataflare.executor.runtime import LocalRuntime
    from dataflare.operate.agenda import AgendaLog
    from dataflare.operate.history import History
    from dataflare.security.codec import Codec

    if where.folder is None or not (where.folder / "state.db").exists():
        return {}
    with where.store(Registry.installed(), LocalRuntime()) as store:
        agenda = AgendaLog(store, Codec(), where.workflow, tenant=TENANT).read()
        last = [r for r in History(store, Codec(), where.workflow, tenant=TENANT).newest(5) if not r.open]
    found = {"last_run": last[-1].status} if last else {}
    return {**found, **({"next_run": agenda.next} if agenda is not None else {})}


def manager_of(store: StateStore[Any], workflow: str) -> CheckpointManager:
    """Return the checkpoints of a workflow."""
    from dataflare.security.codec import Codec
    from dataflare.state.checkpoint import CheckpointManager

    return CheckpointManager(store, Codec(), workflow, tenant=TENANT)


def everyone(where: StateOf) -> list[StateOf]:
    """Return every workflow that has begun something on a folder of state, that runs on it, or has a schedule there."""
    from dataflare.component import Registry
    from dataflare.executor.runtime import LocalRuntime

    with where.existing_store(Registry.installed(), LocalRuntime()) as store:
        names = {key.split("/")[1] for key in store.keys(f"{TENANT}/") if key.split("/")[2] in KINDS}
    names |= {path.stem for path in where.folder.glob("*.sock")} if where.folder else set()
    return [StateOf(name, where.settings, where.directory) for name in sorted(names)]


def _counted(totals: Mapping[str, Mapping[str, int]]) -> dict[str, Mapping[str, Mapping[str, float]]]:
    """Return rows by node and fate, the rows that fail each rule, and what plugins have counted, where there is any."""
    from dataflare.state.ledger import BESIDE, metrics, notes

    nodes = {
        n: {f"rows_{k.removeprefix('rows_')}": v for k, v in kinds.items() if not k.startswith(BESIDE)}
        for n, kinds in totals.items()
    }
    rules = {n: told for n, kinds in totals.items() if (told := notes(kinds))}
    counted = {n: found for n, kinds in totals.items() if (found := metrics(kinds))}
    return {"nodes": nodes, **({"rules": rules} if rules else {}), **({"metrics": counted} if counted else {})}
