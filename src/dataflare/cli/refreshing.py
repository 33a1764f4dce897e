"""The command `refresh`: repairs rows of destinations from the source."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from dataflare.cli.console import GREEN, painted, write, write_json
from dataflare.errors import LeaseHeldError, WorkflowError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dataflare.component import Registry
    from dataflare.operate.refreshing import Protection, Refreshed
    from dataflare.operate.verifying import Options
    from dataflare.plan import Plan

DIFFERENT = 1


def refresh_command(file: Path, stream: str, keys: str, options: Options, *, dry_run: bool, as_json: bool) -> int:
    """Repair the destinations of a stream; return 1 where rows still differ, or would be repaired."""
    from dataclasses import replace

    from dataflare.cli.surroundings import plan_of
    from dataflare.cli.verifying import whole_plan
    from dataflare.component import Registry
    from dataflare.executor.surroundings import Secrets
    from dataflare.operate.refreshing import protection_of, refresh
    from dataflare.operate.verifying.sides import Engine

    registry = Registry.installed()
    plan, whole = plan_of(file, registry), whole_plan(file, registry)
    engine = Engine(registry, Secrets(whole))
    names = _destinations(plan, stream)
    found = {name: protection_of(plan, registry, plan.node(name)) for name in names}
    equal = True
    with _guarded(plan, registry, found, dry_run=dry_run):
        for name, protection in found.items():
            told = replace(options, where=_between(plan, name, keys)) if keys else options
            done = refresh(whole, name, told, protection, engine, dry_run=dry_run)
            equal = equal and done.report.equal
            if as_json:
                write_json(done.as_json())
            else:
                write(_text(done))
    return 0 if equal else DIFFERENT


@contextmanager
def _guarded(plan: Plan, registry: Registry, found: dict[str, Protection], *, dry_run: bool) -> Iterator[None]:
    """Hold the lease where the workflow must not run, and see to it that first readings are over."""
    from dataflare.cli.controlling import manager_of
    from dataflare.executor.runtime import LocalRuntime
    from dataflare.executor.surroundings import TENANT, StateOf
    from dataflare.operate.refreshing.protection import refuse_first_reading

    if dry_run:
        yield
        return
    runtime = LocalRuntime()
    try:
        with StateOf.of_plan(plan).store(registry, runtime) as store:
            reason = next((p.reason for p in found.values() if p.wants_lease), "")
            if reason:
                try:
                    store.lease(f"{TENANT}/{plan.workflow}")  # given back when the store is closed
                except LeaseHeldError as error:
                    told = f"{error.what}; it must not run during this refresh: {reason}"
                    raise LeaseHeldError(told, hint=f"stop it first: dataflare stop {plan.workflow}") from None
            for protection in found.values():
                if protection.first_reading:
                    refuse_first_reading(manager_of(store, plan.workflow).committed(), protection.source)
            yield
    finally:
        runtime.close()


def _destinations(plan: Plan, stream: str) -> list[str]:
    """Return the destinations that a stream reaches: a source, an output of one, or a destination by its name."""
    from dataflare.plan import NodeKind

    ends = [n.id for n in plan.of_kind(NodeKind.DESTINATION)]
    if stream in ends:
        return [stream]
    first = {e.source for e in plan.edges if stream and stream in (e.source, e.output, f"{e.source}.{e.output}")}
    begun = [e for e in plan.edges if stream in (e.source, e.output, f"{e.source}.{e.output}")]
    reached = {e.target for e in begun} if first else set()
    while more := {e.target for e in plan.edges if e.source in reached} - reached:
        reached |= more
    found = [n for n in ends if n in reached] if stream else ends
    if not found or (not stream and len(found) > 1):
        what = f"there is no stream {stream!r} that leads to a destination" if stream else "which stream is not clear"
        raise WorkflowError(what, hint=f"name a source, one of its outputs, or one of {', '.join(ends)} with --stream")
    return found


def _between(plan: Plan, name: str, keys: str) -> str:
    """Return the condition of a range A..B of the key; either end may be left out."""
    from dataflare.sql.quoting import literal, quoted

    key: list[str] = list(plan.node(name).traits.get("key") or ())
    low, dots, high = keys.partition("..")
    if len(key) != 1 or not dots or not (low or high):
        raise WorkflowError(
            f"--keys {keys} is no range of the key of {name}: {', '.join(key) or 'it has none'}",
            hint="write --keys 1000..2000 for a key of one column, else --where",
        )
    kind = plan.input_outputs(name)[0].schema[key[0]].type
    if not kind.startswith(("int", "uint", "decimal", "float")):
        ends = [str(literal(end)) if end else "" for end in (low, high)]
    else:
        numbers = [_number(end, kind) if end else None for end in (low, high)]
        first, last = numbers
        if first is not None and last is not None and first > last:
            raise WorkflowError(f"--keys {keys} is empty: {low} is above {high}", hint=f"write --keys {high}..{low}")
        ends = ["" if n is None else f"{n:f}" for n in numbers]
    parts = zip((">=", "<="), ends, strict=True)
    return " and ".join(f"{quoted(key[0])} {sign} {end}" for sign, end in parts if end)


def _number(text: str, kind: str) -> Decimal:
    """Return the end of a range, digit by digit."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or ("int" in kind and number != number.to_integral_value()):
        raise WorkflowError(f"{text!r} is no {kind}", hint="write --keys 1000..2000")
    return number


def _text(done: Refreshed) -> str:
    from dataflare.cli.verifying import report_text

    report, name = done.report, done.report.destination
    if done.dry_run:
        return report_text(report)
    wrote = [f"{count:,} {what}" for count, what in ((done.put, "put"), (done.removed, "removed")) if count]
    head = f"{name}: {', '.join(wrote) or 'nothing to repair'}"
    if report.equal:
        rows = f"{report.source.rows:,} row{'s' * (report.source.rows != 1)}"
        return f"{head}; {painted('equal', GREEN, sys.stdout)}, {rows} compared"
    kept = "rows that are gone in the source were left: changes that are on their way may need them\n"
    return f"{head}\n{kept if done.kept else ''}{report_text(report)}"


__all__ = ["refresh_command"]
