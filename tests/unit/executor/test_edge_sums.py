"""`ledger: hash`: an epoch whose rows are not at both ends of an edge is never sealed; one whose rows are, is told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pyarrow as pa
import pytest

from dataflare.batch import Batch, Encoded
from dataflare.component import Config, Registry
from dataflare.connectors.memory.buckets import BUCKETS
from dataflare.executor.contract import Outcome, RunContext
from dataflare.executor.edge_sums import EdgeSums
from dataflare.executor.exchange import Outlet
from dataflare.executor.graph import Routing, task_graph
from dataflare.executor.local import LocalExecutor
from dataflare.executor.pipeline import Pipeline
from dataflare.executor.runtime import LocalRuntime
from dataflare.expression.row_sums import row_sum
from dataflare.processors.union import Union
from dataflare.security.codec import Codec
from dataflare.state.checkpoint import CheckpointManager, Proposal
from dataflare.testing.simulation import simulate
from dataflare.testing.simulation.scenario import Scenario, scenario
from dataflare.testing.simulation.world import World, store_of
from dataflare.workflow import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

COLUMNS = "{id: sequence, word: [a, b, c], x: {kind: float, min: 0, max: 9, decimals: 2}}"
WORKFLOW = f"""
id: sums
runtime: {{parallelism: 2, ledger: hash, checkpoint: {{interval: 20ms}}}}
sources:
  one: {{type: generator, config: {{rows: 4000, partitions: 2, batch_rows: 300, columns: {COLUMNS}}}}}
  two: {{type: generator, config: {{rows: 1000, seed: 7, batch_rows: 300, columns: {COLUMNS}}}}}
  words: {{type: generator, config: {{rows: 1, columns: {{word: [a], name: string}}}}}}
transformations:
  all: {{type: union, inputs: [one, two]}}
  split: {{type: route, inputs: [all], config: {{routes: {{big: "x > 5", rest: "true"}}}}}}
  named: {{type: enrichment, inputs: [split.rest], lookup: words, config: {{keys: {{word: word}}, take: [name]}}}}
  kept: {{type: filter, inputs: [split.big], config: {{condition: "id >= 0"}}}}
  more: {{type: mapping, inputs: [kept], config: {{set: {{y: "x * 2"}}}}}}
  once: {{type: deduplicate, inputs: [more], config: {{keys: [id, word]}}}}
  sums: {{type: aggregate, inputs: [once], config: {{group_by: [word], aggregations: {{n: count(*)}}}}}}
destinations:
  out: {{type: memory, inputs: [named], config: {{bucket: out}}}}
  big: {{type: memory, inputs: [once], config: {{bucket: big}}}}
  per: {{type: memory, inputs: [sums], config: {{bucket: per}}}}
"""


@dataclass
class Ran:
    outcome: Outcome
    proposals: list[Proposal]

    @property
    def error(self) -> str:
        assert self.outcome.status == "failed", self.outcome
        assert self.outcome.error is not None
        assert self.outcome.attempts == 1, "what trying again does not cure is not tried again"
        return f"{self.outcome.error.code}: {self.outcome.error.what}"


async def ran(text: str = WORKFLOW, store: Any = None) -> Ran:
    loaded = load(text, registry=Registry.installed(), environ={})
    assert loaded.plan is not None, loaded.findings
    if store is None:
        store = store_of(World())(Config())
        for name in ("out", "big", "per"):
            BUCKETS.put(name, pa.table({}))
    runtime = LocalRuntime()
    try:
        context = RunContext(registry=Registry.installed(), runtime=runtime, store=store)
        outcome = await LocalExecutor(Config()).execute(loaded.plan, context)
    finally:
        runtime.close()
    return Ran(outcome, CheckpointManager(store, Codec(), "sums").proposals())


def bucket(name: str) -> pa.Table:
    rows = BUCKETS.rows(name)
    assert rows is not None
    return rows


async def test_both_ends_of_every_edge_are_compared_and_told() -> None:
    done = await ran()
    assert done.outcome.status == "succeeded", done.outcome.error
    edges = done.outcome.edges
    assert {e: of["rows"] for e, of in edges.items()} == {
        "one -> all": 4000,
        "two -> all": 1000,
        "all -> split": 5000,
        "split.rest -> named": edges["named -> out"]["rows"],
        "words -> named": 2,  # to both tasks
        "split.big -> kept": 5000 - bucket("out").num_rows,
        "more -> once": 5000 - bucket("out").num_rows,  # kept and more are one statement
        "once -> big": bucket("big").num_rows,
        "once -> sums/partial": bucket("big").num_rows,
        "sums./partial -> sums": edges["sums./partial -> sums"]["rows"],
        "sums -> per": 3,
        "named -> out": bucket("out").num_rows,
    }
    for name, edge in (("big", "once -> big"), ("out", "named -> out"), ("per", "sums -> per")):
        assert edges[edge]["hash"] == f"{row_sum(bucket(name)):032x}", "what came is what the destination has"
    last = done.proposals[-1]
    assert {e: of["hash_total"] for e, of in last.edges.items()} == {e: of["hash"] for e, of in edges.items()}


async def test_the_next_run_begins_at_nothing() -> None:
    store = store_of(World())(Config())
    first, second = await ran(store=store), await ran(store=store)
    assert len(second.proposals) > len(first.proposals)
    assert first.outcome.edges["one -> all"] == second.outcome.edges["one -> all"]


async def test_rows_are_counted_alone_by_default() -> None:
    done = await ran(WORKFLOW.replace("ledger: hash, ", ""))
    assert done.outcome.status == "succeeded", done.outcome.error
    assert (done.outcome.edges, done.proposals[-1].edges) == ({}, {})


def altered(batch: Batch) -> list[Batch]:
    rows = batch.rows
    column = rows.schema.get_field_index("x")
    values = rows["x"].to_pylist()
    changed = pa.array([values[0] + 1, *values[1:]])
    return [batch.replace(rows.set_column(column, "x", changed))]


def emptied(batch: Batch) -> list[Batch]:
    rows = batch.rows
    values = [None, *rows["word"].to_pylist()[1:]]
    return [batch.replace(rows.set_column(rows.schema.get_field_index("word"), "word", pa.array(values)))]


def exchanged(batch: Batch) -> list[Batch]:
    """As many rows, and the same values in each column, but two rows have each other's."""
    rows = batch.rows
    values = rows["id"].to_pylist()
    values[0], values[1] = values[1], values[0]
    return [batch.replace(rows.set_column(0, "id", pa.array(values)))]


