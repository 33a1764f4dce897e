"""What every actor system must do; subclass it in a test and give it a system."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from dataflare.actor.cell import Actor, Answer
from dataflare.errors import ActorDiedError, DataError, DataFlareError

if TYPE_CHECKING:
    from dataflare.actor.system import ActorSystem

PATIENCE_SECONDS = 60.0


class Echo(Actor):
    """Answers, counts, fails, defers."""

    def __init__(self, start: int = 0) -> None:
        """Count from `start`."""
        self.count = start
        self.seen: list[int] = []
        self._deferred: list[asyncio.Future[int]] = []

    async def add(self, number: int) -> int:
        """Add and answer the sum."""
        self.count += number
        self.seen.append(number)
        return self.count

    async def all_seen(self) -> list[int]:
        """Answer what was added, in order."""
        return self.seen

    async def slowly(self, number: int) -> int:
        """Give other messages the chance to overtake, then add."""
        before = self.count
        await asyncio.sleep(0.01)
        self.count = before + number
        return self.count

    async def refuse(self) -> None:
        """Answer with an error and live on."""
        raise Answer(DataError("no"))

    async def die(self) -> None:
        """Die of a known error."""
        raise DataError("dead")

    async def burst(self) -> None:
        """Die of a bug."""
        raise ZeroDivisionError

    async def defer(self) -> asyncio.Future[int]:
        """Answer later."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._deferred.append(future)
        return future

    async def release(self, value: int) -> None:
        """Give all deferred answers."""
        for future in self._deferred:
            future.set_result(value)
        self._deferred.clear()


class ActorSystemSuite(ABC):
    """The conformance suite."""

    @abstractmethod
    async def system(self) -> ActorSystem:
        """Return a fresh system; its tests shut it down."""

    async def test_an_answer_comes_back(self) -> None:
        """Ask."""
        async with _closing(await self.system()) as system:
            ref = await system.spawn(Echo, 40, name="echo")
            assert await ref.ask("add", 2) == 42  # noqa: PLR2004

    async def test_messages_of_one_sender_arrive_in_order(self) -> None:
        """Order."""
        async with _closing(await self.system()) as system:
            ref = await system.spawn(Echo, name="echo", mailbox=4)
            await asyncio.gather(*(ref.ask("add", n) for n in range(50)))
            assert await ref.ask("all_seen") == list(range(50))

    async def test_one_turn_at_a_time(self) -> None:
        """No two handlers of an actor interleave."""
        async with _closing(await self.system()) as system:
            ref = await system.spawn(Echo, name="echo")
            await asyncio.gather(*(ref.ask("slowly", 1) for _ in range(20)))
            assert await ref.ask("add", 0) == 20  # noqa: PLR2004

    async def test_a_deferred_answer_lets_the_actor_go_on(self) -> None:
        """Credits."""
        async with _closing(await self.system()) as system:
            ref = await system.spawn(Echo, name="echo")
            waiting = asyncio.ensure_future(ref.ask("defer"))
            assert await ref.ask("add", 1) == 1
            await asyncio.sleep(0.05)
            assert not waiting.done()
            await ref.ask("release", 7)
            assert await asyncio.wait_for(waiting, PATIENCE_SECONDS) == 7  # noqa: PLR2004

    async def test_an_answer_may_be_an_error(self) -> None:
        """The actor lives on."""
        async with _closing(await self.system()) as system:
            ref = await system.spawn(Echo, name="echo")
            assert isinstance(await _failure(ref.ask("refuse")), DataError)
            assert await ref.ask("add", 1) == 1

    async def test_death_is_told_to_callers_and_watchers(self) -> None:
        """Everybody hears of it, once."""
        async with _closing(await self.system()) as system:
            ref = await system.spawn(Echo, name="echo")
            deaths: list[Any] = []
            system.watch(ref, deaths.append)
            assert isinstance(await _failure(ref.ask("die")), DataError)
            assert isinstance(await _failure(ref.ask("add", 1)), DataFlareError)
            await _until(lambda: bool(deaths))
            assert len(deaths) == 1

    async def test_a_bug_kills_the_actor_alone(self) -> None:
        """Others live on."""
        async with _closing(await self.system()) as system:
            ref = await system.spawn(Echo, name="echo")
            other = await system.spawn(Echo, name="other")
            assert isinstance(await _failure(ref.ask("burst")), ActorDiedError)
            assert await other.ask("add", 1) == 1

    async def test_stopping_answers_those_who_wait(self) -> None:
        """Nobody waits for ever."""
        async with _closing(await self.system()) as system:
            ref = await system.spawn(Echo, name="echo")
            waiting = asyncio.ensure_future(_failure(ref.ask("slowly", 1)))
            await asyncio.sleep(0)
            await system.stop(ref)
            assert isinstance(await asyncio.wait_for(waiting, PATIENCE_SECONDS), ActorDiedError)
            assert isinstance(await _failure(ref.ask("add", 1)), DataFlareError)


class _closing:  # noqa: N801 - reads as a word
    def __init__(self, system: ActorSystem) -> None:
        self._system = system

    async def __aenter__(self) -> ActorSystem:
        return self._system

    async def __aexit__(self, *_: object) -> None:
        await self._system.shutdown()


async def _failure(work: Any) -> BaseException | None:
    try:
        await work
    except DataFlareError as error:
        return error
    return None


async def _until(reached: Any) -> None:
    for _ in range(int(PATIENCE_SECONDS / 0.02)):
        if reached():
            return
        await asyncio.sleep(0.02)
