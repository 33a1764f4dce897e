"""Compares a range of both sides, and writes what differs as changes; again, until nothing differs.

Why a row is never put over a later change, and never brought back: a pass takes a place in the log that reading is not
behind of, reads, and writes rows as changes of that place. Whatever reading did not see is behind the place, so it wins
whether it was applied before or comes later. A row that was deleted at the source in between, and whose delete was
applied before the row was written, is there again; the next pass waits until everything that was under way has ended,
reads again, and removes it. What then disappears is told by changes that come after the row (decision 0039).
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.batch import Batch
from dataflare.changes import OP, TX, Op, changing, loose
from dataflare.clock import SystemClock
from dataflare.component import Budget, Epoch, StageContext, destination, source
from dataflare.executor.runtime import LocalRuntime
from dataflare.operate.verifying.looks import Options, looked
from dataflare.operate.verifying.sides import destination_of
from dataflare.plan import Mechanism

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataflare.operate.refreshing.protection import Protection
    from dataflare.operate.verifying.report import Report
    from dataflare.operate.verifying.sides import Engine
    from dataflare.plan import Node, Plan
    from dataflare.schema import Schema

PASSES_MAX = 20
"""One for each 100,000 keys that differ, and one that finds nothing more."""
_LOOKS_MIN = 2
_OWNER = "refresh"


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What came of it: the last comparison, and how many rows were put and removed in how many passes.

    `kept` rows are gone in the source and were left where they are.
    """

    report: Report
    put: int = 0
    removed: int = 0
    kept: int = 0
    passes: int = 0
    dry_run: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return JSON values: those of the report, and these."""
        own = {"put": self.put, "removed": self.removed, "kept": self.kept, "passes": self.passes}
        return {**self.report.as_json(), **own, "dry_run": self.dry_run}


def refresh(
    plan: Plan, name: str, options: Options, protection: Protection, engine: Engine, *, dry_run: bool
) -> Refreshed:
    """Repair the rows of a destination that fulfil `options.where`; blocking, never on an event loop.

    `plan` reads its sources as a whole. Whoever calls holds the lease where `protection` wants it. Raises what reading
    and writing raise; what was written by then stays, and is right.
    """
    node = destination_of(plan, name)
    options = replace(options, looks=max(options.looks, _LOOKS_MIN), key=(), columns=(), leave_out=())
    done = Refreshed
    put = removed = passes = 0
    while True:
        place = _place(plan, protection, engine) if protection.source else None
        with looked(plan, name, options, engine) as (report, comparison):
            passes += 1
            kept = 0 if protection.deletes else report.counts.get("surplus", 0)
            if report.equal or dry_run or passes >= PASSES_MAX:
                return done(report, put, removed, kept, passes, dry_run)
            rows, gone = comparison.repairs()
            if not protection.deletes:
                gone = gone.slice(0, 0)
            if not rows.num_rows and not gone.num_rows:
                return done(report, put, removed, kept, passes)
            _write(plan, node, engine, _changes(plan, node, rows, gone, place))
        put, removed = put + rows.num_rows, removed + gone.num_rows


def _place(plan: Plan, protection: Protection, engine: Engine) -> str | None:
    node = plan.node(protection.source)
    kind = engine.registry.find(source, node.type)
    made: Any = kind(kind.spec.config.model_validate(dict(engine.resolve(node.config))))
    with _staged(plan, node) as context:
        made.context = replace(context, schemas={o.name: o.schema for o in node.outputs})
        made.open()
        try:
            place: str | None = made.settled_place()
        finally:
            made.close()
    return place


def _changes(plan: Plan, node: Node, rows: pa.Table, gone: pa.Table, place: str | None) -> pa.Table:
    """Return rows as read at a place of the log, and keys as deleted there."""
    schema = loose(_schema(plan, node)).to_arrow()
    parts = []
    for part, op in ((rows, Op.READ), (gone, Op.DELETE)):
        told = {OP: op.value, TX: place}
        parts.append(
            pa.table(
                [
                    part.column(f.name)
                    if f.name in part.column_names
                    else pa.repeat(pa.scalar(told.get(f.name), f.type), part.num_rows)
                    for f in schema
                ],
                schema=schema,
            )
        )
    return pa.concat_tables(parts)


def _schema(plan: Plan, node: Node) -> Schema:
    """Return the schema of changes of what a destination gets."""
    outputs = plan.input_outputs(node.id)
    return changing(outputs[0].schema, tuple(node.traits.get("key") or ()))


def _write(plan: Plan, node: Node, engine: Engine, rows: pa.Table) -> None:
    """Write changes in one transaction, under a name of our own: the fence of the workflow is none of ours."""
    kind = engine.registry.find(destination, node.type)
    made: Any = kind(kind.spec.config.model_validate(dict(engine.resolve(node.config))))
    with _staged(plan, node) as context:
        made.context = replace(
            context,
            workflow=f"{plan.workflow}/{_OWNER}",
            attempt=SystemClock().now() // 1_000_000,  # of two at the same time, the older one is stopped by the fence
            mechanism=Mechanism.DIRECT,
            write_mode="merge",
            key=tuple(node.traits.get("key") or ()),
            schemas={"0": _schema(plan, node)},
            epoch_time=SystemClock().now,
        )
        try:
            made.open()
            last = made.last_epoch()
            epoch = Epoch(last.number + 1 if last is not None else 1, made.context.attempt)
            made.write(Batch(rows))
            made.prepare(epoch)
            made.commit(epoch, ())
        finally:
            made.close()


@contextmanager
def _staged(plan: Plan, node: Node) -> Iterator[StageContext]:
    """Give the context of a component that stands alone."""
    runtime = LocalRuntime()
    try:
        budget = Budget(plan.settings.memory_bytes_max // 2, 1)
        yield StageContext(runtime, plan.workflow, node.id, directory=Path(plan.directory), budget=budget)
    finally:
        runtime.close()


__all__ = ["PASSES_MAX", "Refreshed", "refresh"]
