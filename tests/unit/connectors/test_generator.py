"""The generator: the same rows for the same seed, pace, partitions, rehearsed faults."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from dataflare.connectors.generator.source import GeneratorConfig, GeneratorSource
from dataflare.errors import ExternalError, WorkflowError
from dataflare.executor.runtime import LocalRuntime
from dataflare.testing.source_suite import SourceSuite, rows_of
from dataflare.testing.stage import batches_of, splits_of, staged

COLUMNS = {
    "id": "sequence",
    "n": {"kind": "int", "min": -5, "max": 5, "null_rate": 0.2},
    "f": {"kind": "float", "min": 1, "max": 2, "decimals": 3},
    "ok": "bool",
    "city": ["Rome", "Oslo", "Wien"],
    "name": {"kind": "string", "prefix": "user ", "max": 50},
    "key": "uuid",
    "at": {"kind": "timestamp", "start": "2026-01-01T00:00:00Z", "every": "100ms"},
}


@pytest.fixture(autouse=True)
def _no_faults_had():
    GeneratorSource.failed.clear()


def generator(context=None, **config):
    return staged(GeneratorSource(GeneratorConfig(**config)), **(context or {}))


def read(source):
    return rows_of(b for s in splits_of(source) for b in batches_of(source, s))[""]


class TestGenerator(SourceSuite):
    def new(self, **changes):
        return generator(changes, rows=100, columns=COLUMNS, partitions=3, batch_rows=7)


class FastClock:
    """Time passes by sleeping only."""

    def __init__(self):
        self.seconds = 0.0

    def now(self):
        return int(self.seconds * 1e6)

    def monotonic(self):
        return self.seconds

    async def sleep(self, seconds):
        self.seconds += seconds


class TestPacedGenerator(SourceSuite):
    def new(self, **changes):
        runtime = LocalRuntime(clock=FastClock())
        return generator(
            {"runtime": runtime, **changes}, rows=60, rate=100, columns=COLUMNS, partitions=2, batch_rows=9
        )


def test_values_are_what_the_columns_say():
    found = read(generator(rows=1000, columns=COLUMNS))
    assert [r["id"] for r in found] == list(range(1000))
    numbers = [r["n"] for r in found]
    assert {n for n in numbers if n is not None} == set(range(-5, 6))
    assert 150 < numbers.count(None) < 250
    assert all(1 <= r["f"] <= 2 and r["f"] == round(r["f"], 3) for r in found)
    assert {r["city"] for r in found} == {"Rome", "Oslo", "Wien"}
    assert 400 < sum(r["ok"] for r in found) < 600
    assert len({r["key"] for r in found}) == 1000
    assert [len(p) for p in found[0]["key"].split("-")] == [8, 4, 4, 4, 12]
    assert (found[10]["at"] - found[0]["at"]).total_seconds() == 1
    assert found[0]["name"].startswith("user ")


def test_rows_depend_on_seed_and_number_alone():
    plain = {r["id"]: r for r in read(generator(rows=200, columns=COLUMNS, seed=7))}
    parted = read(generator(rows=200, columns=COLUMNS, seed=7, partitions=3, batch_rows=11))
    assert {r["id"]: r for r in parted} == plain
    assert {r["id"]: r for r in read(generator(rows=200, columns=COLUMNS, seed=8))} != plain


def test_the_values_are_pinned():
    """A resume with a later version must make the same rows."""
    found = read(generator(rows=3, seed=1, columns={"n": {"kind": "int", "max": 99}, "u": "uuid"}))
    assert found == PINNED


PINNED = [
    {"n": 35, "u": "f5f5d247-f1ca-5695-31d7-9dba6d8ea188"},
    {"n": 18, "u": "77ffbfb4-4a39-3b08-d386-823f4eb9371d"},
    {"n": 29, "u": "9fc0b8b5-29b7-2965-5a82-0e95f5682e91"},
]


def test_the_preset_has_rows_at_once():
    found = read(generator(rows=5))
    assert list(found[0]) == ["id", "ts", "user_id", "status", "amount"]


def test_an_error_comes_before_its_row_once_in_a_process():
    one = generator(rows=10, columns={"id": "sequence"}, faults=[{"at_row": 4, "kind": "error"}])
    (split,) = splits_of(one)
    batches = batches_of(one, split)
    first = next(batches)
    assert first.rows["id"].to_pylist() == [0, 1, 2, 3]
    with pytest.raises(ExternalError, match="row 4"):
        next(batches)
    rest = rows_of(batches_of(one, split, first.position))[""]
    assert [r["id"] for r in rest] == [4, 5, 6, 7, 8, 9]


def test_an_error_hits_the_partition_that_has_the_row():
    one = generator(rows=10, partitions=2, columns={"id": "sequence"}, faults=[{"at_row": 5, "kind": "error"}])
    even, odd = splits_of(one)
    assert [r["id"] for r in rows_of(batches_of(one, even))[""]] == [0, 2, 4, 6, 8]
    with pytest.raises(ExternalError):
        list(batches_of(one, odd))


def test_a_delay_sleeps_on_the_clock_of_the_run():
    clock = FastClock()
    one = generator(
        {"runtime": LocalRuntime(clock=clock)}, rows=4, columns={"id": "sequence"},
        faults=[{"at_row": 2, "kind": "delay", "seconds": "5s"}],
    )  # fmt: skip
    assert one.waits
    assert len(read(one)) == 4
    assert clock.seconds == 5


def test_a_pace_is_kept():
    clock = FastClock()
    one = generator({"runtime": LocalRuntime(clock=clock)}, rows=100, rate=50, columns={"id": "sequence"})
    assert len(read(one)) == 100
    assert clock.seconds == pytest.approx(2.0)


def test_an_abort_kills_the_process_in_the_first_attempt_only():
    program = (
        "import sys; from dataflare.connectors.generator.source import *;"
        "from dataflare.testing.stage import *;"
        "c = GeneratorConfig(rows=5, faults=[{'at_row': 3, 'kind': 'abort'}]);"
        "s = staged(GeneratorSource(c), attempt=int(sys.argv[1]));"
        "print(sum(b.num_rows for p in splits_of(s) for b in batches_of(s, p)))"
    )
    codes = [subprocess.run([sys.executable, "-c", program, n], check=False, capture_output=True) for n in "12"]
    assert [c.returncode for c in codes] == [-9, 0]
    assert codes[1].stdout.strip() == b"5"


def test_an_endless_generator_reads_until_a_position():
    one = generator(rows=None, columns={"id": "sequence"}, batch_rows=3)
    (split,) = splits_of(one)
    assert len(rows_of(batches_of(one, split, {"row": 1}, {"row": 8}))[""]) == 7


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"a": {"kind": "choice"}},
        {"a": {"kind": "int", "min": 2, "max": 1}},
        {"a": {"kind": "timestamp", "start": "x"}},
    ],
)
def test_impossible_columns_are_refused(columns):
    with pytest.raises(ValueError, match=r"column|values|min|isoformat"):
        GeneratorConfig(columns=columns)


async def test_the_engine_may_cancel_a_paced_read():
    one = generator(rows=None, rate=1)
    reading = one.read(next(iter(one.splits(None))), None, None)
    task = asyncio.get_running_loop().create_task(anext(reading))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await reading.aclose()


class StoppedClock(FastClock):
    """It is 100 seconds after the begin of 1970."""

    def __init__(self):
        self.seconds = 100.0


class StoppedRuntime(LocalRuntime):
    def __init__(self):
        super().__init__(clock=StoppedClock())


EVER = {"rows": None, "rate": 10, "begin": "1970-01-01T00:01:30Z", "columns": {"id": "sequence"}, "partitions": 3}


def ever(**changes):
    return generator({"runtime": StoppedRuntime(), "mode": "streaming"}, **{**EVER, **changes})


async def collected(source, split, since, until):
    return [batch async for batch in source.read(split, since, until)]


def test_a_stream_stands_where_its_rate_since_its_begin_has_brought_it() -> None:
    source = ever()
    assert source.ends() == {f"partition-{n}": {"row": rows} for n, rows in enumerate((34, 33, 33))}
    ids = []
    for split in source.splits(None):
        for batch in asyncio.run(collected(source, split, None, source.ends()[split.id])):
            ids += batch.rows["id"].to_pylist()
    assert sorted(ids) == list(range(100))
    assert source.context.runtime.clock.seconds == 100.0, "what is there already takes no time"


def test_rows_that_are_due_come_at_once_and_later_ones_at_their_time() -> None:
    source = ever(partitions=1)
    (split,) = source.splits(None)
    batches = asyncio.run(collected(source, split, None, {"row": 110}))
    assert [b.num_rows for b in batches] == [100, *[1] * 10]
    assert source.context.runtime.clock.seconds == pytest.approx(101.0)


def test_a_stream_that_has_not_begun_ends_at_nothing() -> None:
    assert ever(begin="2026-01-01", partitions=1).ends() == {"partition-0": {"row": 0}}


def test_a_stream_that_cannot_tell_where_it_stands_says_so() -> None:
    with pytest.raises(WorkflowError, match="cannot tell where it stands now"):
        ever(begin=None).ends()
    with pytest.raises(WorkflowError, match="mode full"):
        generator({"mode": "full"}, **EVER).ends()
    assert generator(rows=5).ends() == {}
