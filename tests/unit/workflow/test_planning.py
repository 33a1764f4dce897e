"""From checked text to a plan: wiring, types, guarantees, pushdown."""

from __future__ import annotations

import json
import pickle
import sys

import pytest
from tests.golden.stand_ins import REGISTRY

from dataflare.batch import RESERVED
from dataflare.component import Config, DestinationConnector, SourceConnector, Stream, destination, source
from dataflare.errors import InvalidWorkflowError
from dataflare.plan import EdgeKind, Level, Mechanism, Plan
from dataflare.schema import REJECTED, Schema
from dataflare.workflow import describe, load, plan_or_raise

ROWS = "{type: file, config: {path: a.csv, columns: {a: int64, b: string, c: float64}}}"
OUT = "{type: file, inputs: [%s], config: {path: out}}"


def loaded(text, registry=REGISTRY, **options):
    return load(text, registry=registry, environ={}, **options)


def workflow(*, rows=ROWS, nodes="", out=None, inputs="rows", head=""):
    out = out or OUT % inputs
    nodes = f"transformations:\n{nodes}" if nodes else ""
    return f"id: w\n{head}sources:\n  rows: {rows}\n{nodes}\ndestinations:\n  out: {out}\n"


def codes(found):
    return [f.code.removeprefix("workflow.") for f in found.findings]


DIAMOND = """
id: diamond
sources:
  here: {type: file, config: {path: a.csv, columns: {id: int64, amount: string}}}
  there: {type: file, config: {path: b.csv, columns: {id: int64, amount: string}}}
transformations:
  all: {type: union, inputs: [here, there]}
  numbers: {type: mapping, inputs: [all], config: {set: {amount: "cast(amount as decimal(12,2))"}}}
  split: {type: route, inputs: [numbers], config: {routes: {big: "amount > 100", rest: "true"}}}
destinations:
  big: {type: postgres, inputs: [split.big], write_mode: merge, config: {table: big, key: [id]}}
  rest: {type: file, inputs: [split.rest], config: {path: rest, format: parquet}}
"""


def test_a_plan_is_typed_and_travels():
    plan = loaded(DIAMOND).plan
    assert [n.id for n in plan.nodes] == ["here", "there", "all", "numbers", "split", "big", "rest"]
    assert [str(e) for e in plan.inputs_of("all")] == ["here -> all", "there -> all"]
    assert [e.port for e in plan.inputs_of("all")] == [0, 1]
    assert str(plan.node("split").output("big").schema) == "id int64, amount decimal(12,2)"
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert pickle.loads(pickle.dumps(plan)) == plan
    assert plan.node("numbers").place.line == 8


def test_all_errors_are_raised_together():
    with pytest.raises(InvalidWorkflowError) as raised:
        plan_or_raise(workflow(inputs="row", head="idd: x\n"), registry=REGISTRY, environ={})
    assert {f.code for f in raised.value.findings} >= {"workflow.unknown_key", "workflow.unknown_input"}


