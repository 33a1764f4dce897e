"""A schedule is kept: on time, once, over crashes, overlaps, absences and clocks that are set. In simulated time."""

from __future__ import annotations

import asyncio
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.operate.world import HOUR, MINUTE, Fuse, Works, World

from dataflare.monitoring.events import RunBegun, RunPlanned, RunRetried, RunSkipped
from dataflare.operate import keeper as keeping
from dataflare.schedule import MICROSECONDS, Schedule, text_of

START = 1_767_225_600 * MICROSECONDS
"""2026-01-01 in UTC."""

DAY = 24 * HOUR


def every(seconds: float, **more: object) -> Schedule:
    return Schedule.of({"type": "interval", "interval": float(seconds), **more})


def names(schedule: Schedule, count: int) -> list[str]:
    return [text_of(t) for t in islice(schedule.instants(START, START), count)]


def test_a_quarter_of_nightly_runs_each_begins_on_time_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "WAIT_SECONDS_MAX", 4.0 * HOUR)
    schedule = Schedule.of({"type": "cron", "expression": "30 2 * * *", "timezone": "Europe/Oslo"})
    world = World(START, schedule, Works(seconds=lambda _: 600.0))
    assert world.live(90 * DAY)
    assert world.works.done == names(schedule, 90)
    assert "2026-03-29T01:00:00Z" in world.works.done  # 02:30 was not there: at 03:00 in Oslo
    assert [r.began - r.planned for r in world.records()] == [0] * 90
    assert [r.ended - r.began for r in world.records()] == [600 * MICROSECONDS] * 90


def test_a_scheduler_that_dies_at_any_step_begins_each_run_once() -> None:
    schedule = every(MINUTE, missed="all", overlap="queue")
    step = deaths = 0
    for after in (False, True):
        step = 0
        while True:
            step += 1
            world = World(START, schedule, Works(seconds=lambda _: 5.0))
            if world.live(4 * MINUTE + 30, Fuse(step, after=after)):
                break
            deaths += 1
            world.away(100)
            assert world.live(7 * MINUTE)
            done = world.works.done
            unknown = 1 if step == 1 and not after else 0  # it died before the schedule was taken up
            expected = names(schedule, len(done) + unknown)[unknown:]
            assert done == expected, f"death at step {step}, after it: {after}"
            assert len(done) >= 7
            assert world.runs() == [(name, "succeeded") for name in done]
    assert deaths > 50


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 60), st.booleans(), st.integers(0, 400)), max_size=6),
    st.sampled_from(["skip", "queue", "cancel"]),
    st.sampled_from(["one", "all", "none"]),
    st.sampled_from([5.0, 70.0, 130.0]),
    st.booleans(),
)
def test_no_run_is_ever_complete_twice_and_none_overlaps(
    deaths: list[tuple[int, bool, int]], overlap: str, missed: str, seconds: float, fails: bool
) -> None:
    schedule = every(MINUTE, missed=missed, overlap=overlap, retries={"attempts": 2, "initial": 7.0})
    tries: dict[str, int] = {}

    def failing(run: object) -> bool:
        name = run.id  # type: ignore[attr-defined]
        tries[name] = tries.get(name, 0) + 1
        return fails and tries[name] == 1

    world = World(START, schedule, Works(seconds=lambda _: seconds, fails=failing))
    for step, after, away in deaths:
        world.live(10 * MINUTE, Fuse(step, after=after))
        world.away(away)
    world.live(10 * MINUTE)
    assert max(world.count().values(), default=0) <= 1
    assert world.works.most_at_once <= 1
    assert world.works.done == sorted(world.works.done)
    final = [r for r in world.records() if not r.open]
    succeeded = [r.run for r in final if r.status == "succeeded"]
    assert len(set(succeeded)) == len(succeeded)
    unrecorded = set(world.works.done) - set(succeeded)
    assert len(unrecorded) <= 1  # the one that a stop left open
    instants = [r.planned for r in final if r.status != "skipped"]
    assert instants == sorted(set(instants))


@pytest.mark.parametrize(
    ("missed", "minutes", "made_up_for"),
    [("one", [1, 11, 12, 13], 9), ("all", list(range(1, 14)), 0), ("none", [1, 11, 12, 13], 0)],
)
def test_an_absence_is_made_up_for_by_one_run_by_all_or_by_none(
    missed: str, minutes: list[int], made_up_for: int
) -> None:
    world = World(START, every(MINUTE, missed=missed))
    world.live(MINUTE + 10)
    world.away(10 * MINUTE + 40)  # the run of minute 11 is 50 s late, which is in time
    world.live(2 * MINUTE)
    assert world.works.done == [f"2026-01-01T00:{minute:02}:00Z" for minute in minutes]
    assert sum(r.missed for r in world.records()) == made_up_for


