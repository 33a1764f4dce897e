"""The commands `checkpoint ...`: look at epochs, take one now, go back to one, carry one elsewhere."""

from __future__ import annotations

import asyncio
import os
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dataflare.cli.console import say_warning, table, write, write_json
from dataflare.cli.controlling import ask, manager_of
from dataflare.cli.surroundings import plan_of, state_named
from dataflare.errors import Finding, StateError, UnavailableError, WorkflowError
from dataflare.executor.surroundings import TENANT, Secrets, StateOf
from dataflare.security.codec import Codec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dataflare.component import Epoch, Registry, Runtime
    from dataflare.plan import Plan
    from dataflare.state.checkpoint import CheckpointManager, Proposal


def list_command(workflow: str, state: Path | None, *, as_json: bool) -> int:
    """Print the epochs that are kept, oldest first."""
    with _kept(workflow, state, as_json=as_json) as manager:
        infos = manager.checkpoints()
    if as_json:
        for info in infos:
            write_json(asdict(info))
        return 0
    if not infos:
        write(f"{workflow} has committed nothing that is kept; see all workflows of a state with: dataflare status")
        return 0
    rows = [(str(i.epoch), str(i.attempt), i.status, _time(i.epoch_time), f"{i.rows:,}") for i in infos]
    write(table(("epoch", "attempt", "status", "time (UTC)", "rows read"), rows, right=(0, 1, 4)))
    return 0


def show_command(workflow: str, epoch: int, state: Path | None, *, as_json: bool) -> int:
    """Print all that an epoch remembers."""
    with _kept(workflow, state, as_json=as_json) as manager:
        found = next((p.shown() for p in reversed(manager.proposals()) if p.epoch == epoch), None)
        status = next((i.status for i in reversed(manager.checkpoints()) if i.epoch == epoch), "")
    if found is None:
        raise StateError(f"there is no epoch {epoch}", hint=f"see: dataflare checkpoint list {workflow}")
    if as_json:
        write_json({"status": status, **asdict(found)})
        return 0
    write(_page(found, status))
    return 0


def now_command(workflow: str, state: Path | None, *, as_json: bool) -> int:
    """Let a running workflow seal an epoch now, and wait until it is committed."""
    where = state_named(workflow, state)
    epoch = ask(where, "checkpoint").get("value")
    if as_json:
        write_json({"workflow": where.workflow, "epoch": epoch})
    else:
        write(f"{where.workflow} has committed epoch {epoch}")
    return 0


def rollback_command(file: Path, epoch: int, *, as_json: bool) -> int:
    """Let the next run go on from an older epoch; what destinations hold stays there."""
    with _owned(file, as_json=as_json) as (plan, manager, decided):
        proposal = manager.rollback(epoch, decided, has_decider=plan.decider() is not None, now=_now())
    return _taken_over(plan, proposal, f"from epoch {epoch}, kept as epoch {proposal.epoch}", as_json=as_json)


def export_command(workflow: str, target: Path, epoch: int | None, state: Path | None, *, as_json: bool) -> int:
    """Write a committed epoch, the newest by default, into one file, whole or not at all."""
    with _kept(workflow, state, as_json=as_json) as manager:
        if epoch is None and manager.records.passed_over:
            raise StateError(
                "the newest epoch may be the one that cannot be read",
                hint=f"say which one: dataflare checkpoint export {workflow} {target} --epoch N; "
                f"see: dataflare checkpoint list {workflow}",
            )
        data = manager.export(epoch)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UnavailableError(
            f"the savepoint {target} cannot be written: {error.strerror}", hint="name a file in a folder that is there"
        ) from error
    if as_json:
        write_json({"workflow": workflow, "file": str(target), "bytes": len(data)})
    else:
        write(f"{target}: {len(data):,} bytes")
    return 0


def import_command(file: Path, savepoint: Path, *, as_json: bool) -> int:
    """Let the next run of a workflow go on from a savepoint."""
    _check_file(file)
    try:
        data = savepoint.read_bytes()
    except OSError as error:
        raise UnavailableError(
            f"the savepoint {savepoint} cannot be read: {error.strerror}",
            hint="name a file that `dataflare checkpoint export` wrote",
        ) from error
    try:
        Codec().decode(data)
    except StateError as error:
        raise StateError(
            f"{savepoint} is no savepoint, or not whole: {error.what}", hint="name a file that `export` wrote"
        ) from error
    with _owned(file, as_json=as_json) as (plan, manager, decided):
        proposal = manager.restore(data, decided, _now())
    return _taken_over(plan, proposal, f"from {savepoint}, kept as epoch {proposal.epoch}", as_json=as_json)


