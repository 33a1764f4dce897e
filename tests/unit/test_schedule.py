"""The rules of schedules: instants by cron, interval and date, through summer time, dates, jitter and absences."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataflare.errors import WorkflowError
from dataflare.schedule import MICROSECONDS, Retries, Schedule, faults, instant_of, moment_of, text_of

DAY = 86_400 * MICROSECONDS


def at(text: str) -> int:
    """Return the instant of a text, in UTC unless it says otherwise."""
    moment = datetime.fromisoformat(text)
    return instant_of(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def cron(expression: str, zone: str = "UTC", **more: object) -> Schedule:
    return Schedule.of({"type": "cron", "expression": expression, "timezone": zone, **more})


def times(schedule: Schedule, after: str, count: int, anchor: int = 0) -> list[str]:
    return [text_of(t, schedule.zone) for t in islice(schedule.instants(at(after), anchor), count)]


@pytest.mark.parametrize(
    ("expression", "after", "first"),
    [
        ("0 2 * * *", "2026-01-01", ["2026-01-01T02:00:00Z", "2026-01-02T02:00:00Z"]),
        ("*/20 9-10 * * *", "2026-01-01T09:30", ["2026-01-01T09:40:00Z", "2026-01-01T10:00:00Z"]),
        ("30 8 * * mon-fri", "2026-01-02T09:00", ["2026-01-05T08:30:00Z", "2026-01-06T08:30:00Z"]),
        ("0 0 29 feb *", "2026-01-01", ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
        ("0 0 L * *", "2026-01-31T00:00", ["2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"]),
        ("0 0 * * fri#1", "2026-01-05", ["2026-02-06T00:00:00Z", "2026-03-06T00:00:00Z"]),
        ("0 0 13 * fri", "2026-01-01", ["2026-01-02T00:00:00Z", "2026-01-09T00:00:00Z"]),
        ("*/15 * * * * *", "2026-01-01", ["2026-01-01T00:00:15Z", "2026-01-01T00:00:30Z"]),
        ("@weekly", "2026-01-01", ["2026-01-04T00:00:00Z", "2026-01-11T00:00:00Z"]),
        ("@Hourly", "2026-01-01T00:00:00.5", ["2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z"]),
    ],
)
def test_a_cron_expression_comes_when_it_says(expression: str, after: str, first: list[str]) -> None:
    assert times(cron(expression), after, 2) == first


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        # put forward on 2026-03-29 in Oslo: 02:00 to 03:00 is not there
        ("30 2 * * *", "2026-03-28T12:00", ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]),
        ("0,30 2 * * *", "2026-03-28T12:00", ["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"]),
        ("0 3 * * *", "2026-03-28T12:00", ["2026-03-29T03:00:00+02:00", "2026-03-30T03:00:00+02:00"]),
        ("0 * * * *", "2026-03-29T00:00", ["2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00"]),
        # put back on 2026-10-25: 02:00 to 03:00 comes twice
        ("30 2 * * *", "2026-10-24T12:00", ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]),
        ("30 * * * *", "2026-10-25T00:00", ["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"]),
    ],
)
def test_summer_time_neither_loses_nor_repeats_a_daily_run(expression: str, after: str, expected: list[str]) -> None:
    assert times(cron(expression, "Europe/Oslo"), after, 2) == expected


EXPRESSIONS = [
    "30 2 * * *",
    "*/30 * * * *",
    "0 */6 * * *",
    "15 1,2,3 * * *",
    "0 0 * * *",
    "*/10 2 * * mon",
    "0 3 1 * *",
]
ZONES = ["Europe/Oslo", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Beirut", "UTC"]
MOMENTS = st.integers(at("2015-01-01"), at("2030-01-01"))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(EXPRESSIONS), st.sampled_from(ZONES), MOMENTS, st.integers(1, 9 * DAY))
@example("30 2 * * *", "Europe/Oslo", at("2026-10-25T00:45"), DAY)
@example("0 0 * * *", "America/Sao_Paulo", at("2018-11-03T12:00"), 2 * DAY)
def test_instants_do_not_depend_on_where_one_begins_to_look(
    expression: str, zone: str, after: int, further: int
) -> None:
    schedule = cron(expression, zone)
    whole = list(islice(schedule.instants(after, 0), 50))
    assert all(a < b for a, b in pairwise([after, *whole]))
    later = list(islice(schedule.instants(after + further, 0), 10))
    if whole[-1] > after + further:
        expected = [t for t in whole if t > after + further][:10]
        assert later[: len(expected)] == expected


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(EXPRESSIONS), st.sampled_from(ZONES), MOMENTS, st.integers(0, 5 * DAY), st.integers(1, 9))
def test_the_newest_instants_are_the_end_of_all(expression: str, zone: str, after: int, span: int, count: int) -> None:
    schedule = cron(expression, zone)
    everything = [t for t in islice(schedule.instants(after, 0), 400) if t <= after + span]
    newest, more = schedule.latest(after, after + span, count, 0)
    assert newest == everything[-count:]
    assert more is (len(everything) > count)


def test_a_century_of_absence_costs_no_more_than_an_hour() -> None:
    steps = 0

    class Counted(Schedule):
        __slots__ = ()

        def instants(self, after: int, anchor: int):  # type: ignore[no-untyped-def]
            nonlocal steps
            for instant in super().instants(after, anchor):
                steps += 1
                yield instant

    schedule = Counted(type="cron", expression="* * * * *")
    newest, more = schedule.latest(at("1930-01-01"), at("2030-01-01"), 3, 0)
    assert [text_of(t) for t in newest] == ["2029-12-31T23:58:00Z", "2029-12-31T23:59:00Z", "2030-01-01T00:00:00Z"]
    assert more
    assert steps < 100


def test_a_year_of_days_in_a_zone_has_one_run_each() -> None:
    schedule = cron("30 2 * * *", "Europe/Oslo")
    days = [moment_of(t, schedule.zone).date() for t in islice(schedule.instants(at("2026-01-01"), 0), 365)]
    assert days == [datetime(2026, 1, 1, tzinfo=UTC).date() + timedelta(days=n) for n in range(365)]


def test_an_interval_is_aligned_with_the_clock_or_with_its_start() -> None:
    clock = Schedule.of({"type": "interval", "interval": 900.0})
    assert times(clock, "2026-01-01T00:07", 2) == ["2026-01-01T00:15:00Z", "2026-01-01T00:30:00Z"]
    dated = Schedule.of({"type": "interval", "interval": 900.0, "start_date": "2026-01-01T00:05"})
    assert times(dated, "2025-01-01", 2) == ["2026-01-01T00:05:00Z", "2026-01-01T00:20:00Z"]
    start = Schedule.of({"type": "interval", "interval": 900.0, "align": "start"})
    anchor = at("2026-01-01T00:07")
    assert times(start, "2026-01-01T00:06:59", 2, anchor) == ["2026-01-01T00:07:00Z", "2026-01-01T00:22:00Z"]
    assert times(start, "2026-01-01T00:07", 1, anchor) == ["2026-01-01T00:22:00Z"]


def test_once_is_once() -> None:
    dated = Schedule.of({"type": "once", "start_date": "2026-01-01T08:00", "timezone": "Europe/Oslo"})
    assert times(dated, "2026-01-01", 5) == ["2026-01-01T08:00:00+01:00"]
    assert times(dated, "2026-01-01T07:00", 5) == []
    assert times(Schedule.of({"type": "once"}), "2026-01-01", 5, at("2026-01-02")) == ["2026-01-02T00:00:00Z"]


def test_nothing_comes_before_the_start_date_or_after_the_end_date() -> None:
    schedule = cron("0 12 * * *", start_date="2026-01-03", end_date="2026-01-05")
    assert times(schedule, "2025-01-01", 9) == [f"2026-01-0{day}T12:00:00Z" for day in (3, 4, 5)]
    assert schedule.next(at("2026-01-05T12:00"), 0) is None
    assert times(cron("0 12 * * *", start_date="2026-01-03T12:00"), "2025-01-01", 1) == ["2026-01-03T12:00:00Z"]


@given(st.integers(0, 400 * DAY), st.sampled_from([1.0, 600.0, 1e6]))
def test_jitter_is_the_same_for_the_same_run_and_never_reaches_the_next(instant: int, jitter: float) -> None:
    schedule = Schedule.of({"type": "interval", "interval": 60.0, "jitter": jitter})
    planned = schedule.next(instant, 0)
    assert planned is not None
    put_off = schedule.lead("w", planned, 0)
    assert 0 <= put_off < min(jitter, 60) * MICROSECONDS
    assert put_off == schedule.lead("w", planned, 0)


def test_jitter_spreads_workflows() -> None:
    schedule = cron("0 2 * * *", jitter=3600.0)
    leads = {schedule.lead(f"w{n}", at("2026-01-01T02:00"), 0) for n in range(50)}
    assert len(leads) == 50
    assert max(leads) > 1800 * MICROSECONDS > min(leads)


def test_waits_after_failures_double_up_to_a_longest() -> None:
    assert [Retries(9, 10.0, 60.0).pause(n) for n in (1, 2, 3, 4, 99)] == [10.0, 20.0, 40.0, 60.0, 60.0]


@pytest.mark.parametrize(
    ("text", "settings_at_fault"),
    [
        ({"type": "cron"}, ["type"]),
        ({"type": "cron", "expression": "61 * * * *"}, ["expression"]),
        ({"type": "cron", "expression": "* * * *"}, ["expression"]),
        ({"type": "cron", "expression": "0 0 31 2 *"}, ["expression"]),
        ({"type": "cron", "expression": "* * */20 * 1L"}, ["expression"]),
        ({"type": "cron", "expression": "9" * 5000}, ["expression"]),
        ({"type": "cron", "expression": "@reboot"}, ["expression"]),
        ({"type": "cron", "expression": "0 0 * * *", "interval": 5.0, "files": "*"}, ["interval", "files"]),
        ({"type": "interval"}, ["type"]),
        ({"type": "event"}, ["type"]),
        ({"type": "event", "event": "a", "align": "start"}, ["align"]),
        ({"type": "once", "timezone": "Europe/Olso"}, ["timezone"]),
        ({"type": "once", "timezone": "../etc/passwd"}, ["timezone"]),
        ({"type": "once", "timezone": ""}, ["timezone"]),
        ({"type": "once", "start_date": "tomorrow", "end_date": "2026-02-30"}, ["start_date", "end_date"]),
        ({"type": "once", "start_date": "2026-02-02", "end_date": "2026-02-01"}, ["end_date"]),
        ({"type": "once", "start_date": "2026-02-02", "end_date": "2026-02-02"}, []),
        ({"type": "event", "after": {"workflow": "other"}}, []),
        ({"type": "event", "webhook": {}}, []),
        ({"type": "cron", "expression": "0 0 * * *", "webhook": {}}, ["webhook"]),
    ],
)
def test_everything_wrong_is_told_at_its_setting(text: dict[str, object], settings_at_fault: list[str]) -> None:
    assert [wrong.setting for wrong in faults(text)] == settings_at_fault
    if settings_at_fault:
        with pytest.raises(WorkflowError, match=f"schedule.{settings_at_fault[0]}"):
            Schedule.of(text)


def test_the_timezone_of_a_date_is_that_of_the_schedule_unless_it_has_its_own() -> None:
    own = Schedule.of({"type": "once", "start_date": "2026-07-01T08:00+00:00", "timezone": "Europe/Oslo"})
    assert own.start == at("2026-07-01T08:00")
    theirs = Schedule.of({"type": "once", "start_date": "2026-07-01", "timezone": "Europe/Oslo"})
    assert theirs.start == instant_of(datetime(2026, 7, 1, tzinfo=ZoneInfo("Europe/Oslo")))
