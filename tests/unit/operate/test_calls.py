"""Calls that ask for a run: each that was answered is run once, whatever dies, and the rules for overlaps hold."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from tests.unit.operate.world import MINUTE, Fuse, Works, World

from dataflare.errors import UnavailableError
from dataflare.operate import calls as calling
from dataflare.schedule import MICROSECONDS, Schedule

if TYPE_CHECKING:
    from dataflare.operate.calls import Answered

START = 1_767_225_600 * MICROSECONDS
KEYS = [f"call-{number}" for number in range(5)]


def called(**more: object) -> Schedule:
    return Schedule.of({"type": "event", "webhook": {}, **more})


class Caller:
    """Calls a workflow until each of its keys was answered, as a sender does that comes again."""

    def __init__(self, world: World, keys: list[str]) -> None:
        self._world, self.keys = world, keys
        self.answered: dict[str, Answered] = {}

    async def send(self) -> None:
        for key in [k for k in self.keys if k not in self.answered]:
            await asyncio.sleep(3)
            assert self._world.keeper is not None
            try:
                self.answered[key] = await self._world.keeper.call(key)
            except UnavailableError:
                return


async def at_once(world: World, keys: list[str]) -> list[Answered]:
    await asyncio.sleep(1)
    assert world.keeper is not None
    return list(await asyncio.gather(*(world.keeper.call(key) for key in keys)))


def answers(world: World, seconds: float, keys: list[str]) -> list[Answered]:
    """Return what calls are told that come at once."""
    found: list[Answered] = []

    async def call() -> None:
        found.extend(await at_once(world, keys))

    assert world.live(seconds, during=call())
    return found


def test_a_call_that_is_repeated_until_it_is_answered_is_run_once_wherever_the_process_dies() -> None:
    deaths = 0
    for after in (False, True):
        step = 0
        while True:
            step += 1
            world = World(START, called(overlap="queue"), Works(seconds=lambda _: 5.0))
            caller = Caller(world, KEYS)
            lived = world.live(2 * MINUTE, Fuse(step, after=after), caller.send())
            if not lived:
                deaths += 1
                before = dict(caller.answered)
                world.away(10)
                again = Caller(world, KEYS)  # the sender died too, and sends all of them again
                assert world.live(3 * MINUTE, during=again.send())
                assert all(again.answered[key].repeated for key in before), step
                assert {k: a.run for k, a in before.items()}.items() <= {
                    k: a.run for k, a in again.answered.items()
                }.items()
                caller = again
            assert sorted(world.works.done) == sorted(a.run for a in caller.answered.values()), f"{step}, {after}"
            assert world.count() == Counter(a.run for a in caller.answered.values())
            assert [r.key for r in world.records()] == KEYS
            assert {r.status for r in world.records()} == {"succeeded"}
            if lived:
                break
    assert deaths > 30


def test_calls_without_a_key_that_come_at_once_are_runs_of_their_own() -> None:
    world = World(START, called(overlap="queue", queue_max=100))
    found = answers(world, 5 * MINUTE, [""] * 20)
    assert [a.run for a in found] == world.works.done
    assert len(set(world.works.done)) == 20


def test_the_same_key_at_once_is_one_run() -> None:
    world = World(START, called(overlap="queue"))
    first, second, other = answers(world, MINUTE, ["a", "a", "b"])
    assert (first.run, first.repeated, second.repeated) == (second.run, False, True)
    assert world.works.done == [first.run, other.run]


def test_a_call_while_a_run_goes_on_is_left_out_and_may_come_again() -> None:
    world = World(START, called(), Works(seconds=lambda _: 30.0))
    first, second = answers(world, MINUTE, ["a", "b"])
    assert second.refused == "the run before had not ended"
    assert not second.later
    assert world.runs()[0] == (first.run, "succeeded") or world.runs()[1] == (first.run, "succeeded")
    assert [r.status for r in world.records() if r.run != first.run] == ["skipped"]
    assert [a.repeated for a in answers(world, MINUTE, ["b", "a"])] == [False, True]
    assert len(world.works.done) == 2


def test_a_call_takes_the_place_of_the_run_before_it_where_the_schedule_says_so() -> None:
    world = World(START, called(overlap="cancel"), Works(seconds=lambda _: 20.0))
    caller = Caller(world, ["a", "b"])
    assert world.live(2 * MINUTE, during=caller.send())
    assert world.runs() == [(caller.answered["a"].run, "stopped"), (caller.answered["b"].run, "succeeded")]


def test_more_calls_than_may_wait_are_told_to_come_later() -> None:
    world = World(START, called(overlap="queue", queue_max=2), Works(seconds=lambda _: 30.0))
    found = answers(world, 5 * MINUTE, ["a", "b", "c", "d"])
    refused = [a for a in found if a.refused]
    assert {a.refused for a in refused} == {"2 runs wait already"}
    assert all(a.later for a in refused)
    assert len(world.works.done) == len(found) - len(refused)


@pytest.mark.parametrize(
    ("dates", "why"),
    [
        ({"start_date": "2026-02-01"}, "nothing runs before 2026-02-01T00:00:00Z"),
        ({"end_date": "2025-12-31T12:00"}, "nothing runs after 2025-12-31T12:00:00Z"),
    ],
)
def test_outside_of_the_dates_nothing_is_begun(dates: dict[str, str], why: str) -> None:
    world = World(START, called(**dates))
    assert [a.refused for a in answers(world, MINUTE, ["a"])] == [why]
    assert world.records() == []


def test_a_key_is_known_as_long_as_the_history_keeps_its_run() -> None:
    world = World(START, called(overlap="queue", retain=3, queue_max=1))
    for number in range(8):
        assert [a.repeated for a in answers(world, MINUTE, [f"k{number}"])] == [False]
    assert [a.repeated for a in answers(world, MINUTE, ["k7"])] == [True]
    assert [a.repeated for a in answers(world, MINUTE, ["k0"])] == [False]


def test_a_caller_that_has_left_starts_nothing() -> None:
    world = World(START, called())

    async def call() -> None:
        await asyncio.sleep(1)
        assert world.keeper is not None
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await world.keeper.call("a")

    assert world.live(MINUTE, during=call())
    assert world.works.done == []


def test_calls_that_nobody_takes_are_told_so_and_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "CALLS_MAX", 3)
    world = World(START, called(overlap="queue"))

    async def call() -> None:
        await asyncio.sleep(1)
        assert world.keeper is not None
        found = await asyncio.gather(*(world.keeper.call("") for _ in range(5)), return_exceptions=True)
        assert [isinstance(one, UnavailableError) for one in found] == [False] * 3 + [True] * 2

    assert world.live(MINUTE, during=call())
    assert len(world.works.done) == 3
    assert world.keeper is not None
    with pytest.raises(UnavailableError, match="nobody can take the call now"):
        world.loop.run_until_complete(world.keeper.call("late"))
