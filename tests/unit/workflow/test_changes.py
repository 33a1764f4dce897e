"""What a workflow may do to changes: what comes through, and what is refused with its cure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dataflare.changes import may_be_unchanged
from dataflare.component import Config, Processor, Registry, processor
from dataflare.executor.graph import Routing, task_graph
from dataflare.plan import EdgeKind, Plan
from dataflare.workflow import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataflare.batch import Batch
    from dataflare.workflow.loading import Loaded

REGISTRY = Registry.installed()
COLUMNS = "{id: int64, n: int64, s: string, t: string}"
WHOLE = "let the source tell whole rows (PostgreSQL: replica identity full), or put `materialise` before it"


def loaded(
    *nodes: str,
    unchanged: str = "[s, t]",
    before: bool = False,
    output: str = "a",
    tags: str = "{}",
    registry: Registry = REGISTRY,
) -> Loaded:
    """Plan a workflow: changes go through nodes `a`, `b` and so on, each a type and its settings."""
    names = "abcdef"
    changes = f"{{key: [id], unchanged: {unchanged}, before: {str(before).lower()}}}"
    lines = ["id: w", "sources:", "  rows:", "    type: memory"]
    lines += [
        f"    config: {{columns: {COLUMNS}, changes: {changes}, rows: []}}",
        f"    tags: {tags}",
        "transformations:",
    ]
    for number, node in enumerate(nodes):
        kind, _, config = node.partition(" ")
        before_it = names[number - 1] if number else "rows"
        lines.append(f"  {names[number]}: {{type: {kind}, inputs: [{before_it}], config: {config or '{}'}}}")
    end = output if output != "a" else names[len(nodes) - 1]
    lines += ["destinations:", f"  out: {{type: memory, inputs: [{end}]}}"]
    return load("\n".join(lines), registry=registry, environ={})


def told(found: Loaded) -> list[tuple[str, str]]:
    return [(f.code.removeprefix("workflow."), f.message) for f in found.findings if f.severity != "info"]


def test_a_source_tells_which_values_it_may_leave_out() -> None:
    plan = loaded('mapping {rename: {id: key, s: text}, set: {u: upper(s), v: "t || id", w: "\'a\'"}}').plan
    assert plan is not None
    assert may_be_unchanged(plan.node("rows").output().schema) == {"s", "t"}
    output = plan.node("a").output()
    assert (output.kind, output.key) == (EdgeKind.UPSERT, ("key",))
    assert may_be_unchanged(output.schema) == {"text", "t", "u", "v"}
    assert {c.name: c.told for c in output.schema if c.told} == {
        **dict.fromkeys(["n", "_op", "_commit_ts", "_tx", "_unchanged"], "value"),
        **dict.fromkeys(["key", "w"], "key"),
    }
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        (["filter {condition: s = 'a'}"], "the condition reads 's', whose value a change may leave out as unchanged"),
        (["filter {condition: n > 1}"], "as 'n' changes, would come without 's', whose value a change may leave out"),
        (["route {routes: {big: n > 1, rest: id > 3}}"], "as 'n' changes, would come without 's'"),
        (
            ['mapping {set: {u: "s || t"}}'],
            "'u' is made of 's', whose value a change may leave out as unchanged, and of",
        ),
        (['mapping {set: {u: "s || n"}}'], "of 'n', which may change without it"),
        (["mapping {set: {v: upper(s)}}", "filter {condition: v = 'A'}"], "the condition reads 'v'"),
        (["parse {column: s, format: json, columns: {x: int64}}"], "'s' may be left out as unchanged"),
        (["enrichment {keys: {s: s}, rows: [{s: a, x: 1}]}"], "nobody knows what to look up"),
        (["enrichment {keys: {n: n}, rows: [{n: 1, x: 1}], miss: drop}"], "would come without 's'"),
    ],
)
def test_what_needs_a_value_that_may_be_unchanged_is_refused_with_its_cure(nodes: list[str], message: str) -> None:
    output = "a.big" if nodes[0].startswith("route") else "a"
    found = loaded(*nodes, output=output)
    assert [message in text for _, text in told(found)] == [True], told(found)
    assert WHOLE in [f.hint.removeprefix("set another `miss`, or ") for f in found.findings]
    cured = loaded("materialise {emit: changes}", *nodes, output=output.replace("a.", "b."))
    assert cured.valid, told(cured)
    whole = loaded(*nodes, unchanged="false", output=output)
    assert whole.valid, told(whole)


@processor("mine", accepts=(EdgeKind.UPSERT,), examples=[{}])
class Mine(Processor[Config]):
    """Takes values for what they are."""

    def process(self, batch: Batch, port: int = 0) -> Iterator[Batch]:
        """Pass them on."""
        yield batch


def test_a_node_gets_no_unchanged_values_unless_it_says_that_it_knows_them() -> None:
    registry = REGISTRY.including(Mine)
    (error,) = told(loaded("mine", registry=registry))
    assert error == ("unchanged", "a: mine takes no values that may be left out as unchanged, as 's' may")
    assert loaded("mine", unchanged="false", registry=registry).valid
    assert loaded("mapping {drop: [s, t]}", "mine", registry=registry).valid


def test_a_condition_on_the_key_needs_no_other_value() -> None:
    assert loaded("filter {condition: id % 2 = 0}").valid
    assert loaded("mapping {drop: [s, t]}", "filter {condition: n > 1}").valid, "nothing is left that may be unchanged"


@pytest.mark.parametrize(
    ("node", "code", "message"),
    [
        (
            "mapping {set: {id: id + 1}}",
            "key_changed",
            "the key column id is set anew, but changes are told apart by it",
        ),
        ("mapping {drop: [id]}", "key_lost", "the key column id is dropped, but changes are told apart by it"),
        (
            "python {function: 'm:f', output: {id: int64}}",
            "op_lost",
            "a: the column '_op' is dropped, but it says what",
        ),
        ("mapping {set: {_op: \"'insert'\"}}", "expression", "'_op' carries changes: it cannot be set or renamed"),
        ("mapping {rename: {_tx: tx}}", "expression", "'_tx' carries changes"),
        ("deduplicate {keys: [id]}", "edge_kind", "takes append rows, but rows carries changes by key"),
        ("sample {rate: 1%}", "component", "only a share of the rows by their key"),
        ("validate {rules: {once: {columns: n, unique: true}}}", "component", "for duplicates"),
    ],
)
def test_the_key_and_what_happened_must_come_through(node: str, code: str, message: str) -> None:
    found = loaded(node, unchanged="false")
    assert [(c, message in text) for c, text in told(found)] == [(code, True)], told(found)


def test_a_mask_that_makes_keys_equal_is_warned_of() -> None:
    found = loaded("mask {columns: {id: {method: generalise, bucket: 10}}}")
    assert "generalise does not keep the values of the key column 'id' apart" in str(told(found))
    assert found.valid
    assert loaded("mapping {set: {k: 1}}", "mask {columns: {s: {method: hash}}}").findings == []


def test_the_former_row_has_the_shape_of_the_row_or_is_not_told() -> None:
    plan = loaded("mapping {rename: {n: number}, drop: [t]}", before=True, unchanged="false").plan
    assert plan is not None
    assert plan.node("a").output().schema["_before"].type == "struct<id: int64, number: int64, s: string>"
    plan = loaded("mapping {set: {n: n + 1}}", before=True, unchanged="false").plan
    assert plan is not None
    assert "_before" not in plan.node("a").output().schema


@pytest.mark.parametrize(
    ("nodes", "before"),
    [
        ([], True),
        (["mapping {rename: {s: mail}}"], True),
        (["materialise {emit: changes}"], False),
        (["materialise {emit: changes}", "mapping {rename: {s: mail}, drop: [t]}", "filter {condition: n > 1}"], False),
    ],
)
def test_a_former_row_is_as_secret_as_the_row(nodes: list[str], before: bool) -> None:
    options: dict[str, Any] = {"before": before, "unchanged": "false" if before else "[s]", "tags": "{s: pii.email}"}
    found = loaded(*(nodes or ["filter {condition: id > 1}"]), **options)
    assert {code for code, _ in told(found)} == {"tagged_column"}
    assert "the column '_before' (pii.email) reaches 'out' unmasked" in [text for _, text in told(found)]
    masked = loaded(*nodes, "mask {rules: {pii: {method: hash}}}", **options)
    assert masked.valid, told(masked)
    assert masked.plan is not None
    assert not any(c.tags for c in masked.plan.node("abcdef"[len(nodes)]).output().schema)


def test_materialise_takes_the_key_of_the_changes_and_yields_a_table_or_changes() -> None:
    plan = loaded("materialise", "aggregate {group_by: [s], aggregations: {rows: count(*)}}").plan
    assert plan is not None
    assert plan.node("a").output().kind is EdgeKind.APPEND
    assert plan.node("a").traits["ports"][0]["keys"] == ["id"]
    plan = loaded("materialise {emit: changes}").plan
    assert plan is not None
    output = plan.node("a").output()
    assert (output.kind, output.key) == (EdgeKind.UPSERT, ("id",))
    assert output.schema.names == ["id", "n", "s", "t", "_op", "_commit_ts", "_tx", "_before"]


def test_changes_of_a_row_stay_in_order_where_tasks_become_more() -> None:
    rows = "type: memory, config: {columns: {id: int64}, changes: {key: [id]}, rows: []}"
    text = f"""
