"""Runs a workflow so many times over in one process, all at once: FILE COUNT.

Every one has a name, a lease, a state and an output folder of its own; one coordinator leads them. It says how late
the event loop ever was for a timer, and how many threads and open files there were at most.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dataflare.actor.system import LocalActorSystem
from dataflare.component import Registry, StageContext, state_store
from dataflare.executor.contract import Outcome, RunContext
from dataflare.executor.coordinator import CoordinatorActor
from dataflare.executor.local import tuned_process
from dataflare.executor.runtime import LocalRuntime
from dataflare.workflow import plan_or_raise

if TYPE_CHECKING:
    from dataflare.plan import Plan

TICK_SECONDS = 0.02


class Watch:
    """Looks at the loop and the process while they work."""

    def __init__(self) -> None:
        self.late, self.threads, self.files = 0.0, 0, 0

    async def run(self) -> None:
        """Look for ever."""
        while True:
            due = time.monotonic() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            self.late = max(self.late, time.monotonic() - due)
            self.threads = max(self.threads, threading.active_count())
            lowest_free = os.open("/", os.O_RDONLY)
            os.close(lowest_free)
            self.files = max(self.files, lowest_free)


def copy(plan: Plan, number: int) -> Plan:
    """Return the plan under another name, with an output of its own."""
    output = os.environ["BENCH_OUTPUT"]
    nodes = (replace(n, config={**n.config, "path": f"{output}/{number}"}) if n.id == "copy" else n for n in plan.nodes)
    return replace(plan, workflow=f"{plan.workflow}-{number}", nodes=tuple(nodes))


async def run(plan: Plan, count: int, registry: Registry) -> dict[str, float]:
    """Run all of them to the end; say how it went."""
    runtime, system, watch = LocalRuntime(), LocalActorSystem(), Watch()
    kind = registry.find(state_store, "sqlite")
    store = kind(kind.spec.config(path=os.environ["BENCH_STATE"]))
    store.context = StageContext(runtime, plan.workflow, "")
    store.open()
    coordinator = await system.spawn(CoordinatorActor, name="coordinator")

    async def one(number: int) -> Outcome:
        mine = copy(plan, number)
        lease = await runtime.call(store.lease, f"default/{mine.workflow}")
        outcome: Outcome = await coordinator.ask("submit", mine, RunContext(registry, runtime, store))
        lease.release()
        return outcome

    watching = asyncio.create_task(watch.run())
    outcomes = await asyncio.gather(*(one(number) for number in range(count)))
    watching.cancel()
    await system.shutdown()
    store.close()
    runtime.close()
    failed = [outcome.error for outcome in outcomes if outcome.status != "succeeded"]
    if failed:
        sys.exit(f"{len(failed)} of {count} failed, one of them: {failed[0]}")
    return {"late_seconds": watch.late, "threads": watch.threads, "files": watch.files}


def main(file: str, count: str) -> None:
    """Print one line of JSON."""
    registry = Registry.installed()
    plan = plan_or_raise(Path(file), registry=registry, environ=os.environ, level="sample")
    with tuned_process():
        print(json.dumps(asyncio.run(run(plan, int(count), registry))))


if __name__ == "__main__":
    main(*sys.argv[1:])
