"""Aggregates with DISTINCT equal DuckDB's own: however rows are split, through checkpoints, in little memory."""

from __future__ import annotations

import random
import tempfile
from typing import TYPE_CHECKING, Any, cast

import duckdb
import pyarrow as pa
import pytest

from dataflare.batch import Batch
from dataflare.component import Budget, StageContext
from dataflare.errors import DataError, UnavailableError
from dataflare.executor.partition import partitions
from dataflare.executor.snapshots import gathered_state
from dataflare.expression.aggregate import AggregatePlan
from dataflare.processors import aggregate, aggregate_groups, aggregate_values
from dataflare.processors.aggregate import Aggregate
from dataflare.schema import Schema
from dataflare.testing.stage import HeldSegments

if TYPE_CHECKING:
    from pathlib import Path

SEGMENTS = HeldSegments()
SCHEMA = Schema.of({"city": "string", "day": "date", "who": "string", "n": "int64", "price": "float64"})
RESULTS = {
    "rows": "count(*)",
    "people": "count(distinct who)",
    "again": "count(distinct who) * 2 + count(who)",
    "some": "count(distinct who) filter (where n > 50)",
    "numbers": "count(distinct n)",
    "total": "sum(distinct n)",
    "middle": "median(distinct n)",
    "mean": "avg(n)",
    "names": "string_agg(distinct who, '/')",
    "listed": "list(distinct n) filter (where n % 2 = 0)",
    "pairs": "count(distinct (who, n))",
    "least": "min(distinct price)",
}
SORTED = {"names": "string_agg(distinct who, '/' order by who)"}
SORTED["listed"] = "list(distinct n order by n) filter (where n % 2 = 0)"
KEYS = ["city", "day"]


def rows_of(seed: int, count: int) -> pa.Table:
    chance = random.Random(seed)
    columns = {
        "city": [chance.choice([None, "a", "b", "c", f"only {seed}"]) for _ in range(count)],
        "day": [chance.choice([None, 1, 2, 3]) for _ in range(count)],
        "who": [chance.choice([None, *"uvwxyz"]) for _ in range(count)],
        "n": [chance.choice([None, chance.randrange(100), seed * 10_000 + i]) for i in range(count)],
        "price": [chance.choice([None, chance.random()]) for _ in range(count)],
    }
    return pa.table(columns, schema=SCHEMA.to_arrow())


BATCHES = [rows_of(seed, count) for seed, count in enumerate((400, 1, 0, 6000, 300, 5000))]


def expected(batches: list[pa.Table], keys: list[str]) -> list[dict[str, Any]]:
    connection = duckdb.connect(config={"threads": 1})
    connection.register("input", pa.concat_tables(batches))
    results = [f'{text} as "{name}"' for name, text in (RESULTS | SORTED).items()]
    order = f"group by {', '.join(keys)} order by {', '.join(keys)}" if keys else ""
    found = connection.sql(f"select {', '.join([*keys, *results])} from input {order}").to_arrow_table()
    return cast("list[dict[str, Any]]", found.to_pylist())


