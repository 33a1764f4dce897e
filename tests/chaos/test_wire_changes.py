"""The network between tables and who follows them is slow, is cut, falls silent: nothing is lost or told twice."""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests import mariadb, postgres
from tests.chaos.paths import ChangePath, change_path
from tests.chaos.processes import begin, end, wait_until
from tests.wire import Cuttable, cuttable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROWS, CUTS, SILENCES = 1500, 8, 2
VARIABLES = {"postgres": postgres.VARIABLE, "mariadb": mariadb.VARIABLE}
IMPATIENT = "keepalives_idle=1&keepalives_interval=1&tcp_user_timeout=2000&options=-c%20wal_sender_timeout%3D2s"
"""Seconds, where a minute is the rule: the system here, and the server there, miss the other side."""


@pytest.fixture(params=["postgres", "mariadb"])
def wire(request: pytest.FixtureRequest) -> Iterator[tuple[str, Cuttable]]:
    """Give a kind of server and the wire to it."""
    url = os.environ.get(VARIABLES[request.param])
    if not url:
        pytest.skip(f"{VARIABLES[request.param]} is not set: python scripts/services.py start, then env")
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    with cuttable(parts.hostname, parts.port) as found:
        yield request.param, found


def through(kind: str, wire: Cuttable, options: str = "") -> dict[str, str]:
    """Return the environment of a run whose server is behind the wire."""
    url = os.environ[VARIABLES[kind]]
    return {
        VARIABLES[kind]: url.replace(f":{urlsplit(url).port}", f":{wire.port}") + (f"?{options}" if options else "")
    }


def patient(path: ChangePath) -> None:
    """Let the workflow try again and again."""
    text = path.case.file.read_text()
    path.case.file.write_text(text.replace("initial: 50ms", "initial: 50ms, max: 200ms, attempts: 1000"))


def equal(path: ChangePath) -> None:
    """Run over a wire that is whole, and compare."""
    path.settle()
    assert path.found() == path.wanted()


@pytest.mark.postgres
@pytest.mark.mariadb
def test_a_slow_wire_to_both_ends_that_is_cut_again_and_again(tmp_path: Path, wire: tuple[str, Cuttable]) -> None:
    kind, line = wire
    rng = random.Random(f"cuts/{kind}")
    with change_path(kind, kind, tmp_path, ROWS) as path:
        patient(path)
        line.pause_seconds = 0.002
        writer = path.writer(5)
        process = begin(tmp_path, "run", "workflow.yaml", environ=through(kind, line))
        writer.start()
        try:
            for _ in range(CUTS):
                wanted = line.made + 5  # the reader's and those of its destinations
                wait_until(lambda: line.made >= wanted, process)  # noqa: B023 - now
                time.sleep(rng.uniform(0, 0.6))
                assert line.cut() > 0
        finally:
            writer.stop()
            end(process)
        equal(path)


@pytest.mark.postgres
def test_a_wire_that_swallows_all_packets_is_noticed_and_another_one_is_taken(tmp_path: Path) -> None:
    parts = urlsplit(os.environ.get(postgres.VARIABLE, ""))
    with (
        change_path("postgres", "files", tmp_path, ROWS) as path,
        cuttable(parts.hostname or "", parts.port or 0) as line,
    ):
        patient(path)
        process = begin(tmp_path, "run", "workflow.yaml", environ=through("postgres", line, IMPATIENT))
        writer = path.writer(6)
        writer.start()
        try:
            for silence in range(SILENCES):  # at first while tables are read, then while they are followed
                wanted = len(published(path)) + (2 if silence == 0 else 20)
                wait_until(lambda: len(published(path)) >= wanted, process)  # noqa: B023 - now
                made = line.made
                assert line.swallow() > 0
                wait_until(lambda: line.made > made, process)  # noqa: B023 - now
        finally:
            writer.stop()
            end(process)
        equal(path)


def published(path: ChangePath) -> list[Path]:
    """Return the files of changes that are there to be read."""
    return list(path.case.folder.glob("*/part-*.parquet"))