@contextmanager
def _kept(workflow: str, state: Path | None, *, as_json: bool) -> Iterator[CheckpointManager]:
    """Give the checkpoints of a workflow for reading; it may run meanwhile. Damaged records are told, not read."""
    from dataflare.component import Registry
    from dataflare.executor.runtime import LocalRuntime

    where = state_named(workflow, state)
    with where.existing_store(Registry.installed(), LocalRuntime()) as store:
        manager = manager_of(store, where.workflow)
        _pass_over_damaged(manager, as_json=as_json)
        yield manager


@contextmanager
def _owned(file: Path, *, as_json: bool) -> Iterator[tuple[Plan, CheckpointManager, Epoch | None]]:
    """Give the checkpoints of a workflow that does not run, and the epoch that its decider holds.

    Damaged records are told, not read, and removed when something has taken their place.
    """
    from dataflare.component import Registry
    from dataflare.executor.runtime import LocalRuntime

    _check_file(file)
    registry, runtime = Registry.installed(), LocalRuntime()
    plan = plan_of(file, registry)
    where = StateOf.of_plan(plan)
    try:
        with where.store(registry, runtime) as store:
            store.lease(f"{TENANT}/{plan.workflow}")  # given back when the store is closed
            manager = manager_of(store, plan.workflow)
            _pass_over_damaged(manager, as_json=as_json)
            yield plan, manager, asyncio.run(_decided(plan, registry, runtime, manager))
    finally:
        runtime.close()


def _check_file(file: Path) -> None:
    if not file.is_file():
        raise WorkflowError(
            f"{file} is no workflow file", hint="the file is needed: it names the destination that decides epochs"
        )


def _pass_over_damaged(manager: CheckpointManager, *, as_json: bool) -> None:
    damaged = manager.damaged()
    for error in damaged.values():
        what = f"{error.what}; this record is passed over"
        say_warning(Finding("warning", error.code, what, place=error.place), as_json=as_json)
    manager.pass_over(damaged)


async def _decided(plan: Plan, registry: Registry, runtime: Runtime, manager: CheckpointManager) -> Epoch | None:
    """Ask the destination that decides for its newest epoch, as a new attempt, so that no zombie adds one later."""
    from dataflare.executor.faults import invoke
    from dataflare.executor.graph import task_graph
    from dataflare.executor.job import Job

    name = plan.decider()
    if name is None:
        return None
    attempt = manager.begin_attempt(runtime.clock.now())
    graph = task_graph(plan, registry)
    job = Job(plan, graph, registry, runtime, manager, attempt, tenant=TENANT, resolve=Secrets(plan))
    decider: Any = job.component(plan.node(name), 0, 1, lambda: 0)
    try:
        await invoke(runtime, name, decider.open)
        epoch: Epoch | None = await invoke(runtime, name, decider.last_epoch)
    finally:
        await invoke(runtime, name, decider.close)
    return epoch


def _taken_over(plan: Plan, proposal: Proposal, text: str, *, as_json: bool) -> int:
    if as_json:
        write_json({"workflow": plan.workflow, "epoch": proposal.epoch, "attempt": proposal.attempt})
    else:
        write(f"the next run of {plan.workflow} goes on {text}")
    return 0


def _page(proposal: Proposal, status: str) -> str:
    import json

    facts = [
        ("epoch", str(proposal.epoch)),
        ("attempt", str(proposal.attempt)),
        ("status", status),
        ("time (UTC)", _time(proposal.epoch_time)),
        ("last", "yes" if proposal.last else "no"),
        ("revision", proposal.revision),
    ]
    rows = [
        (node, f"{kinds.get('out', 0):,}", f"{proposal.totals.get(node, {}).get('out', 0):,}")
        for node, kinds in proposal.counts.items()
    ]
    edges = [(e, f"{of['rows']:,}", of["hash"], f"{of['rows_total']:,}") for e, of in proposal.edges.items()]
    positions = [(n, json.dumps(p, ensure_ascii=False)) for n, p in proposal.positions.items()]
    held = [(n, _count(len(keys), "snapshot")) for n, keys in proposal.state.items()]
    held += [(n, _count(len(handles), "handle")) for n, handles in proposal.handles.items()]
    parts = [table(("", ""), [fact for fact in facts if fact[1]]).lstrip("\n")]
    parts += [table(("node", "rows out", "since the start"), rows, right=(1, 2))] if rows else []
    parts += [table(("edge", "rows", "hash", "since the start"), edges, right=(1, 3))] if edges else []
    parts += [table(("source", "position"), positions)]
    parts += [table(("node", "holds"), held)] if held else []
    return "\n\n".join(parts)


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'s' * (number != 1)}"


def _time(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S") if microseconds else ""


def _now() -> int:
    from dataflare.clock import SystemClock

    return SystemClock().now()
