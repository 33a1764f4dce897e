"""A running workflow answers over its socket: status, pause, resume, checkpoint, stop; and signals drain it."""

import asyncio
import os
import signal
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from dataflare.batch import Batch, Position
from dataflare.component import Config, Registry, SourceConnector, Split, Stream, destination, source
from dataflare.component.destination import DestinationConnector, Epoch, Handle
from dataflare.errors import UnavailableError, WorkflowError
from dataflare.executor.contract import Outcome, RunContext
from dataflare.executor.control import ControlServer, request
from dataflare.executor.local import LocalExecutor
from dataflare.executor.runtime import LocalRuntime
from dataflare.plan import Edge, Guarantee, Level, Mechanism, Node, NodeKind, Output, Plan, Settings
from dataflare.schema import Schema
from dataflare.testing.simulation.world import World, store_of

NUMBERS = Schema.of({"n": "int64"})


@source("ticks", replay="exact")
class Ticks(SourceConnector[Config]):
    """Counts without end, every few milliseconds."""

    def declared(self) -> dict[str, Stream]:
        return {"": Stream(NUMBERS)}

    async def read(self, split: Split, since: Position | None, until: Position | None) -> AsyncIterator[Batch]:
        n = since["n"] if since else 0
        while True:
            await self.context.runtime.clock.sleep(0.002)
            n += 1
            yield Batch.of([{"n": n}], schema=NUMBERS.to_arrow(), position={"n": n})


def _sink(shown: list[int]) -> type[DestinationConnector[Any]]:
    @destination("list", mechanisms=(Mechanism.TWO_PHASE,))
    class Sink(DestinationConnector[Config]):
        """Keeps numbers."""

        def open(self) -> None:
            self.rows: list[int] = []

        def write(self, batch: Batch) -> None:
            self.rows += batch.rows["n"].to_pylist()

        def prepare(self, epoch: Epoch) -> list[Handle]:
            rows, self.rows = self.rows, []
            return [{"rows": rows}]

        def commit(self, epoch: Epoch, handles: Any) -> None:
            shown.extend(n for h in handles for n in h["rows"] if n not in shown)

    return Sink


def _plan() -> Plan:
    nodes = (
        Node("ticks", NodeKind.SOURCE, "ticks", {}, (Output("", NUMBERS),)),
        Node("out", NodeKind.DESTINATION, "list", {}, traits={"mechanism": "two_phase"}),
    )
    guarantees = {"out": Guarantee(Level.EXACTLY_ONCE, Mechanism.TWO_PHASE, "")}
    return Plan("ticks", nodes, (Edge("ticks", "", "out"),), guarantees, Settings(checkpoint_interval_seconds=3600.0))


class _Running:
    def __init__(self, folder: Path, store: Any, shown: list[int], deadline: float | None = None) -> None:
        self.socket = folder / "ticks.sock"
        self.runtime = LocalRuntime()
        context = RunContext(
            registry=Registry.of(Ticks, _sink(shown)),
            runtime=self.runtime,
            store=store,
            socket=self.socket,
            deadline_seconds=deadline,
        )
        self.task: asyncio.Task[Outcome] = asyncio.create_task(LocalExecutor(Config()).execute(_plan(), context))

    async def ask(self, verb: str) -> dict[str, Any]:
        for _ in range(500):
            try:
                return await asyncio.to_thread(request, self.socket, verb)
            except (UnavailableError, WorkflowError):
                if self.task.done():
                    raise
                await asyncio.sleep(0.01)
        raise AssertionError("the workflow never answered")

    async def end(self) -> Outcome:
        outcome = await asyncio.wait_for(self.task, 30)
        self.runtime.close()
        return outcome


@pytest.fixture
def store() -> Any:
    return store_of(World())(Config())


async def test_a_checkpoint_on_request_makes_rows_visible_and_a_stop_drains(tmp_path: Path, store: Any) -> None:
    shown: list[int] = []
    run = _Running(tmp_path, store, shown)
    status = await run.ask("status")
    assert (status["status"], status["epoch"]) == ("running", 0)
    assert stat.S_IMODE(run.socket.stat().st_mode) == 0o600
    await asyncio.sleep(0.1)
    assert (await run.ask("checkpoint"))["value"] == 1
    seen = len(shown)
    assert seen > 0

    await run.ask("pause")
    assert (await run.ask("status"))["status"] == "paused"
    await run.ask("checkpoint")
    paused_at = len(shown)
    await asyncio.sleep(0.1)
    await run.ask("checkpoint")
    assert len(shown) == paused_at
    await run.ask("resume")
    await asyncio.sleep(0.1)
    await run.ask("stop")
    outcome = await run.end()

    assert outcome.status == "stopped"
    assert shown == list(range(1, len(shown) + 1))
    assert len(shown) > paused_at
    assert not run.socket.exists()


async def test_the_next_run_goes_on_where_the_last_one_stopped(tmp_path: Path, store: Any) -> None:
    shown: list[int] = []
    for _ in range(3):
        run = _Running(tmp_path, store, shown)
        await run.ask("status")
        await asyncio.sleep(0.05)
        await run.ask("stop")
        assert (await run.end()).status == "stopped"

    assert shown == list(range(1, len(shown) + 1))


async def test_a_deadline_seals_and_says_that_there_is_more(tmp_path: Path, store: Any) -> None:
    shown: list[int] = []
    outcome = await _Running(tmp_path, store, shown, deadline=0.2).end()

    assert (outcome.status, outcome.more) == ("stopped", True)
    assert shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_drains(tmp_path: Path, store: Any, number: int) -> None:
    shown: list[int] = []
    run = _Running(tmp_path, store, shown)
    await run.ask("status")
    await asyncio.sleep(0.05)
    os.kill(os.getpid(), number)
    outcome = await run.end()

    assert outcome.status == "stopped"
    assert shown == list(range(1, len(shown) + 1))


async def test_what_is_no_verb_is_refused_with_the_verbs(tmp_path: Path, store: Any) -> None:
    run = _Running(tmp_path, store, [])
    await run.ask("status")
    with pytest.raises(WorkflowError, match="not a control verb"):
        await asyncio.to_thread(request, run.socket, "reboot")
    await run.ask("stop")
    await run.end()


def test_nothing_listens_where_nothing_runs(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no running workflow"):
        request(tmp_path / "none.sock", "status")


def test_who_is_connected_and_says_nothing_is_no_error_of_a_run_that_ends(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []

    async def ends(client: socket.socket) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: told.append(what))
        async with ControlServer(tmp_path / "control", "w", cast("Any", None)):
            client.connect(str(tmp_path / "control"))
            await asyncio.sleep(0.05)

    with socket.socket(socket.AF_UNIX) as client:
        asyncio.run(ends(client))
    assert told == []
