"""The supervisor restarts what may be tried again, pauses longer each time, and gives up in time."""

import asyncio
from typing import Any

from dataflare.actor.cell import Actor
from dataflare.actor.supervisor import Child, RestartPolicy, SupervisorActor
from dataflare.actor.system import LocalActorSystem
from dataflare.errors import DataError, ExternalError
from dataflare.executor.runtime import LocalRuntime
from dataflare.testing.clock import ManualClock


class _Fragile(Actor):
    def __init__(self, lives: list[str], error: Exception | None) -> None:
        self._lives, self._error = lives, error

    async def started(self) -> None:
        self._lives.append("born")
        if self._error is not None:
            raise self._error


async def _run(
    error: Exception | None, attempts: int = 3, window: float = 600.0
) -> tuple[list[str], list[float], list[Any]]:
    lives: list[str] = []
    pauses: list[float] = []
    ends: list[Any] = []
    clock = ManualClock()
    system = LocalActorSystem()
    supervisor = await system.spawn(SupervisorActor, LocalRuntime(clock=clock), name="supervisor")
    policy = RestartPolicy(initial_seconds=1.0, maximum_seconds=4.0, attempts=attempts, window_seconds=window)
    child = Child("c", _Fragile, lambda: (lives, error), policy, ends.append, lambda _e, pause: pauses.append(pause))
    await supervisor.ask("supervise", child)
    for _ in range(200):
        await asyncio.sleep(0)
        clock.advance(1.0)
        if ends:
            break
    await system.shutdown()
    return lives, pauses, ends


async def test_it_escalates_after_its_limit_with_growing_pauses() -> None:
    lives, pauses, ends = await _run(ExternalError("down"))

    assert len(lives) == 4
    assert [round(p - p % 1) for p in pauses] == [1, 2, 4]
    assert isinstance(ends[0], ExternalError)


async def test_what_trying_again_cannot_cure_is_not_tried_again() -> None:
    lives, pauses, ends = await _run(DataError("bad row"))

    assert (len(lives), pauses) == (1, [])
    assert isinstance(ends[0], DataError)


async def test_deaths_that_are_older_than_the_window_are_forgiven() -> None:
    lives, _, ends = await _run(ExternalError("down"), attempts=2, window=1.5)

    assert len(lives) > 10
    assert ends == []