def test_nothing_is_typed_statically_behind_a_source_that_must_be_asked(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    text = workflow(
        rows="{type: file, config: {path: a.csv}}",
        nodes="  keep: {type: filter, inputs: [rows], config: {condition: \"z = '1'\"}}",
        inputs="keep",
    )
    file = tmp_path / "w.yaml"
    file.write_text(text)
    static = load(file, registry=REGISTRY, environ={})
    assert static.valid
    assert not static.typed
    sample = load(file, registry=REGISTRY, environ={}, level="sample")
    assert codes(sample) == ["expression"]
    assert sample.plan is None


def test_a_source_that_cannot_answer_is_a_finding_with_its_place(tmp_path):
    file = tmp_path / "w.yaml"
    file.write_text(workflow(rows="{type: file, config: {path: gone.csv}}"))
    (finding,) = load(file, registry=REGISTRY, environ={}, level="sample").findings
    assert (finding.code, finding.place.line, finding.hint) == ("workflow.component", 3, "check the path")


def test_a_source_may_answer_as_a_coroutine():
    found = loaded(workflow(rows="{type: queue}"), level="sample")
    assert str(found.plan.node("rows").output().schema) == "line string"


def test_a_pattern_never_matches_its_own_node_nor_what_it_feeds():
    nodes = """
  a: {type: filter, inputs: [rows], config: {condition: "a > 1"}, on_error: dead_letter}
  b: {type: union, inputs: ["*.errors"], on_error: dead_letter}
  c: {type: filter, inputs: [b], config: {condition: "true"}, on_error: dead_letter}"""
    found = loaded(workflow(nodes=nodes, inputs="a, c"))
    assert [str(e) for e in found.plan.inputs_of("b")] == ["a.errors -> b"]


def test_outputs_that_lead_nowhere_are_warned_of():
    nodes = """
  a: {type: filter, inputs: [rows], config: {condition: "a > 1"}, on_error: dead_letter}
  s: {type: route, inputs: [a], config: {routes: {x: "a > 1", y: "true"}}}
  n: {type: filter, inputs: [rows], config: {condition: "a > 1"}}"""
    found = loaded(workflow(nodes=nodes, inputs="s.x"))
    assert found.valid
    assert sorted(codes(found)) == ["unused_node", "unused_output"]  # a.errors goes into the store of rejected rows
    lost = loaded(workflow(nodes=nodes, inputs="s.x", head="runtime: {state: {type: memory}}\n"))
    assert codes(lost).count("unused_output") == 2


def test_rejected_rows_of_all_nodes_have_the_same_columns():
    nodes = """
  a: {type: filter, inputs: [rows], config: {condition: "a > 1"}, on_error: dead_letter}
  b: {type: union, inputs: [a], on_error: dead_letter}"""
    rows = ROWS.replace("}}}", "}}, on_error: dead_letter}")
    plan = loaded(workflow(rows=rows, nodes=nodes, inputs='b, "*.errors"')).plan
    assert [o.schema for o in plan.input_outputs("out")][1:] == [REJECTED] * 3


@pytest.mark.parametrize("name", RESERVED)
def test_a_column_of_a_reserved_name_is_an_error(name):
    rows = "{type: file, config: {path: a, columns: {%s: string}}}" % name  # noqa: UP031 - braces all over
    assert codes(loaded(workflow(rows=rows))) == ["reserved_column"]
    nodes = "  m: {type: mapping, inputs: [rows], config: {set: {%s: a}}}" % name  # noqa: UP031
    assert codes(loaded(workflow(nodes=nodes, inputs="m"))) == ["reserved_column"]


def test_an_unquoted_no_is_true_or_false_where_a_setting_says_so_and_an_error_elsewhere():
    rows = "{type: file, config: {path: no, header: no, columns: {a: int64}}}"
    (finding,) = loaded(workflow(rows=rows)).findings
    assert (finding.code, finding.place.path) == ("workflow.ambiguous_text", "sources.rows.config.path")


def test_a_setting_that_waits_for_its_secret_is_not_an_error():
    text = (
        "id: w\nsecrets: {s: {type: env}}\nsources:\n  rows:\n    type: postgres\n"
        '    config: {table: orders, port: "${secret:s/PORT}", cdc: 5}\n'
        "destinations:\n  out: {type: stdout, inputs: [rows]}\n"
    )
    assert [f.place.path for f in loaded(text).findings] == ["sources.rows.config.cdc"]
    text = text.replace(", cdc: 5", "")
    assert loaded(text).valid
    asked = load(text, registry=REGISTRY, environ={"PORT": "5433"}, level="sample")
    assert asked.typed
    missing = load(text, registry=REGISTRY, environ={}, level="sample")
    assert [f.code for f in missing.findings] == ["environment"]


# Guarantees


def test_one_destination_decides_and_the_others_are_staged():
    destinations = "".join(f"  d{n}: {{type: postgres, inputs: [rows], config: {{table: t}}}}\n" for n in range(3))
    found = loaded(workflow() + destinations)
    assert {n: g.mechanism for n, g in found.plan.guarantees.items()} == {
        "out": Mechanism.TWO_PHASE,
        "d0": Mechanism.DIRECT,
        "d1": Mechanism.STAGED,
        "d2": Mechanism.STAGED,
    }
    assert found.plan.node("d1").traits["mechanism"] == "staged"
    assert found.plan.decider() == "d0"


@destination("only_direct", mechanisms=(Mechanism.DIRECT,))
class OnlyDirect(DestinationConnector[Config]):
    """Commits by its own transaction."""

    def write(self, batch):
        raise NotImplementedError


def test_a_destination_that_can_only_be_direct_decides_and_a_second_one_is_refused():
    registry = REGISTRY.including(OnlyDirect)
    text = workflow(out="{type: postgres, inputs: [rows], config: {table: t}}")
    one = loaded(text + "  o1: {type: only_direct, inputs: [rows]}\n", registry)
    assert one.plan.decider() == "o1"
    two = loaded(
        text + "  o1: {type: only_direct, inputs: [rows]}\n  o2: {type: only_direct, inputs: [rows]}\n", registry
    )
    assert codes(two) == ["second_decider"]


def test_a_guarantee_that_cannot_hold_is_refused_where_it_is_asked_for():
    found = loaded(workflow(out="{type: stdout, inputs: [rows]}", head="guarantee: exactly_once\n"))
    (finding,) = found.findings
    assert (finding.code, finding.place.line, finding.place.column) == ("workflow.guarantee", 2, 1)
    assert "visible as soon as" in finding.message
    found = loaded(workflow(rows="{type: queue}", head="guarantee: exactly_once\n"), level="sample")
    assert "source 'rows' sends rows again" in found.findings[0].message


def test_a_source_that_does_not_replay_exactly_reaches_at_least_once():
    found = loaded(workflow(rows="{type: queue}"), level="sample")
    assert found.plan.guarantees["out"].level is Level.AT_LEAST_ONCE


# Pushdown

FILTER = "  f: {type: filter, inputs: [rows], config: {condition: \"b = 'x'\"}}\n"


@pytest.mark.parametrize(
    ("nodes", "inputs", "columns"),
    [
        ("  k: {type: mapping, inputs: [rows], config: {keep: [a]}}", "k", ["a"]),
        ("  k: {type: mapping, inputs: [rows], config: {keep: [a], set: {x: c + 1}}}", "k", ["a", "c"]),
        (
            FILTER + "  k: {type: mapping, inputs: [f], config: {keep: [a]}}",
            "k",
            ["a", "b"],
        ),
        ("  g: {type: aggregate, inputs: [rows], config: {group_by: [b], aggregations: {n: count(*)}}}", "g", ["b"]),
        (
            "  g: {type: aggregate, inputs: [rows], config: {group_by: [b], aggregations: {n: sum(C)}}}",
            "g",
            ["b", "c"],
        ),
        ('  f: {type: filter, inputs: [rows], config: {condition: "a > 1"}}', "f", None),
        (
            FILTER.replace("'x'\"}", "'x'\"}, on_error: dead_letter")
            + "  k: {type: mapping, inputs: [f], config: {keep: [a]}}",
            "k, f.errors",
            None,
        ),
        ("  k: {type: mapping, inputs: [rows], config: {keep: [a]}}", "k, rows", None),
        ("  u: {type: union, inputs: [rows]}\n  k: {type: mapping, inputs: [u], config: {keep: [a]}}", "k", None),
    ],
)  # fmt: skip
def test_a_source_reads_only_the_columns_that_are_used(nodes, inputs, columns):
    found = loaded(workflow(nodes=nodes, inputs=inputs))
    assert found.valid
    plan = found.plan
    assert plan.node("rows").traits.get("columns") == columns
    assert plan.node("rows").output().schema.names == (columns or ["a", "b", "c"])


def test_pushdown_changes_nothing_that_a_destination_gets():
    nodes = "  k: {type: mapping, inputs: [rows], config: {keep: [c, a], set: {x: upper(b)}}}"
    plan = loaded(workflow(nodes=nodes, inputs="k")).plan
    assert str(plan.input_outputs("out")[0].schema) == "c float64, a int64, x string"


# Rows that pass through as bytes


@source("raw", replay="exact", codecs=("zip",))
class Raw(SourceConnector[Config]):
    """Rows as bytes, but for one output."""

    def declared(self):
        one, other = Schema.of({"a": "int64"}), Schema.of({"a": "int64", "b": "string"})
        streams = {n: Stream(one, codecs=("zip",)) for n in ("x", "y")}
        return {**streams, "wide": Stream(other, codecs=("zip",)), "parsed": Stream(one)}

    def read(self, split, since, until):
        raise NotImplementedError


@destination("sink", codecs=("zip", "other"))
class Sink(DestinationConnector[Config]):
    """Takes bytes."""

    def write(self, batch):
        raise NotImplementedError


@destination("choosy", codecs=("zip",))
class Choosy(Sink):
    """Takes bytes, but not with these settings."""

    def codecs(self):
        return ()


@pytest.mark.parametrize(
    ("sinks", "passing"),
    [
        ({"one": "r.x"}, ["one", "r"]),
        ({"one": "r.x", "two": "r.y"}, ["one", "r", "two"]),
        ({"one": "r.x, r.y"}, ["one", "r"]),
        ({"one": "r.x, r.wide"}, []),
        ({"one": "r.parsed"}, []),
        ({"one": "r.x", "two": "r.parsed"}, []),
        ({"one": "r.x", "two": "m"}, []),
        ({"one": "r.x, q.x", "two": "q.parsed"}, []),
        ({"one": "r.x", "two": "q.parsed"}, ["one", "r"]),
        ({"one": "r.x", "choosy": "q.x"}, ["one", "r"]),
        ({"one": "r.x", "choosy": "r.x"}, []),
        ({"one": "r.x", "file": "r.x"}, []),
    ],
    ids=lambda value: " ".join(sorted(value)) or "none" if isinstance(value, set) else str(value),
)
def test_bytes_pass_only_where_all_that_read_a_source_take_them(sinks, passing):
    kinds = {"choosy": "{type: choosy, inputs: [%s]}", "file": OUT}
    lines = [f"  {n}: " + kinds.get(n, "{type: sink, inputs: [%s]}") % inputs for n, inputs in sinks.items()]
    sources = ["  r: {type: raw}", *(["  q: {type: raw}"] if "q." in str(sinks) else [])]
    nodes = ["transformations:", "  m: {type: mapping, inputs: [r.x], config: {keep: [a]}}"]
    text = ["id: w", "sources:", *sources, *(nodes if "m" in sinks.values() else []), "destinations:", *lines]
    found = loaded("\n".join(text), REGISTRY.including(Raw, Sink, Choosy))
    assert found.valid, found.findings
    again = Plan.from_json(json.loads(json.dumps(found.plan.to_json())))
    for plan in (found.plan, again):
        assert sorted(n.id for n in plan.nodes if n.traits.get("codec") == "zip") == passing
    assert ("passes zip through" in describe(found.plan)) == bool(passing)


# Components outside the registry


@source("changes", replay="exact", modes=("cdc",))
class Withdrawals(SourceConnector[Config]):
    """Rows and their withdrawals."""

    def declared(self):
        return {"": Stream(Schema.of({"a": "int64"}), EdgeKind.RETRACT)}

    def read(self, split, since, until):
        raise NotImplementedError


def test_withdrawals_are_refused_with_the_cure():
    nodes = '  f: {type: filter, inputs: [rows], config: {condition: "a > 1"}}'
    found = loaded(workflow(rows="{type: changes}", nodes=nodes, inputs="f"), REGISTRY.including(Withdrawals))
    assert codes(found) == ["edge_kind", "edge_kind"]
    assert "merges by key" in found.findings[0].hint


def test_components_beside_the_workflow_file_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "beside_the_workflow.py").write_text(
        '"""Mine."""\n'
        "from dataflare import Processor, Config, processor\n"
        "@processor('mine')\n"
        "class Mine(Processor[Config]):\n"
        '    """Mine."""\n'
        "    def process(self, batch, port=0):\n        yield batch\n"
    )
    file = tmp_path / "w.yaml"
    file.write_text(workflow(nodes="  m: {type: 'python:beside_the_workflow:Mine', inputs: [rows]}", inputs="m"))
    found = load(file, registry=REGISTRY, environ={})
    assert codes(found) == []
    assert found.plan.directory == str(tmp_path)
    file.write_text(workflow(nodes="  m: {type: 'python:beside_the_workflow:Other', inputs: [rows]}", inputs="m"))
    assert codes(load(file, registry=REGISTRY, environ={})) == ["unknown_type"]


