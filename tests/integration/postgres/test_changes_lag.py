"""How far changes are behind is told: by the source, by `status` and `top`, and at the end of a run."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from tests.changes import Followed, followers, forget, wait_for
from tests.postgres import VARIABLE, Place, place

from dataflare.connectors.postgres.changes.following import CHANGES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.postgres


@pytest.fixture
def spot() -> Iterator[Place]:
    with place() as found:
        found.run("create table {}.a (id int primary key, v text)")
        yield found


def test_what_is_not_read_and_not_committed_counts(spot: Place) -> None:
    with followers(spot, "cdc") as build:
        one: Followed = build("a")
        split = one.stream
        assert one.source.lag() is None
        spot.run("insert into {}.a select n, repeat('x', 100) from generate_series(1, 5000) n")

        async def followed() -> None:
            reading = one.source.read(split, None, None)
            first = await anext(reading)
            spot.run("insert into {}.a select -n, repeat('x', 100) from generate_series(1, 5000) n")
            spot.run("select pg_sleep(0.2)")
            stream: Any = one.source._following._stream
            await asyncio.to_thread(stream._beat)
            behind = one.source.lag()
            assert behind.bytes > 1_000_000
            assert min(behind.seconds, behind.committed_seconds or 0.2) >= 0.2
            while first.position["lsn"] == (later := await anext(reading)).position["lsn"]:
                pass
            one.source.acknowledge({CHANGES: later.position})
            assert one.source.lag().bytes < behind.bytes
            await reading.aclose()

        asyncio.run(followed())


WORKFLOW = """
id: {schema}
runtime: {{checkpoint: {{interval: 100ms}}}}
sources: {{shop: {{type: postgres, mode: cdc, config: {{url: "${{{variable}}}", table: {schema}.a}}}}}}
destinations: {{out: {{type: file, inputs: [shop], config: {{path: out, format: jsonl}}}}}}
"""


@contextmanager
def ending(run: subprocess.Popen[str], spot: Place) -> Iterator[None]:
    """End a run, whatever happens, and forget its slot."""
    try:
        yield
    finally:
        run.kill()
        run.wait()
        forget(spot, f"dataflare_{spot.schema}_shop")


def test_a_run_tells_it_while_it_goes_on_and_at_its_end(spot: Place, tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(WORKFLOW.format(schema=spot.schema, variable=VARIABLE))

    def called(*command: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "dataflare.cli", *command], cwd=tmp_path, capture_output=True, text=True, check=False
        ).stdout

    def told(*command: str) -> Any:
        return json.loads(called(*command, "--json") or "{}")

    command = [sys.executable, "-m", "dataflare.cli", "run", "shop.yaml", "--json"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as run, ending(run, spot):
        status = wait_for(lambda: (found := told("status", spot.schema)).get("lag") and found)
        assert set(status["lag"]["shop"]) >= {"seconds", "bytes"}
        (source,) = (n for n in told("top", spot.schema)["nodes"] if n["node"] == "shop")
        assert set(source["lag"]) >= {"seconds", "bytes"}
        shown = called("top", spot.schema)
        assert "read lag" in shown
        assert "KiB" in shown
        assert told("stop", spot.schema)
        ended = json.loads(run.communicate()[0])
        assert set(ended["lag"]["shop"]) >= {"seconds", "bytes"}