def one_for_another(batch: Batch) -> list[Batch]:
    """One row is dropped and another comes twice: counts say nothing."""
    rows = batch.rows
    return [batch.replace(pa.concat_tables([rows.slice(1), rows.slice(1, 1)]))]


def dropped(batch: Batch) -> list[Batch]:
    del batch
    return []


def doubled(batch: Batch) -> list[Batch]:
    return [batch, batch]


def once(change: Callable[[Batch], Iterable[Batch]], columns: list[str]) -> Any:
    """Plant a bug in the exchange: the first batch of these columns that is large enough is another on the way."""
    original: Any = Outlet.send
    done = []

    async def send(self: Outlet, batch: Batch) -> None:
        changed: Iterable[Batch] = [batch]
        if not done and batch.num_rows > 2 and batch.rows.column_names == columns:
            done.append(True)
            changed = change(batch)
        for each in changed:
            await original(self, each)

    return patch.object(Outlet, "send", send)


CHANGES = [altered, emptied, exchanged, one_for_another, dropped, doubled]


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: c.__name__)
async def test_a_batch_that_is_another_on_the_way_is_never_sealed(change: Callable[[Batch], list[Batch]]) -> None:
    text = WORKFLOW.replace("{interval: 20ms}", "{interval: 60s}")
    with once(change, ["id", "word", "x"]):
        done = await ran(text)
    assert done.error.startswith("ledger.altered: epoch 1, edge ")
    for part in (" rows with the sum ", " left, ", " came; the epoch is not sealed"):
        assert part in done.error
    assert done.proposals == []
    assert all(BUCKETS.rows(name) is None for name in ("out", "big", "per"))


async def test_counts_alone_do_not_see_a_value_that_is_altered() -> None:
    """Why there is `hash`: without it the same run succeeds."""
    with once(altered, ["id", "word", "x"]):
        done = await ran(WORKFLOW.replace("ledger: hash, ", ""))
    assert done.outcome.status == "succeeded"


async def test_epochs_before_the_one_with_the_fault_stay_committed() -> None:
    text = WORKFLOW.replace("rows: 4000, ", "rows: 40000, rate: 20000, ")
    original: Any = Outlet.send
    sent = 0

    async def send(self: Outlet, batch: Batch) -> None:
        nonlocal sent
        if batch.num_rows > 2 and batch.rows.column_names == ["id", "word", "x"]:
            sent += 1
            batch = altered(batch)[0] if sent == 100 else batch
        await original(self, batch)

    with patch.object(Outlet, "send", send):
        done = await ran(text)
    assert f"ledger.altered: epoch {len(done.proposals) + 1}, edge " in done.error
    assert done.proposals
    assert all(p.edges for p in done.proposals)


async def test_a_batch_that_is_changed_between_fused_nodes_is_seen() -> None:
    original: Any = Pipeline._enter
    done = []

    def enter(self: Pipeline, target: Any, batch: Batch) -> None:
        if target.operator == "split" and batch.num_rows > 2 and not done:
            done.append(True)
            batch = altered(batch)[0]
        original(self, target, batch)

    with patch.object(Pipeline, "_enter", enter):
        assert "edge all -> split" in (await ran()).error


