"""How a plan is fused: which nodes share a task, and how rows travel between tasks."""

from typing import Any

from dataflare.component import Registry
from dataflare.executor.graph import Role, Routing, TaskGraph, task_graph
from dataflare.plan import Edge, Node, NodeKind, Output, Plan, Settings
from dataflare.schema import Schema

OUT = (Output("", Schema.of({"a": "int64"})),)
REGISTRY = Registry.installed()


def _node(identity: str, kind: str, **traits: Any) -> Node:
    kinds = {"file": NodeKind.SOURCE, "generator": NodeKind.SOURCE, "out": NodeKind.DESTINATION}
    configs = {
        "filter": {"condition": "a > 1"},
        "mapping": {"set": {"b": "a"}},
        "aggregate": {"group_by": ["a"], "aggregations": {"n": "count(*)"}},
    }
    found = kinds.get(kind, NodeKind.PROCESSOR)
    name = {"out": traits.pop("type", "file")}.get(kind, kind)
    return Node(identity, found, name, configs.get(kind, {}), OUT, traits=traits)


def _graph(nodes: list[Node], *edges: str, parallelism: int = 2) -> TaskGraph:
    made = []
    for edge in edges:
        source, target = edge.split(" > ")
        name, _, output = source.partition(".")
        port = sum(e.target == target for e in made)
        made.append(Edge(name, output, target, port))
    return task_graph(Plan("w", tuple(nodes), tuple(made), settings=Settings(parallelism=parallelism)), REGISTRY)


def test_row_wise_nodes_and_parallel_destinations_share_the_task_of_their_source() -> None:
    nodes = [_node("s", "file"), _node("f", "filter"), _node("m", "mapping"), _node("d", "out", mechanism="two_phase")]
    graph = _graph(nodes, "s > f", "f > m", "m > d")

    assert len(graph.stages) == 1
    assert graph.stages[0].parallelism == 2
    assert [(o.role, o.nodes) for o in graph.stages[0].operators] == [
        (Role.SOURCE, ("s",)),
        (Role.CHAIN, ("f", "m")),
        (Role.DESTINATION, ("d",)),
    ]


def test_a_branch_ends_a_chain_but_not_a_task() -> None:
    nodes = [_node("s", "file"), _node("f", "filter"), _node("m", "mapping"), _node("d", "out"), _node("e", "out")]
    graph = _graph(nodes, "s > f", "f > m", "f > d", "m > e")

    assert len(graph.stages) == 1
    assert [o.nodes for o in graph.stages[0].operators if o.role is Role.CHAIN] == [("f",), ("m",)]


def test_a_decider_gets_all_rows_in_one_task() -> None:
    nodes = [_node("s", "file"), _node("d", "out", type="sqlite", mechanism="direct")]
    graph = _graph(nodes, "s > d")

    assert [s.parallelism for s in graph.stages] == [2, 1]
    assert [e.routing for e in graph.exchanges] == [Routing.MERGE]


def test_a_transaction_is_filled_while_the_next_rows_are_read() -> None:
    nodes = [_node("s", "file"), _node("f", "filter"), _node("d", "out", type="sqlite", mechanism="direct")]
    graph = _graph(nodes, "s > f", "f > d", parallelism=1)
    assert [[o.id for o in s.operators] for s in graph.stages] == [["s", "f"], ["d"]]
    assert [e.routing for e in graph.exchanges] == [Routing.MERGE]

    nodes[2:] = [_node("a", "aggregate", keys=("a",)), _node("d", "out", type="sqlite", mechanism="direct")]
    behind = _graph(nodes, "s > f", "f > a", "a > d")
    assert [[o.id for o in s.operators] for s in behind.stages] == [["s", "f", "a/partial"], ["a"], ["d"]]


def test_a_join_point_of_two_sources_is_a_task_of_its_own() -> None:
    nodes = [
        *(_node("s", "file", parallelism=2), _node("t", "generator", parallelism=3), _node("u", "union")),
        *(_node("f", "filter"), _node("d", "out"), _node("e", "out")),
    ]
    graph = _graph(nodes, "s > u", "t > u", "u > f", "u > d", "f > e")

    assert [s.source for s in graph.stages] == ["s", "t", None]
    assert graph.stages[2].parallelism == 3
    assert [(e.routing, e.port) for e in graph.exchanges] == [(Routing.REBALANCE, 0), (Routing.FORWARD, 1)]


def test_an_aggregate_is_halved_and_its_halves_meet_by_key() -> None:
    nodes = [_node("s", "file"), _node("a", "aggregate", keys=["a"]), _node("d", "out")]
    graph = _graph(nodes, "s > a", "a > d")

    assert [o.role for o in graph.stages[0].operators] == [Role.SOURCE, Role.PARTIAL]
    assert [o.role for o in graph.stages[1].operators] == [Role.FINAL, Role.DESTINATION]
    assert [(e.routing, e.keys) for e in graph.exchanges] == [(Routing.HASH, ("a",))]
    assert graph.stage_of("a") is graph.stages[1]


def test_without_keys_all_partial_results_meet_in_one_task() -> None:
    nodes = [_node("s", "file"), _node("a", "aggregate"), _node("d", "out")]
    graph = _graph(nodes, "s > a", "a > d")

    assert [s.parallelism for s in graph.stages] == [2, 1]


def test_one_task_needs_no_exchange() -> None:
    nodes = [_node("s", "file"), _node("a", "aggregate", keys=["a"]), _node("d", "out")]
    graph = _graph(nodes, "s > a", "a > d", parallelism=1)

    assert len(graph.stages) == 1
    assert graph.exchanges == ()


def test_rows_that_have_to_meet_or_to_wait_do_so_in_one_task() -> None:
    port = {"keys": [], "everywhere": False, "first": False}
    nodes = [
        _node("s", "file"),
        _node("few", "sample", ports=[port | {"together": True}]),
        _node("slow", "throttle", ports=[port | {"together": True, "eased": True}]),
        _node("d", "out", mechanism="two_phase"),
    ]
    graph = _graph(nodes, "s > few", "few > slow", "slow > d")

    assert [[o.id for o in stage.operators] for stage in graph.stages] == [["s"], ["few"], ["slow", "d"]]
    assert [stage.parallelism for stage in graph.stages] == [2, 1, 1]
    assert [e.routing for e in graph.exchanges] == [Routing.MERGE, Routing.MERGE]
    one = _graph(nodes, "s > few", "few > slow", "slow > d", parallelism=1)
    assert [[o.id for o in stage.operators] for stage in one.stages] == [["s", "few"], ["slow", "d"]]