@pytest.mark.parametrize(("missed", "done"), [("one", 2), ("all", 2), ("none", 1)])
def test_a_run_that_would_be_more_than_a_minute_late_is_missed(missed: str, done: int) -> None:
    world = World(START, every(HOUR, missed=missed))
    world.live(MINUTE)
    world.away(HOUR + MINUTE)
    world.live(HOUR)
    assert world.works.done == names(every(HOUR), 2)[-done:]


def test_of_a_long_absence_only_the_newest_runs_are_made_up_for() -> None:
    world = World(START, every(MINUTE, missed="all", missed_max=3))
    world.live(10)
    world.away(HOUR - 20)
    world.live(5)
    assert world.works.done == ["2026-01-01T00:57:00Z", "2026-01-01T00:58:00Z", "2026-01-01T00:59:00Z"]


def test_a_run_that_takes_too_long_makes_the_next_be_left_out() -> None:
    world = World(START, every(MINUTE), Works(seconds=lambda _: 90.0))
    world.live(5 * MINUTE + 50)
    assert [r for r, status in world.runs() if status == "succeeded"] == names(
        every(2 * MINUTE, start_date="2026-01-01T00:01"), 2
    )
    assert [r for r, status in world.runs() if status == "skipped"] == ["2026-01-01T00:02:00Z", "2026-01-01T00:04:00Z"]
    assert sum(isinstance(e, RunSkipped) for e in world.events) == 2


def test_runs_wait_for_their_turn_in_a_queue_that_has_an_end() -> None:
    world = World(START, every(MINUTE, overlap="queue", queue_max=2), Works(seconds=lambda _: 200.0))
    world.live(12 * MINUTE)
    done = world.works.done
    assert done == names(every(MINUTE), 3)
    skipped = [r for r, status in world.runs() if status == "skipped"]
    assert "2026-01-01T00:04:00Z" in skipped
    assert set(skipped).isdisjoint(done)


def test_a_later_run_takes_the_place_of_the_one_that_is_under_way() -> None:
    world = World(
        START, every(MINUTE, overlap="cancel"), Works(seconds=lambda run: 300.0 if "00:01" in run.id else 5.0)
    )
    world.live(2 * MINUTE + 30)
    assert world.runs() == [("2026-01-01T00:01:00Z", "stopped"), ("2026-01-01T00:02:00Z", "succeeded")]
    assert world.records()[0].ended == START + 2 * MINUTE * MICROSECONDS


def test_a_clock_that_goes_back_repeats_nothing_and_one_that_goes_forward_leaves_nothing_out() -> None:
    world = World(START, every(MINUTE, missed="all"))

    async def set_back_and_forward() -> None:
        await asyncio.sleep(3 * MINUTE + 30)
        world.clock.offset = -2 * MINUTE * MICROSECONDS
        await asyncio.sleep(5 * MINUTE)
        world.clock.offset = 3 * MINUTE * MICROSECONDS

    world.live(12 * MINUTE + 30, during=set_back_and_forward())
    assert world.works.done == names(every(MINUTE), len(world.works.done))
    assert len(world.works.done) == 15
    third, fourth = world.records()[2:4]
    assert fourth.began - third.began == MINUTE * MICROSECONDS  # by the clock; three minutes had passed


def test_a_failed_run_is_tried_again_after_growing_waits_and_then_is_failed() -> None:
    schedule = every(HOUR, retries={"attempts": 2, "initial": 10.0, "max": 15.0})
    world = World(START, schedule, Works(fails=lambda _: True))
    world.live(HOUR + 10 * MINUTE)
    (record,) = world.records()
    assert (record.status, record.tries) == ("failed", 3)
    assert record.error is not None
    assert record.error["message"] == "no answer"
    assert [e.retry_in_seconds for e in world.events if isinstance(e, RunRetried)] == [10.0, 15.0]
    assert [e.tries for e in world.events if isinstance(e, RunBegun)] == [1, 2, 3]


def test_a_run_that_was_drained_with_its_scheduler_goes_on_with_the_next_one() -> None:
    world = World(START, every(HOUR), Works(seconds=lambda _: 100.0))
    world.live(HOUR + 50)
    assert world.runs() == [("2026-01-01T01:00:00Z", "running")]
    world.away(30)
    world.live(5 * MINUTE)
    assert world.runs() == [("2026-01-01T01:00:00Z", "succeeded")]
    assert world.records()[0].tries == 2


