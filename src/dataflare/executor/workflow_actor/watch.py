"""What a workflow tells those who watch it: how much goes through its nodes, and rows of one of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from dataflare.errors import WorkflowError
from dataflare.executor.watching import TAPPED_ROWS_MAX, measured
from dataflare.plan import NodeKind

if TYPE_CHECKING:
    from dataflare.actor.ref import ActorRef
    from dataflare.executor.workflow_actor.life import Life

MEASURE_SECONDS_MAX, STATUS_SECONDS_MAX = 1.0, 0.2
"""A task that does not answer for so long is in the middle of a batch: what it said before is told again."""


class Watch:
    """Asks the tasks."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._known: dict[str, dict[str, Any]] = {}

    async def measure(self, life: Life) -> dict[str, Any]:
        """Return the nodes in order, with what all of their tasks say together, since the attempt began.

        Nodes that run in one task share its seconds and its queue.
        """
        job = life.job
        await self._ask(life, MEASURE_SECONDS_MAX)
        nodes, lags = list[dict[str, Any]](), self._lags()
        for node in job.plan.topological():
            stage = job.graph.stage_of(node.id)
            names = [f"{stage.operators[-1].id}#{index}" for index in range(stage.parallelism)]
            found = [self._known[name] for name in names if name in self._known]
            everywhere = [task["nodes"].get(node.id, (0, 0)) for task in self._known.values()]
            nodes.append(
                {
                    "node": node.id,
                    "kind": node.kind.value,
                    "type": node.type,
                    "tasks": stage.parallelism,
                    "rows_in": sum(rows[0] for rows in everywhere),
                    "rows_out": sum(rows[1] for rows in everywhere),
                    "busy_seconds": sum(task["busy_seconds"] for task in found),
                    "blocked_seconds": sum(task["blocked_seconds"] for task in found),
                    "queue": sum(task["queue"] for task in found),
                    **({"lag": lags[node.id]} if node.id in lags else {}),
                }
            )
        base, now = life.base, job.runtime.clock.now()
        return {
            "workflow": job.plan.workflow,
            "status": "paused" if life.requests.paused else "running",
            "attempt": job.attempt,
            "epoch": base.epoch if base is not None else 0,
            "uncommitted_seconds": max(0.0, (now - life.epoch_time) / 1e6) if life.dirty else 0.0,
            "nodes": nodes,
        }

    async def describe(self, life: Life) -> dict[str, Any]:
        """Return where the workflow stands, with the rows of its committed epochs; `lag` of sources that tell one."""
        await self._ask(life, STATUS_SECONDS_MAX)
        base, lags = life.base, self._lags()
        return {
            "workflow": life.job.plan.workflow,
            "status": "paused" if life.requests.paused else "running",
            "attempt": life.job.attempt,
            "epoch": base.epoch if base else 0,
            "nodes": {n: dict(k) for n, k in (base.totals if base else {}).items()},
            **({"lag": lags} if lags else {}),
        }

    async def _ask(self, life: Life, seconds: float) -> None:
        tasks = {f"{n}/{i}": ref for n, refs in life.tasks.items() for i, ref in enumerate(refs)}
        await measured(tasks, self._known, seconds)

    def _lags(self) -> dict[str, dict[str, float]]:
        """Return the most of what the tasks of each source tell."""
        found: dict[str, dict[str, float]] = {}
        for task in self._known.values():
            for node, figures in task["lag"].items():
                most = found.setdefault(node, {})
                most |= {name: max(value, most.get(name, value)) for name, value in figures.items()}
        return found

    async def tap(self, life: Life, node: Any, rows: Any) -> dict[str, Any]:
        """Return rows of a node as JSON since the last call, as many at most, and how many went by besides.

        Raises WorkflowError for a node that is not there, or whose rows are never whole.
        """
        name, output = _tapped(life, str(node))
        limit = rows if isinstance(rows, int) and 0 < rows <= TAPPED_ROWS_MAX else TAPPED_ROWS_MAX
        refs = _tasks_of(life, name)
        share = max(1, limit // max(1, len(refs)))
        answers = await asyncio.gather(*(ref.ask("tap", name, output, share) for ref in refs))
        return {
            "node": f"{name}.{output}" if output else name,
            "rows": [text for texts, _ in answers for text in texts],
            "passed_by": sum(passed for _, passed in answers),
        }


def _tapped(life: Life, text: str) -> tuple[str, str]:
    """Return the node and the output that are meant: of a destination what feeds it."""
    plan = life.job.plan
    nodes = {n.id: n for n in plan.nodes}
    name, _, output = text.partition(".")
    node = nodes.get(name)
    if node is None:
        raise WorkflowError(f"there is no node {name!r}", hint=f"there are: {', '.join(nodes)}")
    if node.kind is NodeKind.DESTINATION:
        edges = plan.inputs_of(name)
        if len(edges) != 1:
            listed = ", ".join(f"{e.source}.{e.output}" if e.output else e.source for e in edges)
            raise WorkflowError(f"{name!r} has {len(edges)} inputs", hint=f"tap one of {listed}")
        name, output = edges[0].source, edges[0].output
        node = nodes[name]
    names = [o.name for o in node.outputs]
    plain = [n for n in names if n != "errors"]
    meant = [output] if output in names else plain if not output and len(plain) == 1 else []
    if len(meant) != 1:
        listed = ", ".join(f"{name}.{o}" if o else name for o in names)
        raise WorkflowError(f"{text!r} does not name one output of {name!r}", hint=f"tap one of {listed}")
    fused = [o for s in life.job.graph.stages for o in s.operators if name in o.nodes and o.nodes[-1] != name]
    if fused and meant[0] != "errors":
        last = fused[0].nodes[-1]
        what = f"{name!r} runs in one statement with {last!r}: its rows are never made"
        raise WorkflowError(what, hint=f"tap {last}")
    return name, meant[0]


def _tasks_of(life: Life, node: str) -> list[ActorRef]:
    stages = [s for s in life.job.graph.stages if any(node in o.nodes for o in s.operators)]
    return [ref for stage in stages for ref in life.tasks.get(stage.index, [])]


__all__ = ["Watch"]
