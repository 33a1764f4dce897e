"""Observers hear everything, in order, and none of them can stop a run or another observer."""

from __future__ import annotations

import io
import json
from functools import partial
from typing import TYPE_CHECKING

from dataflare.monitoring.events import (
    AttemptFailed,
    EpochCommitted,
    EpochSealed,
    NodeProgressed,
    Noticed,
    RowsRejected,
    RunStarted,
)
from dataflare.monitoring.log import JsonLines
from dataflare.monitoring.metrics import Counters, NodeCounts
from dataflare.monitoring.observers import Observers
from dataflare.security.secrets import Secret, scrub
from dataflare.testing.clock import ManualClock

if TYPE_CHECKING:
    from dataflare.monitoring.events import Event

STARTED = RunStarted("w", 1, 0)


def fails(event: Event) -> None:
    raise ValueError(f"cannot digest {type(event).__name__}")


def test_an_observer_that_fails_is_dropped_and_the_others_are_told_once() -> None:
    heard: list[Event] = []
    observers = Observers(fails, heard.append)
    for _ in range(3):
        observers(STARTED)
    notices = [e for e in heard if isinstance(e, Noticed)]
    assert len(notices) == 1
    assert "fails" in notices[0].message
    assert "cannot digest RunStarted" in notices[0].message
    assert heard.count(STARTED) == 3


def test_observers_that_all_fail_leave_silence() -> None:
    observers = Observers(fails, fails)
    observers(STARTED)
    observers(STARTED)


def test_the_log_has_one_json_object_a_line() -> None:
    stream, clock = io.StringIO(), ManualClock(1_700_000_000_000_000)
    log = JsonLines(stream, clock)
    log(EpochCommitted("w", 3, 1, 0.25, {"clean": {"in": 10, "out": 9, "filtered": 1}}))
    log(NodeProgressed("w", "clean", 10, 9))
    log(Noticed("w", "code", "a\nb"))
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert lines[0] == {
        "time": "2023-11-14T22:13:20.000000+00:00",
        "level": "info",
        "event": "epoch_committed",
        "workflow": "w",
        "epoch": 3,
        "attempt": 1,
        "seconds": 0.25,
        "rows": {"clean": {"in": 10, "out": 9, "filtered": 1}},
    }
    assert [(line["level"], line["event"]) for line in lines[1:]] == [("warning", "noticed")]


def test_the_log_shows_no_secret_even_one_that_came_later() -> None:
    stream, secrets = io.StringIO(), []
    log = JsonLines(stream, ManualClock(), partial(scrub, secrets=secrets))
    secrets.append(Secret("swordfish"))
    log(AttemptFailed("w", 1, "external", "login as app:swordfish failed"))
    assert "swordfish" not in stream.getvalue()
    assert "app:***" in stream.getvalue()


def test_counters_add_up_and_a_picture_does_not_change() -> None:
    counters = Counters()
    counters(RunStarted("w", 2, 4))
    counters(NodeProgressed("w", "a", 0, 10, bytes_read=100, busy_seconds=0.5))
    before = counters.read()
    counters(NodeProgressed("w", "a", 0, 5, bytes_read=50, busy_seconds=0.25))
    counters(RowsRejected("w", "a", 2, "not a number"))
    for epoch in (5, 6):
        counters(EpochSealed("w", epoch, 2))
        counters(EpochCommitted("w", epoch, 2, 0.1, {"a": {"out": 7}}))
    counters(AttemptFailed("w", 2, "external", "gone"))
    after = counters.read()
    assert before.nodes["a"] == NodeCounts(0, 10, 0, 100, 0.5)
    assert after.nodes["a"] == NodeCounts(0, 15, 2, 150, 0.75)
    assert after.rows_committed == {"a": {"out": 14}}
    assert (after.attempt, after.resumed_epoch, after.attempts_failed) == (2, 4, 1)
    assert (after.epoch_sealed, after.epoch_committed, after.epochs) == (6, 6, 2)