async def test_a_node_that_should_pass_rows_on_as_they_come_is_compared() -> None:
    original: Any = Union.process

    def process(self: Union, batch: Batch, port: int = 0) -> Iterable[Batch]:
        for each in original(self, batch, port):
            yield from altered(each) if each.num_rows else [each]

    with patch.object(Union, "process", process):
        error = (await ran()).error
    assert "node all, which passes rows on as they come: " in error


@pytest.mark.parametrize(
    ("nodes", "heads"),
    [
        ("  n: {type: limit, inputs: [one], config: {rows: 900}}", "n"),
        ('  n: {type: route, inputs: [one], config: {routes: {a: "x > 5", b: "x > 7"}, match: all}}', "n.a, n.b"),
        ('  n: {type: route, inputs: [one], config: {routes: {a: "x > 5"}}}', "n.a"),
        ('  n: {type: filter, inputs: [one], config: {condition: "x > 5"}}', "n"),
        ("  n: {type: throttle, inputs: [one], config: {rows_per_second: 40000}}", "n"),
        ("  n: {type: sort, inputs: [one], config: {by: [x]}}", "n"),
        ("  n: {type: union, inputs: [one, m]}\n  m: {type: mapping, inputs: [one], config: {set: {y: x}}}", "n"),
    ],
    ids=lambda v: v.strip() if v.startswith(" ") else "",
)
async def test_nodes_that_lose_and_add_rows_as_they_should_raise_no_alarm(nodes: str, heads: str) -> None:
    text = f"""
id: sums
runtime: {{parallelism: 2, ledger: hash, checkpoint: {{interval: 20ms}}}}
sources:
  one: {{type: generator, config: {{rows: 4000, partitions: 2, batch_rows: 100, columns: {COLUMNS}}}}}
transformations:
{nodes}
destinations:
  out: {{type: memory, inputs: [{heads}], config: {{bucket: out}}}}
"""
    done = await ran(text)
    assert done.outcome.status == "succeeded", done.outcome.error
    told = sum(int(of["hash"], 16) for edge, of in done.outcome.edges.items() if edge.endswith("-> out"))
    assert told == row_sum(bucket("out"))


def hashed(seed: int) -> Scenario:
    case = scenario(seed)
    return replace(case, plan=replace(case.plan, settings=replace(case.plan.settings, ledger="hash")))


def test_kills_zombies_and_time_outs_raise_no_alarm() -> None:
    results = [simulate(seed, hashed) for seed in range(60)]
    assert [r for r in results if r.violation] == []
    assert sum(r.processes for r in results) > len(results), "no schedule killed anything"
    assert results[:20] == [simulate(seed) for seed in range(20)], "nothing else is another"


def batch(*values: int) -> Batch:
    return Batch(pa.table({"n": pa.array(values, pa.int64())}))


def test_rows_that_are_sent_to_several_tasks_count_several_times() -> None:
    sums = EdgeSums()
    sums.left("a -> b", batch(1, 2), 3)
    for _ in range(3):
        sums.came("a -> b", batch(2, 1))
    left, came = sums.take()["a -> b"]
    assert left == came
    assert (left.rows, left.total) == (6, 3 * row_sum(batch(1, 2).rows))
    assert sums.take() == {}


def test_bytes_that_pass_are_hashed_block_by_block() -> None:
    sums = EdgeSums()
    blocks = [Batch(Encoded(data, "pgcopy", 2)) for data in (b"one", b"two")]
    for block in blocks:
        sums.left("a -> b", block)
    for block in reversed(blocks):
        sums.came("a -> b", block)
    left, came = sums.take()["a -> b"]
    assert left == came
    assert left.rows == 4
    sums.came("a -> b", Batch(Encoded(memoryview(b"onf"), "pgcopy", 2)))
    sums.left("a -> b", blocks[0])
    left, came = sums.take()["a -> b"]
    assert (left.rows, came.rows, left.total == came.total) == (2, 2, False)


def test_a_table_is_hashed_once_as_long_as_it_is_the_same_one() -> None:
    sums, rows = EdgeSums(), batch(*range(10))
    with patch("dataflare.expression.row_sums.row_sum", side_effect=row_sum) as counted:
        for _ in range(3):
            sums.left("a -> b", rows)
            sums.came("a -> b", rows.replace(rows.rows, "other"))
        assert counted.call_count == 1
        sums.came("a -> b", batch(*range(10)))
        assert counted.call_count == 2


def test_the_workflow_above_has_every_way_from_task_to_task() -> None:
    plan = load(WORKFLOW, registry=Registry.installed(), environ={}).plan
    assert plan is not None
    found = {e.routing for e in task_graph(plan, Registry.installed()).exchanges}
    assert found >= {Routing.HASH, Routing.BROADCAST, Routing.FORWARD}
