"""A processor hears when an input has ended; rows that are wanted first are read first, and go everywhere if asked."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest

from dataflare.batch import Batch
from dataflare.component import Config, Processor, Registry, processor
from dataflare.component.processor import Port
from dataflare.executor.contract import RunContext
from dataflare.executor.exchange import Inlet, Inlets
from dataflare.executor.graph import Routing, task_graph
from dataflare.executor.local import LocalExecutor
from dataflare.executor.operators import ProcessorOperator, RunningOperator
from dataflare.executor.pipeline import Pipeline, Target
from dataflare.executor.runtime import LocalRuntime
from dataflare.executor.turns import turns
from dataflare.plan import Edge, Node, NodeKind, Output, Plan, Settings
from dataflare.schema import Schema
from dataflare.testing.simulation.world import World, store_of

ROW = Output("", Schema.of({"n": "int64"}))
TOLD: list[tuple[str, int, int]] = []


@processor("told", counts=("absorbed", "expanded"))
class Told(Processor[Config]):
    """Writes down what it hears, and holds rows of the first input until the second one has ended."""

    def ports(self, count: int) -> Sequence[Port]:
        return [Port()] * (count - 1) + [Port(everywhere=True, first=True)]

    def open(self) -> None:
        self.held: list[Batch] = []
        self.ready = False

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        TOLD.append(("rows", port, batch.num_rows))
        if port == 0 and self.ready:
            yield batch
        elif port == 0:
            self.held.append(batch)

    def end(self, port: int) -> Iterable[Batch]:
        TOLD.append(("end", port, self.context.index))
        if port == 1:
            self.ready = True
            yield from self.held

    def finish(self) -> Iterable[Batch]:
        TOLD.append(("finish", 0, self.context.index))
        return ()


REGISTRY = Registry.installed().including(Told)


def _source(name: str, rows: int, **traits: Any) -> Node:
    config = {"rows": rows, "columns": {"n": {"kind": "sequence"}}}
    return Node(name, NodeKind.SOURCE, "generator", config, (ROW,), traits=traits)


def _plan(parallelism: int, *, lookup_mode: str = "full") -> Plan:
    ports = [{"first": False}, {"everywhere": True, "first": True}]
    nodes = (
        _source("main", 1000, parallelism=parallelism),
        _source("look", 7, mode=lookup_mode),
        Node("told", NodeKind.PROCESSOR, "told", {}, (ROW,), traits={"ports": ports}),
        Node("out", NodeKind.DESTINATION, "memory", {}, traits={"mechanism": "append"}),
    )
    edges = (Edge("main", "", "told", 0), Edge("look", "", "told", 1), Edge("told", "", "out"))
    return Plan("ends", nodes, edges, settings=Settings(parallelism=1))


async def _run(plan: Plan) -> Mapping[str, Mapping[str, int]]:
    TOLD.clear()
    runtime = LocalRuntime()
    try:
        context = RunContext(registry=REGISTRY, runtime=runtime, store=store_of(World())(Config()))
        outcome = await LocalExecutor(Config()).execute(plan, context)
    finally:
        runtime.close()
    assert outcome.status == "succeeded", outcome.error
    return outcome.nodes


async def test_the_rows_of_a_lookup_come_before_the_others() -> None:
    nodes = await _run(_plan(1))

    ended = TOLD.index(("end", 1, 0))
    assert sum(rows for what, port, rows in TOLD[:ended] if (what, port) == ("rows", 1)) == 7
    assert not [t for t in TOLD[:ended] if t[:2] == ("rows", 0)], "a source that feeds no lookup waits for its turn"
    assert nodes["out"]["rows_in"] == 1000


async def test_every_instance_gets_all_rows_of_a_lookup_and_hears_of_its_end_once() -> None:
    nodes = await _run(_plan(3))

    assert sorted(t for t in TOLD if t[0] == "end") == sorted(("end", p, i) for p in (0, 1) for i in range(3))
    assert sum(rows for what, port, rows in TOLD if (what, port) == ("rows", 1)) == 21
    assert nodes["out"]["rows_in"] == 1000
    for index in range(3):
        assert TOLD.index(("end", 0, index)) < TOLD.index(("finish", 0, index))


def test_a_port_that_goes_everywhere_is_broadcast_and_the_other_is_not() -> None:
    graph = task_graph(_plan(3), REGISTRY)

    ways = {e.node: e.routing for e in graph.exchanges if e.operator == "told"}
    assert ways == {"main": Routing.FORWARD, "look": Routing.BROADCAST}


def test_a_source_waits_only_for_sources_that_end_and_that_do_not_wait_for_it() -> None:
    assert turns(_plan(1)) == {"main": {"look"}}
    assert turns(_plan(1, lookup_mode="streaming")) == {}

    ports = [{"first": False}, {"first": True}]
    told = [Node(n, NodeKind.PROCESSOR, "told", {}, (ROW,), traits={"ports": ports}) for n in ("one", "two")]
    edges = [Edge("a", "", "one", 0), Edge("b", "", "one", 1), Edge("b", "", "two", 0), Edge("a", "", "two", 1)]
    crossed = Plan("crossed", (_source("a", 1), _source("b", 1), *told), tuple(edges))
    assert turns(crossed) == {"a": {"b"}}

    same = Plan("same", (_source("a", 1), told[0]), (Edge("a", "", "one", 0), Edge("a", "", "one", 1)))
    assert turns(same) == {}


class _Passing(Processor[Config]):
    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        del port
        yield batch


class _Holding(_Passing):
    def finish(self) -> Iterable[Batch]:
        return [Batch(pa.table({"n": [99]}))]


@pytest.mark.parametrize(("kind", "at_once"), [(_Passing, True), (_Holding, False)])
def test_an_end_runs_through_nodes_that_hold_nothing(kind: type[_Passing], at_once: bool) -> None:
    operators: list[RunningOperator] = [ProcessorOperator("a", kind(Config())), ProcessorOperator("b", _End(Config()))]
    routes = {("s", ""): [Target("", "a")], ("a", ""): [Target("", "b")], ("b", ""): [Target("", outlet=3)]}
    pipeline = Pipeline(operators, routes, ports={"a": frozenset({0}), "b": frozenset({0})})

    left = [out for step in pipeline.end_source("s") for out in step]
    assert (len(left), pipeline.ends()) == ((1, [3]) if at_once else (0, []))
    left += [out for step in pipeline.finish() for out in step]
    assert [b.rows["n"].to_pylist() for _, b in left] == ([[1]] if at_once else [[99], [1]])


class _Much(_Passing):
    made = 0

    def finish(self) -> Iterable[Batch]:
        for _ in range(5):
            _Much.made += 1
            yield Batch(pa.table({"n": [_Much.made]}))


def test_what_comes_at_the_end_is_made_step_by_step() -> None:
    routes = {("a", ""): [Target("", "b")], ("b", ""): [Target("", outlet=0)]}
    much, passing = _Much(Config()), _Passing(Config())
    operators: list[RunningOperator] = [ProcessorOperator("a", much), ProcessorOperator("b", passing)]
    steps = Pipeline(operators, routes).finish()
    for number in range(1, 6):
        ((_, batch),) = next(steps)
        assert (batch.rows["n"].to_pylist(), _Much.made) == ([number], number)
    assert not any(steps)


def test_an_operator_finishes_once() -> None:
    pipeline = Pipeline([ProcessorOperator("a", _Much(Config()))], {("a", ""): [Target("", outlet=0)]})
    assert len(list(pipeline.finish())) == 5
    assert list(pipeline.finish()) == []


class _End(_Passing):
    def end(self, port: int) -> Iterable[Batch]:
        del port
        yield Batch(pa.table({"n": [1]}))


def test_an_input_has_ended_when_all_of_its_channels_have() -> None:
    inlets = Inlets([Inlet("a", "op", 0), Inlet("a", "op", 0), Inlet("b", "op", 1)])

    assert not inlets.ended(0)
    assert inlets.ended(2)
    assert inlets.ended(1)