id: w
sources:
  many: {{parallelism: 3, {rows}}}
  one: {{{rows}}}
transformations:
  both: {{type: union, inputs: [many, one]}}
destinations:
  out: {{type: memory, inputs: [both]}}
"""
    found = load(text, registry=REGISTRY, environ={})
    assert found.plan is not None, told(found)
    ways = {e.node: (e.routing, e.keys) for e in task_graph(found.plan, REGISTRY).exchanges}
    assert ways["one"] == (Routing.HASH, ("id",))


@pytest.mark.parametrize(
    ("other", "codes"),
    [
        ("{key: [id]}", []),
        ("{key: [n]}", ["keys_differ"]),
        ("null", ["edge_kind"]),
    ],
)
def test_a_union_of_changes_has_one_key(other: str, codes: list[str]) -> None:
    def rows(changes: Any) -> str:
        return f"{{type: memory, config: {{columns: {{id: int64, n: int64}}, changes: {changes}, rows: []}}}}"

    lines = ["id: w", "sources:", f"  a: {rows('{key: [id]}')}", f"  b: {rows(other)}"]
    lines += ["transformations:", "  u: {type: union, inputs: [a, b]}"]
    lines += ["destinations:", "  out: {type: memory, inputs: [u]}"]
    found = load("\n".join(lines), registry=REGISTRY, environ={})
    assert [code for code, _ in told(found)][:1] == codes, told(found)