def test_a_workflow_that_another_process_runs_is_left_out_or_waits() -> None:
    for overlap, expected in (("skip", ["skipped", "succeeded"]), ("queue", ["succeeded", "succeeded"])):
        world = World(START, every(HOUR, overlap=overlap), Works(held_until=HOUR + 10 * MINUTE))
        world.live(2 * HOUR + MINUTE)
        assert [status for _, status in world.runs()] == expected, overlap
        assert world.works.done == [name for name, status in world.runs() if status == "succeeded"]


def test_a_schedule_with_other_rules_begins_anew_and_keeps_what_was_planned() -> None:
    world = World(START, every(MINUTE, overlap="queue"), Works(seconds=lambda _: 70.0))
    world.live(2 * MINUTE + 30)
    assert [status for _, status in world.runs()] == ["succeeded", "running"]
    world.away(HOUR)
    world.schedule = every(2 * HOUR)
    world.live(MINUTE + 20)
    assert world.works.done == ["2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z"]
    assert world.keeper is not None
    assert world.keeper.agenda.next == START + 2 * HOUR * MICROSECONDS


def test_other_rules_are_taken_up_without_an_end_and_the_run_under_way_goes_on() -> None:
    world = World(START, every(MINUTE, overlap="queue"), Works(seconds=lambda _: 70.0))

    async def change() -> None:
        await asyncio.sleep(MINUTE + 10)
        assert world.keeper is not None
        world.keeper.change(every(HOUR), world.history, ())

    assert world.live(2 * HOUR + 10 * MINUTE, during=change())
    assert world.works.done == ["2026-01-01T00:01:00Z", "2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z"]
    assert world.works.begun == world.works.done
    assert {r.tries for r in world.records()} == {1}


def test_a_keeper_that_is_to_leave_lets_its_run_end_and_begins_no_other() -> None:
    world = World(START, every(MINUTE, overlap="queue"), Works(seconds=lambda _: 200.0))

    async def leave() -> None:
        await asyncio.sleep(2 * MINUTE + 10)
        assert world.keeper is not None
        world.keeper.stop(drain=False)

    assert world.live(HOUR, during=leave())
    assert world.runs() == [("2026-01-01T00:01:00Z", "succeeded")]
    assert world.keeper is not None
    assert [run.id for run in world.keeper.agenda.queue] == ["2026-01-01T00:02:00Z"]


@pytest.mark.parametrize("steps", range(12))
def test_a_stop_while_a_run_is_begun_drains_it(steps: int) -> None:
    world = World(START, every(MINUTE), Works(seconds=lambda _: 1000.0))

    async def stop() -> None:
        await asyncio.sleep(MINUTE)
        for _ in range(steps):
            await asyncio.sleep(0)
        assert world.keeper is not None
        world.keeper.stop()

    assert world.live(HOUR, during=stop())
    assert world.loop.time() < 2 * MINUTE


def test_a_schedule_that_has_ended_ends_its_keeper() -> None:
    world = World(START, Schedule.of({"type": "once", "start_date": "2026-01-01T00:10"}))
    assert world.live(DAY)
    assert world.works.done == ["2026-01-01T00:10:00Z"]
    assert world.loop.time() < HOUR
    world.live(DAY)
    assert world.works.done == ["2026-01-01T00:10:00Z"]


def test_jitter_puts_a_start_off_and_leaves_its_name() -> None:
    schedule = every(HOUR, jitter=600.0)
    world = World(START, schedule)
    world.live(5 * HOUR + 20 * MINUTE)
    assert world.works.done == names(schedule, 5)
    put_off = [r.began - r.planned for r in world.records()]
    assert put_off == [schedule.lead("w", r.planned, START) for r in world.records()]
    assert max(put_off) > 0


def test_the_history_keeps_the_newest_runs() -> None:
    world = World(START, every(MINUTE, retain=5))
    world.live(20 * MINUTE + 30)
    assert world.runs() == [(name, "succeeded") for name in names(every(MINUTE), 20)[-5:]]


def test_a_run_is_told_once_it_is_durable() -> None:
    world = World(START, every(MINUTE))
    assert not world.live(5 * MINUTE, Fuse(3))
    planned = [e for e in world.events if isinstance(e, RunPlanned)]
    assert planned == []
