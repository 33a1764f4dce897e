"""A split that comes behind others begins when they are read, behind a barrier, and knows where they ended."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from dataflare.batch import Batch
from dataflare.component import (
    Config,
    DestinationConnector,
    Registry,
    SourceConnector,
    Split,
    Stream,
    destination,
    source,
)
from dataflare.errors import ExternalError
from dataflare.executor.behind import Behind
from dataflare.executor.contract import RunContext
from dataflare.executor.local import LocalExecutor
from dataflare.executor.runtime import LocalRuntime
from dataflare.schema import Schema
from dataflare.state.memory import MemoryStore
from dataflare.workflow import plan_or_raise

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from dataflare.batch import Position

AHEAD, ROWS = 5, 40
WORKFLOW = """
id: ahead_and_behind
runtime:
  parallelism: {parallelism}
  checkpoint: {{interval: 20ms}}
  restart: {{initial: 1ms}}
sources:
  rows: {{type: phases}}
destinations:
  out: {{type: written, inputs: [rows], config: {{}}}}
"""


class PhasesConfig(Config):
    """No settings."""


class Written(DestinationConnector[Config]):
    """Keeps the rows of committed epochs, in order."""

    staged: ClassVar[list[int]]
    kept: ClassVar[list[int]]

    def open(self) -> None:
        self.staged.clear()

    def write(self, batch: Batch) -> None:
        self.staged.extend(batch.rows["n"].to_pylist())

    def prepare(self, epoch: Any) -> list[Any]:
        rows = list(self.staged)
        self.staged.clear()
        return [{"rows": rows, "epoch": epoch.number}]

    def commit(self, epoch: Any, handles: Any) -> None:
        if handles and epoch.number not in self.done:
            self.done.add(epoch.number)
            self.kept.extend(n for handle in handles for n in handle["rows"])

    done: ClassVar[set[int]]


class Phases(SourceConnector[PhasesConfig]):
    """Numbers below a thousand in splits that come first, those above in the one that comes behind them."""

    dies: ClassVar[set[int]]
    told: ClassVar[list[Any]]

    def declared(self) -> Mapping[str, Stream]:
        return {"": Stream(Schema.of({"n": "int64"}))}

    def splits(self, since: Position | None) -> Iterator[Split]:
        for number in range(since["done"] if since else 0, AHEAD):
            yield Split(f"ahead-{number}", {"from": number * 100}, {"done": number + 1}, before="behind")
        if not since or since["done"] <= AHEAD:
            yield Split("behind", {"from": 1000}, {"done": AHEAD + 1})

    def read(self, split: Split, since: Position | None, until: Position | None) -> Iterator[Batch]:
        del until
        if split.id == "behind" and since is not None and "splits" in since:
            self.told.append(since["splits"])
        begin = since["n"] if since and "n" in since else split.data["from"]
        for n in range(begin, split.data["from"] + ROWS):
            if n in self.dies:
                self.dies.discard(n)
                raise ExternalError("it broke", hint="again")
            yield Batch.of([{"n": n}], position={"n": n + 1})


async def _run(folder: Path, parallelism: int, dies: set[int]) -> tuple[list[int], list[Any]]:
    phases = type("Phases", (Phases,), {"dies": dies, "told": [], "__doc__": Phases.__doc__, "waits": True})
    written = type("Written", (Written,), {"staged": [], "kept": [], "done": set(), "__doc__": Written.__doc__})
    registry = Registry.installed().including(
        source("phases", replay="exact")(phases), destination("written", mechanisms=("two_phase",))(written)
    )
    file = folder / "workflow.yaml"
    file.write_text(WORKFLOW.format(parallelism=parallelism))
    runtime = LocalRuntime()
    try:
        context = RunContext(registry=registry, runtime=runtime, store=MemoryStore(Config()))
        outcome = await LocalExecutor(Config()).execute(
            plan_or_raise(file, registry=registry, environ=os.environ), context
        )
    finally:
        runtime.close()
    assert outcome.status == "succeeded", outcome.error
    return written.kept, phases.told


@pytest.mark.parametrize("parallelism", [1, 3])
@pytest.mark.parametrize("seed", range(4))
async def test_no_row_of_those_ahead_comes_later_whatever_fails(tmp_path: Path, parallelism: int, seed: int) -> None:
    every = [n for i in (0, 1, 2, 3, 4, 10) for n in range(i * 100, i * 100 + ROWS)]
    dies = set(random.Random(seed).sample(every, 4)) if seed else set()
    kept, told = await _run(tmp_path, parallelism, dies)

    assert sorted(kept) == every
    behind = [n >= 1000 for n in kept]
    assert behind == sorted(behind)
    assert told[-1] == {f"ahead-{i}": {"n": i * 100 + ROWS} for i in range(AHEAD)}


def test_a_task_that_passed_no_barrier_since_waits_and_one_that_did_begins() -> None:
    ahead, behind = Split("a", before="b"), Split("b")
    tracked = Behind({}, [])
    tracked.began(ahead)
    assert not tracked.may_begin(behind, 9)
    tracked.ended(3, ahead, {"n": 1})
    assert not tracked.may_begin(behind, 3)
    assert tracked.may_begin(behind, 4)
    assert tracked.told(behind) == {"splits": {"a": {"n": 1}}}


def test_a_checkpoint_tells_of_what_was_read_before_its_barrier_until_the_split_behind_has_begun() -> None:
    first, second, behind = Split("a", before="c"), Split("b", before="c"), Split("c")
    tracked = Behind({}, [])
    tracked.ended(1, first, {"n": 1})
    tracked.ended(2, second, {"n": 2})
    assert tracked.snapshot(2, []) == {"c": {"a": {"n": 1}}}

    again = Behind(tracked.snapshot(3, []), [])
    assert again.told(behind) == {"splits": {"a": {"n": 1}, "b": {"n": 2}}}
    assert again.may_begin(behind, 0)
    assert again.snapshot(1, ["c"]) == {}
    assert again.snapshot(2, []) == {}


def test_a_split_that_is_open_again_holds_up_the_one_behind_it() -> None:
    assert not Behind({}, [Split("a", before="b")]).may_begin(Split("b"), 5)