def same(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> bool:
    return [{**r, "mean": pytest.approx(r["mean"])} for r in found] == wanted


def opened(component: Any, index: int = 0, parallelism: int = 1) -> Any:
    runtime = cast("Any", None)
    where: dict[str, Any] = {"index": index, "parallelism": parallelism, "segments": SEGMENTS}
    component.context = StageContext(runtime, "w", "n", schemas={"0": SCHEMA}, **where)
    component.open()
    return component


def config(keys: list[str]) -> Any:
    settings: Any = Aggregate.spec.config
    return settings(group_by=keys, aggregations=RESULTS)


class Halves:
    """Two first halves, and four second ones by key group, as tasks run them."""

    def __init__(self, keys: list[str]) -> None:
        self.keys = keys
        self.first = [opened(Aggregate(config(keys)).partial()) for _ in range(2)]
        self.second = [opened(Aggregate(config(keys)).final(), n, 4) for n in range(4)]

    def run(self, batches: list[pa.Table]) -> None:
        for number, rows in enumerate(batches):
            self._send(self.first[number % 2].process(Batch(rows)))

    def barrier(self) -> dict[int, bytes]:
        for half in self.first:
            self._send(half.flush())
        return gathered_state(half.snapshot() for half in self.second)

    def restore(self, state: dict[int, bytes]) -> None:
        for half in self.second:
            half.restore(state)

    def results(self) -> list[dict[str, Any]]:
        for half in self.first:
            self._send(half.finish())
        live = self.second if self.keys else self.second[:1]
        found = [row for half in live for out in half.finish() for row in out.rows.to_pylist()]
        return sorted(found, key=lambda r: [(r[k] is None, r[k] if r[k] is not None else 0) for k in self.keys])

    def _send(self, batches: Any) -> None:
        for batch in batches:
            for number, part in partitions(batch.rows, self.keys, 4):
                self.second[number].process(Batch(part))


@pytest.mark.parametrize("merged_rows", [1, 1 << 20])
@pytest.mark.parametrize("keys", [[], ["city"], KEYS])
def test_halves_equal_duckdb_over_a_checkpoint(
    keys: list[str], merged_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aggregate, "ROWS_HELD_MAX", 700)
    monkeypatch.setattr(aggregate_groups, "ROWS_MERGED_MIN", merged_rows)
    before = Halves(keys)
    before.run(BATCHES[:4])
    state = before.barrier()
    before.run([rows_of(99, 500)])  # lost with the crash
    after = Halves(keys)
    after.restore(state)
    after.run(BATCHES[4:])
    assert same(after.results(), expected(BATCHES, keys))


@pytest.fixture
def _little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whatever is held be more than memory holds."""
    monkeypatch.setattr(aggregate_groups, "PART_BYTES", 2)
    monkeypatch.setattr(aggregate_groups, "_PORTION_SHARE", 1 << 40)
    monkeypatch.setattr(aggregate_values, "VALUES_OF_A_ROW", 100)


@pytest.mark.usefixtures("_little_memory")
@pytest.mark.parametrize("merged_bytes", [1, 1 << 20])
def test_values_of_the_only_group_may_lie_on_disk(merged_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregate, "ROWS_HELD_MAX", 700)
    monkeypatch.setattr(aggregate_groups, "BYTES_MERGED_MIN", merged_bytes)
    before, after = Halves([]), Halves([])
    before.run(BATCHES[:4])
    after.restore(before.barrier())
    after.run(BATCHES[4:])
    held_groups = after.second[0].held
    assert held_groups._is_spread()
    tables = list(held_groups.held.all())
    assert max(len(r or ()) for t in tables for n in held_groups._plan.lists for r in t[n].to_pylist()) == 100
    assert same(after.results(), expected(BATCHES, []))


@pytest.mark.usefixtures("_little_memory")
def test_values_on_disk_are_bounded_too_and_nothing_is_one_result() -> None:
    settings: Any = Aggregate.spec.config
    component = opened(Aggregate(settings(aggregations={"d": "count(distinct n)"}, values_max=1000)))
    list(component.process(Batch(rows_of(3, 6000))))
    with pytest.raises(DataError, match=r"d: one group holds .* of the 1,000"):
        list(component.finish())
    component = opened(Aggregate(settings(aggregations={"d": "count(distinct n)", "s": "sum(n)"})))
    list(component.process(Batch(rows_of(3, 6000).slice(0, 0))))
    assert [r for b in component.finish() for r in b.rows.to_pylist()] == [{"d": 0, "s": None}]


@pytest.mark.parametrize("keys", [[], KEYS])
def test_portions_equal_the_whole(keys: list[str]) -> None:
    plan = AggregatePlan([(k, k) for k in keys], list(RESULTS.items()), SCHEMA)
    plan._portion_bytes = 60_000
    partials = [plan.partial(rows)[0] for rows in BATCHES]
    wanted = expected(BATCHES, keys)
    assert same(plan.final(pa.concat_tables(partials)).to_pylist(), wanted)
    merged = plan.merge(partials)
    assert merged.num_rows == len(wanted)
    assert same(plan.final(merged).to_pylist(), wanted)


def test_values_that_repeat_within_a_batch_are_sent_once_and_others_are_not_looked_through() -> None:
    plan = AggregatePlan([("city", "city")], [("few", "count(distinct who)"), ("many", "count(distinct n)")], SCHEMA)
    rows = rows_of(0, 6000).set_column(3, "n", pa.array(range(6000), pa.int64()))
    first, second = plan.partial(rows)[0], plan.partial(pa.concat_tables([rows, rows]))[0]
    assert [held(first, "_s0"), held(first, "_s1")] == [6000, 6000]
    assert [held(second, "_s0"), held(second, "_s1")] == [5 * 7, 12_000]
    merged = plan.merge([first, second])
    assert [held(merged, "_s0"), held(merged, "_s1")] == [5 * 7, 6000]
    assert plan.final(merged).equals(plan.final(pa.concat_tables([first, second])))
    assert sum(plan.final(merged).column("many").to_pylist()) == 6000


def held(partial: pa.Table, name: str) -> int:
    return sum(len(values) for values in partial.column(name).to_pylist())


def test_several_results_over_the_same_values_share_them() -> None:
    texts = ["count(distinct n)", "sum(distinct n)", "avg(DISTINCT n)", "count(distinct n) filter (where n > 1)"]
    plan = AggregatePlan([], [(f"r{i}", text) for i, text in enumerate(texts)], SCHEMA)
    assert plan.partial_schema.names == ["_s0", "_s1"]


def test_distinct_beside_a_state_of_the_engines_own() -> None:
    plan = AggregatePlan([("city", "city")], [("d", "sum(distinct n)"), ("m", "stddev(n)")], SCHEMA)
    rows = pa.concat_tables(BATCHES)
    connection = duckdb.connect(config={"threads": 1})
    connection.register("input", rows)
    wanted = connection.sql(
        "select city, sum(distinct n)::bigint as d, stddev(n) as m from input group by 1 order by 1"
    )
    found = plan.final(plan.merge([plan.partial(b)[0] for b in BATCHES])).to_pylist()
    approximately = [{**r, "m": pytest.approx(r["m"])} for r in found]
    assert approximately == wanted.to_arrow_table().to_pylist()


@pytest.mark.once
def test_many_values_need_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group by (key, value) over all of them at once would need some 200 MB; nothing can be spilled here."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    count, groups = 3_000_000, 1000
    schema, budget = Schema.of({"g": "int64", "v": "int64"}), Budget(68 << 20)
    plan = AggregatePlan([("g", "g")], [("d", "count(distinct v)")], schema, budget=budget)
    partials = []
    for start in range(0, count, 500_000):
        values = pa.array(range(start, start + 500_000), pa.int64())
        keys = pa.array([v % groups for v in range(start, start + 500_000)], pa.int64())
        partials.append(plan.partial(pa.table({"g": keys, "v": values}))[0])
    whole = pa.concat_tables(partials)
    assert plan.final(whole).column("d").to_pylist() == [count // groups] * groups
    plan._portion_bytes = 1 << 40
    with pytest.raises(UnavailableError, match="no memory left"):
        plan.final(whole)
