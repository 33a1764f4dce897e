"""The command `verify`: reads source and destination again and tells which rows differ."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dataflare.cli.console import GREEN, RED, painted, table, write, write_json
from dataflare.errors import WorkflowError

if TYPE_CHECKING:
    from pathlib import Path

    from dataflare.component import Registry
    from dataflare.operate.verifying import Difference, Options, Report
    from dataflare.plan import Plan

DIFFERENT = 1
WHOLE = "full"
OF_CHANGES = ("changes", "deletes")
"""Settings of destinations that are for changes alone."""
CELL = 60


def verify_command(file: Path, names: list[str], options: Options, *, as_json: bool) -> int:
    """Compare destinations, all of a workflow that can be read unless some are named; return 1 where rows differ."""
    from dataflare.component import Registry
    from dataflare.executor.surroundings import Secrets
    from dataflare.operate.verifying import verify

    registry = Registry.installed()
    plan = whole_plan(file, registry)
    secrets = Secrets(plan)
    equal = True
    for name in names or _readable(plan, registry):
        report = verify(plan, registry, name, options, secrets)
        equal = equal and report.equal
        if as_json:
            write_json(report.as_json())
        else:
            write(report_text(report))
    return 0 if equal else DIFFERENT


def options_of(names: tuple[str, str, str], where: str, sample: str, numbers: tuple[int, int], pause: str) -> Options:
    """Return the options as they were typed; raise WorkflowError for what is none.

    `names` are the key, the columns and those that are left out; `numbers` how many examples and looks.
    """
    from dataflare.component.settings import rate_of, seconds_of
    from dataflare.operate.verifying import Options

    key, columns, leave_out = (tuple(n for n in text.split(",") if n) for text in names)
    option = "--sample"
    try:
        share = rate_of(sample) if sample else 1.0
        option = "--pause"
        seconds = seconds_of(pause)
    except ValueError as error:
        hint = "write --sample 5%" if option == "--sample" else "write --pause 10s"
        raise WorkflowError(f"{option}: {error}", hint=hint) from None
    if not 0 < share <= 1:
        raise WorkflowError(f"--sample {sample} is no share of the keys", hint="write --sample 5%")
    return Options(key, columns, leave_out, where, share, numbers[0], numbers[1], seconds)


def whole_plan(file: Path, registry: Registry) -> Plan:
    """Return the plan of a file whose sources are all read as a whole; raise WorkflowError where one cannot be."""
    from dataflare.cli.surroundings import plan_of
    from dataflare.component import source
    from dataflare.plan import NodeKind
    from dataflare.workflow import plan_or_raise

    plan = plan_of(file, registry)
    other: dict[str, Any] = {}
    for node in plan.of_kind(NodeKind.SOURCE):
        traits = registry.find(source, node.type).spec.traits
        if node.traits.get("mode", WHOLE) == WHOLE and traits.replay in ("exact", "from"):
            continue
        if WHOLE not in traits.modes:
            raise WorkflowError(f"{node.id} cannot be read again as a whole", hint="verify needs sources that can")
        other[f"sources.{node.id}.mode"] = WHOLE
    if not other:
        return plan
    for node in plan.of_kind(NodeKind.DESTINATION):  # what they say of changes is refused where rows come
        other |= {f"destinations.{node.id}.config.{name}": ... for name in OF_CHANGES if name in node.config}
    whole = plan_or_raise(file, registry=registry, environ=os.environ, level="sample", overrides=other)
    ends = {n.id: n.config for n in plan.of_kind(NodeKind.DESTINATION)}
    nodes = tuple(replace(n, config=ends.get(n.id, n.config)) for n in whole.nodes)
    return replace(whole, nodes=nodes)


def _readable(plan: Plan, registry: Registry) -> list[str]:
    """Return the destinations whose rows can be read back; those of rejected rows are none."""
    from dataflare.component import destination
    from dataflare.plan import NodeKind
    from dataflare.schema import Schema

    found = []
    for node in plan.of_kind(NodeKind.DESTINATION):
        errors_only = all(e.output == "errors" for e in plan.inputs_of(node.id))
        if not errors_only and registry.find(destination, node.type).read_back(node.config, Schema()) is not None:
            found.append(node.id)
    if not found:
        raise WorkflowError("no destination of this workflow can be read back", hint="databases and files can")
    return found


def report_text(report: Report) -> str:
    """Return what a person wants to know: equal or not, how many, which."""
    rows = f"{report.source.rows:,} rows" if report.source.rows != 1 else "1 row"
    if report.equal:
        later = f", {report.settled:,} of them after another look" if report.settled else ""
        return f"{report.destination}: {painted('equal', GREEN, sys.stdout)}, {rows} on both sides{later}"
    unit = "keys" if report.key else "rows"
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in report.counts.items())
    head = (
        f"{report.destination}: {painted('not equal', RED, sys.stdout)}; {unit}: {kinds}; "
        f"{rows} in the source, {report.written.rows:,} in the destination"
    )
    if not report.key:
        return f"{head}\nwithout a key rows cannot be named: give one with --key"
    return f"{head}\n{table(['', *report.key, 'columns'], [_line(e) for e in report.examples])}"


def _line(example: Difference) -> list[str]:
    values = [str(v) if len(str(v)) <= CELL else f"{str(v)[: CELL - 1]}…" for v in example.key.values()]
    return [example.kind, *values, ", ".join(example.columns)]


__all__ = ["options_of", "report_text", "verify_command", "whole_plan"]
