"""The demo runs, is killed, goes on, and finds that both outputs hold the same; here on fewer flights."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
from typing import TYPE_CHECKING

import pytest

from dataflare.cli import demo, demo_data
from dataflare.cli.demo_data import Content
from dataflare.cli.demo_death import Death
from dataflare.cli.main import main
from dataflare.errors import StateError
from dataflare.monitoring.events import EpochCommitted, EpochSealed, NodeProgressed, RunStarted
from dataflare.testing.faults import rows_seen, sealed

if TYPE_CHECKING:
    from pathlib import Path

    from dataflare.monitoring.events import Event

COLUMNS = "year,carrier,flight,tailnum,origin,dest,time_hour,dep_delay,arr_delay,air_time,distance"
FLIGHTS = 40_000
WENT_ON = r"It went on behind epoch (\d+): ([\d,]+) rows .* not read again. It read the other ([\d,]+) "


def flights_in(folder: Path) -> None:
    folder.mkdir(parents=True)
    lines = [
        f"2013,{('UA', 'AA', 'B6')[n % 3]},{n},N{n % 99},{('EWR', 'JFK')[n % 2]},IAH,2013-01-{1 + n % 28:02}T10:00:00Z,"
        f"{'NA' if n % 40 == 0 else n % 70 - 10},{'NA' if n % 39 == 0 else n % 60 - 20},227,{500 + n % 900}"
        for n in range(FLIGHTS)
    ]
    (folder / "flights.csv").write_text("\n".join([COLUMNS, *lines]) + "\n")


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.once
def test_the_demo_shows_that_nothing_is_lost_and_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flights_in(tmp_path / "data")
    assert main(["demo", "--folder", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "40,000 flights" in out
    assert out.count("the same\n") == 3
    assert ["flights", "39,000", "39,000"] in [line.split()[:3] for line in out.splitlines()]
    assert "It is dead." in out
    epoch, kept, read = (int(n.replace(",", "")) for n in re.findall(WENT_ON, out)[0])
    assert epoch >= 1
    assert FLIGHTS // 3 <= kept < FLIGHTS, "it went on from a committed place, and had lost rows behind it"
    assert kept + read == FLIGHTS
    assert (tmp_path / "flights.svg").read_text().startswith("<svg")
    assert main(["demo", "--folder", str(tmp_path)]) == 0, "it can be shown again"


def test_a_difference_is_not_glossed_over(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StateError):
        demo._compare({"flights": Content(2, "ab")}, {"flights": Content(2, "cd")})
    assert "DIFFERENT" in capsys.readouterr().out


def test_checksums_do_not_depend_on_order_but_on_every_row() -> None:
    rows = [b"a", b"b", b"b"]
    assert demo_data._summed(iter(rows)) == demo_data._summed(iter(rows[::-1]))
    assert demo_data._summed(iter(rows)) != demo_data._summed(iter([b"a", b"a", b"b"]))


def test_missing_data_is_said_with_the_cure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["demo", "--folder", str(tmp_path)]) == 3
    assert "make demo" in capsys.readouterr().err


async def test_the_gate_waits_for_an_epoch_and_then_for_death() -> None:
    death, passed = Death(9), []

    async def reads() -> None:
        while True:
            await death.pass_rows(1)
            passed.append(1)

    reading = asyncio.create_task(reads())
    await settled()
    assert len(passed) == 3
    death(EpochCommitted("w", 1, 1, 0.1))
    await settled()
    assert len(passed) == 6
    reading.cancel()


async def test_death_comes_behind_half_of_the_rows_and_a_committed_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []
    monkeypatch.setattr(os, "kill", lambda *_: killed.append(1))
    few, many = NodeProgressed("w", demo.SOURCE, 0, 4), NodeProgressed("w", demo.SOURCE, 0, 5)
    seal, commit = EpochSealed("w", 1, 1), EpochCommitted("w", 1, 1, 0.1)

    def dies(*events: Event) -> bool:
        killed.clear()
        death = Death(10)
        for event in events:
            death(event)
        return bool(killed)

    assert not dies(many, seal, commit), "nothing was committed when it was sealed"
    assert not dies(few, seal, commit, seal)
    assert not dies(seal, commit, many)
    assert dies(few, seal, commit, many, seal)


def test_conditions_of_faults_fit_when_they_should() -> None:
    enough = rows_seen("raw", 10)
    told = [NodeProgressed("w", "raw", 0, 6), NodeProgressed("w", "x", 0, 99), NodeProgressed("w", "raw", 0, 4)]
    assert [enough(event) for event in told] == [False, False, True]
    events = [RunStarted("w", 1, 0), EpochSealed("w", 1, 1), EpochSealed("w", 2, 1)]
    assert [sealed(2)(event) for event in events] == [False, False, True]
