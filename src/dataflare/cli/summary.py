"""How a run is summed up: the documented line of JSON, or tables for people."""

from __future__ import annotations

import resource
import sys
from typing import TYPE_CHECKING, Any

from dataflare.cli.console import BOLD, GREEN, RED, YELLOW, painted, table
from dataflare.plan_words import Level

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

    from dataflare.executor.contract import Outcome
    from dataflare.monitoring.metrics import Counts
    from dataflare.plan import Guarantee, Plan

COLOURS = {"succeeded": GREEN, "failed": RED, "stopped": YELLOW}
KIBI = 1 if sys.platform == "darwin" else 1024
"""The unit of the system's figure for memory, in bytes."""


def outcome_json(plan: Plan, outcome: Outcome, counts: Counts) -> dict[str, Any]:
    """Return what `run --json` ends with; times are in seconds, memory is the highest of this process.

    `counts` tell how far sources were behind at the end, of those that say so.
    """
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    line = {
        "workflow": plan.workflow,
        "status": outcome.status,
        "epochs": outcome.epochs,
        "elapsed_seconds": round(outcome.elapsed_seconds, 6),
        "cpu_seconds": round(own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime, 6),
        "rss_bytes_max": own.ru_maxrss * KIBI,
        "nodes": {n: dict(k) for n, k in outcome.nodes.items()},
        "guarantees": guarantees_json(plan.guarantees),
        "error": outcome.error.as_finding().as_json() if outcome.error else None,
    }
    rules = {"rules": {n: dict(r) for n, r in outcome.rules.items()}} if outcome.rules else {}
    counted = {"metrics": {n: dict(c) for n, c in outcome.metrics.items()}} if outcome.metrics else {}
    edges = {"edges": {e: dict(sums) for e, sums in outcome.edges.items()}} if outcome.edges else {}
    lag = {name: dict(node.lag) for name, node in counts.nodes.items() if node.lag}
    told = {**line, **rules, **counted, **edges}
    return {**told, **({"lag": lag} if lag else {}), **({"more": True} if outcome.more else {})}


def guarantees_json(guarantees: Mapping[str, Guarantee]) -> dict[str, dict[str, str]]:
    """Return level, mechanism and reason by destination."""
    return {
        n: {"level": g.level.value, "mechanism": g.mechanism.value, "reason": g.reason} for n, g in guarantees.items()
    }


def summary_text(plan: Plan, outcome: Outcome, stream: TextIO, moved: Mapping[str, Mapping[str, int]]) -> str:
    """Return the summary for people: how it ended, rows by node and fate, the guarantee of each path.

    Rows are those since the run began, also in other processes; `moved` are those that this one committed.
    """
    status = painted(outcome.status, COLOURS.get(outcome.status, ""), stream)
    epochs = f"{outcome.epochs} epoch{'s' * (outcome.epochs != 1)}"
    head = f"{painted(plan.workflow, BOLD, stream)} {status} in {outcome.elapsed_seconds:,.2f} s, {epochs} committed"
    if outcome.attempts > 1:
        head += f", {outcome.attempts} attempts"
    if outcome.more:
        head += "; there is more to read"
    if outcome.error is not None and not any(n for counts in outcome.nodes.values() for n in counts.values()):
        return head  # a table of nothing would push the error out of sight
    return "\n\n".join(
        [
            head,
            rows_text(plan, outcome, stream, moved),
            *rules_text(plan, outcome, stream),
            *metrics_text(outcome, stream),
            *promises_text(plan.guarantees),
        ]
    )


def rows_text(plan: Plan, outcome: Outcome, stream: TextIO, moved: Mapping[str, Mapping[str, int]]) -> str:
    """Return rows by node and fate; fates that no row had are left out. Rates are of `moved`."""
    kinds = list(dict.fromkeys(k for counts in outcome.nodes.values() for k in counts))
    shown = [k for k in kinds if any(c.get(k) for c in outcome.nodes.values())]
    rows = []
    for node in plan.topological():
        counts = outcome.nodes.get(node.id, {})
        cells = [f"{counts[k]:,}" if counts.get(k) else "" for k in shown]
        most = max((moved.get(node.id, {}).get(k, 0) for k in ("in", "out")), default=0)
        rate = f"{most / outcome.elapsed_seconds:,.0f}" if most and outcome.elapsed_seconds > 0 else ""
        rows.append([node.id, node.kind.value, node.type, *cells, rate])
    head = ["node", "kind", "type", *(k.removeprefix("rows_") for k in shown), "rows/s"]
    return table(head, rows, right=range(3, len(head)), stream=stream)


def rules_text(plan: Plan, outcome: Outcome, stream: TextIO) -> list[str]:
    """Return the table of rules that rows fail; nothing where there is none."""
    rows = [
        (node, rule, plan.node(node).config.get("rules", {}).get(rule, {}).get("severity", "error"), f"{failing:,}")
        for node, rules in outcome.rules.items()
        for rule, failing in rules.items()
        if failing
    ]
    return [table(("node", "rule", "severity", "rows"), rows, right=(3,), stream=stream)] if rows else []


def metrics_text(outcome: Outcome, stream: TextIO) -> list[str]:
    """Return the table of what plugins have counted; nothing where they have not."""
    rows = [(node, name, f"{value:,}") for node, found in outcome.metrics.items() for name, value in found.items()]
    return [table(("node", "metric", "value"), rows, right=(2,), stream=stream)] if rows else []


def counts_text(nodes: Mapping[str, Mapping[str, int]], stream: TextIO) -> str:
    """Return rows by node and fate, where no more than that is known."""
    shown = [k for k in dict.fromkeys(k for c in nodes.values() for k in c) if any(c.get(k) for c in nodes.values())]
    rows = [[node, *(f"{counts[k]:,}" if counts.get(k) else "" for k in shown)] for node, counts in nodes.items()]
    head = ["node", *(k.removeprefix("rows_") for k in shown)]
    return table(head, rows, right=range(1, len(head)), stream=stream)


def promises_text(guarantees: Mapping[str, Guarantee]) -> list[str]:
    """Return one line for each level, with the destinations that it holds for; nothing where there are none."""
    lines: dict[str, list[str]] = {}
    for name, guarantee in guarantees.items():
        why = f": {guarantee.reason}" if guarantee.level is not Level.EXACTLY_ONCE else ""
        lines.setdefault(guarantee.level.value, []).append(f"{name} ({guarantee.mechanism.value}{why})")
    return ["\n".join(f"{level}: {', '.join(names)}" for level, names in lines.items())] if lines else []


def guarantees_text(guarantees: Mapping[str, Guarantee], stream: TextIO) -> list[str]:
    """Return the table of guarantees; nothing where there are none."""
    rows = [(n, g.level.value, g.mechanism.value, g.reason) for n, g in guarantees.items()]
    return [table(("destination", "guarantee", "mechanism", "because"), rows, stream=stream)] if rows else []