def test_overrides_replace_and_add_values():
    found = loaded(workflow(), overrides={"runtime.parallelism": 3, "destinations.out.config.path": "there"})
    assert found.plan.settings.parallelism == 3
    assert found.plan.node("out").config["path"] == "there"


def test_a_file_that_is_not_there_is_a_finding(tmp_path):
    (finding,) = load(tmp_path / "no.yaml", registry=REGISTRY, environ={}).findings
    assert finding.code == "workflow.unreadable"


def test_a_workflow_may_be_json(tmp_path):
    file = tmp_path / "w.json"
    config = {"path": "a", "columns": {"a": "int64"}}
    nodes = {"sources": {"rows": {"type": "file", "config": config}}}
    file.write_text(json.dumps({"id": "w", **nodes, "destinations": {"out": {"type": "stdout", "inputs": ["rows"]}}}))
    assert load(file, registry=REGISTRY, environ={}).valid
    file.write_text(json.dumps({"id": "w", **nodes, "destinations": {"out": {"type": "stdut", "inputs": ["rows"]}}}))
    (finding,) = [f for f in load(file, registry=REGISTRY, environ={}).findings if f.severity == "error"]
    column = file.read_text().index('"stdut"') + 1
    assert (finding.code, finding.place.line, finding.place.column) == ("workflow.unknown_type", 1, column)
