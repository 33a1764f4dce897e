"""How far a source is behind, made of places in a log and times of its server."""

from __future__ import annotations

from dataflare.component.lag import Lag, LagMeter

SECOND = 1_000_000


def test_nothing_is_told_before_the_end_of_the_log_is_known() -> None:
    assert LagMeter(10).lag() is None


def test_who_has_read_all_is_not_behind_however_long_nothing_happened() -> None:
    meter = LagMeter(10)
    meter.read(20, 1 * SECOND)
    meter.committed(20)
    meter.looked(20, 500 * SECOND)
    assert meter.lag() == Lag(0.0, 0.0, 0)


def test_who_has_not_is_behind_since_what_was_read_and_committed_last() -> None:
    meter = LagMeter(10)
    meter.read(20, 3 * SECOND)
    meter.committed(20)
    meter.read(40, 7 * SECOND)
    meter.looked(100, 10 * SECOND)
    assert meter.lag() == Lag(3.0, 7.0, 80)
    meter.committed(40)
    assert meter.lag() == Lag(3.0, 3.0, 60)


def test_log_in_which_nothing_is_wanted_counts_as_read_up_to_the_time_when_it_ended_there() -> None:
    meter = LagMeter(10)
    meter.read(20, 1 * SECOND)
    meter.looked(100, 50 * SECOND)
    meter.read(100)
    meter.looked(110, 52 * SECOND)
    assert meter.lag() == Lag(2.0, None, 100)
    meter.committed(100)
    assert meter.lag() == Lag(2.0, 2.0, 10)


def test_a_thousand_places_that_wait_for_a_commit_make_it_only_less_exact() -> None:
    meter = LagMeter(0)
    for place in range(1, 1001):
        meter.read(place, place * SECOND)
    meter.looked(2000, 1000 * SECOND)
    meter.committed(500)
    lag = meter.lag()
    assert lag is not None
    assert 500.0 <= (lag.committed_seconds or 0.0) < 700.0


def test_a_part_of_what_comes_next_makes_reading_newer_and_nothing_committed() -> None:
    meter = LagMeter(10)
    meter.read(20, 3 * SECOND)
    meter.read(20, 0, ahead=9 * SECOND)
    meter.committed(20)
    meter.looked(100, 10 * SECOND)
    assert meter.lag() == Lag(1.0, 7.0, 80)


def test_figures_are_those_that_are_known() -> None:
    assert Lag(1.23456, None, 5).figures() == {"seconds": 1.235, "bytes": 5}
