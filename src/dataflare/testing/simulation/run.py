"""Runs one scenario: processes come, crash, sleep and wake; at the end every row must be where it belongs."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dataflare.component import Config
from dataflare.errors import StalledError
from dataflare.executor.contract import Outcome, RunContext
from dataflare.executor.coordinator import CoordinatorActor
from dataflare.monitoring.events import AttemptFailed
from dataflare.testing.simulation.components import components
from dataflare.testing.simulation.loop import DeadlockError, SimulatedLoop
from dataflare.testing.simulation.process import Process
from dataflare.testing.simulation.scenario import Fault, Scenario, scenario
from dataflare.testing.simulation.world import Row, Table, Violation, World, store_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

RUN_SECONDS_MAX = 3600.0
PATIENCE_SECONDS = 600.0
TIMEOUT_RAISED_SECONDS = 30.0
AFTERWARDS_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Result:
    """What a seed gave: `violation` is empty when all invariants held."""

    seed: int
    violation: str
    processes: int
    epochs: int
    simulated_seconds: float


def simulate(seed: int, make: Callable[[int], Scenario] = scenario) -> Result:
    """Run the scenario of a seed on a loop of its own; the same seed gives the same run."""
    loop = SimulatedLoop()
    asyncio.set_event_loop(loop)
    run = _Run(seed, make(seed))
    try:
        loop.run_until_complete(run.main())
        violation = ""
    except (Violation, DeadlockError) as error:
        violation = str(error)
    except TimeoutError:
        violation = "progress: no success within the simulated hour"
    finally:
        seconds = loop.time()
        run.world.over = True
        loop.abandon()
        asyncio.set_event_loop(None)
    violation = run.world.violations[0] if run.world.violations else violation
    return Result(seed, violation, run.started, len(run.world.committed), seconds)


class _Run:
    def __init__(self, seed: int, case: Scenario) -> None:
        self.case = case
        self.random = random.Random(seed * 7919 + 1)
        self.world = World(totals=case.rows | case.lookups)
        for name, mechanism in case.mechanisms.items():
            self.world.tables[name] = Table(mechanism)
        self.registry = components(self.world)
        self.store = store_of(self.world)(Config())
        self.world.attach(self.store, "sim")
        self.started = 0
        self.outcome: Outcome | None = None
        self._tasks: list[asyncio.Task[Any]] = []

    async def main(self) -> None:
        """Start, strike, wait for success, wake all zombies, and look."""
        self._own(self._start())
        await asyncio.sleep(0)
        for fault in self.case.faults:
            await self._strike(fault)
            self._check()
        try:
            await asyncio.wait_for(self._success(), PATIENCE_SECONDS)
        except TimeoutError:
            self._raise_timeout()
            await asyncio.wait_for(self._success(), RUN_SECONDS_MAX)
        for process in self.world.processes:
            process.thaw()
        await asyncio.sleep(AFTERWARDS_SECONDS)
        self._check()
        self._check_rows()

    # ---- processes ----------------------------------------------------------------------------------------------

    def _own(self, work: Coroutine[Any, Any, Any]) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(work))

    async def _start(self) -> None:
        self.started += 1
        process = Process(self.world, self.random.randrange(1 << 30))
        self.world.processes.append(process)
        self.world.newest = process
        coordinator = await process.system.spawn(CoordinatorActor, name="coordinator")
        context = RunContext(registry=self.registry, runtime=process, store=self.store, run="only")
        outcome = await coordinator.ask("submit", self.case.plan, context)
        if self.world.newest is process:
            if outcome.status != "succeeded":
                self.world.violations.append(f"progress: the newest process ended as {outcome.status}: {outcome.error}")
            self.outcome = outcome

    async def _strike(self, fault: Fault) -> None:
        victim = self.world.newest
        assert victim is not None
        if fault.step:
            hit = victim.trap(fault.step, before=fault.before)
            await asyncio.wait(
                [asyncio.ensure_future(hit.wait()), asyncio.ensure_future(asyncio.sleep(20.0))],
                return_when=asyncio.FIRST_COMPLETED,
            )
        else:
            await asyncio.sleep(fault.seconds)
        if self.outcome is not None:
            victim.disarm()
            return
        if fault.kind == "jump":
            victim.clock.offset_microseconds += self.random.choice([-3600, 3600, 86400]) * 1_000_000
            return
        if fault.kind == "crash":
            victim.crash()
        else:
            victim.freeze()
            self._own(self._wake(victim))
        victim.disarm()
        await asyncio.sleep(self.random.random())
        self._own(self._start())
        await asyncio.sleep(self.random.random())

    async def _wake(self, process: Process) -> None:
        await asyncio.sleep(self.random.random() * 10.0)
        process.thaw()

    def _raise_timeout(self) -> None:
        """Begin with a longer time-out of epochs, as the hint says, where messages travel too slowly for this one."""
        newest = self.world.newest
        failures = {e.code for e in newest.events if isinstance(e, AttemptFailed)}
        settings = self.case.plan.settings
        if failures == {StalledError.code} and settings.checkpoint_timeout_seconds < TIMEOUT_RAISED_SECONDS:
            settings = replace(settings, checkpoint_timeout_seconds=TIMEOUT_RAISED_SECONDS)
            self.case = replace(self.case, plan=replace(self.case.plan, settings=settings))
            newest.crash()
            self._own(self._start())

    async def _success(self) -> None:
        while self.outcome is None:
            await asyncio.sleep(0.1)
            self._check()

    # ---- what must hold at the end --------------------------------------------------------------------------------

    def _check(self) -> None:
        if self.world.violations:
            raise Violation(self.world.violations[0])

    def _check_rows(self) -> None:
        case, world = self.case, self.world
        every = {(split, n + 1) for split, rows in case.rows.items() for n in range(rows)}
        dead = Counter(world.tables[case.dead].shown) if case.dead else Counter[Row]()
        for name, table in world.tables.items():
            if not table.finished:
                world.violate(f"done without finish at {name}")
            if name != case.dead:
                self._check_table(name, table, every, dead)

    def _check_table(self, name: str, table: Table, every: set[Row], dead: Counter[Row]) -> None:
        world = self.world
        rows = [r for r in table.shown if r[0] != "flush"]
        flushed = [r for r in table.shown if r[0] == "flush"]
        if self.case.first:
            if self.case.dead is None and {n for _, n in rows} != {n for _, n in every}:
                world.violate(f"wrong keys at {name}: {sorted(n for _, n in rows)}")
            if table.mechanism != "append" and len(rows) != len({n for _, n in rows}):
                world.violate(f"duplicate keys at {name}")
            return
        lacking = every - set(rows) - set(dead)
        if lacking:
            world.violate(f"no loss: {name} lacks {sorted(lacking)[:5]}")
        if table.mechanism == "append":
            return
        both = set(rows) & set(dead)
        if both:
            world.violate(f"diverge: {sorted(both)[:5]} are good at {name} and dead")
        if self.case.flush and flushed != [("flush", len(rows))]:
            world.violate(f"flush at {name}: {flushed} of {len(rows)} rows")
