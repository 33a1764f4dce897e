"""Changes through any chain of nodes, applied by key, give the table that the chain makes of the final table."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from dataflare.batch import RESERVED, Batch
from dataflare.changes import BEFORE, OP, UNCHANGED, changing, with_key_told
from dataflare.component import Budget
from dataflare.errors import WorkflowError
from dataflare.expression.chain import Chain
from dataflare.expression.step import RowProcessor
from dataflare.expression.typed import typed
from dataflare.processors.enrichment import Enrichment
from dataflare.processors.filter import Filter
from dataflare.processors.mapping import Mapping
from dataflare.processors.mask import Mask
from dataflare.processors.materialise import Materialise
from dataflare.processors.route import Route
from dataflare.processors.union import Union
from dataflare.processors.validate import Validate
from dataflare.schema import Column, Schema
from dataflare.testing.stage import staged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Row = dict[str, Any]
TABLE = Schema((Column("id", "int64", nullable=False), *Schema.of({"n": "int64", "s": "string", "t": "string"})))
VALUES = ("n", "s", "t")
JUNK: Row = {"n": 7777, "s": "junk", "t": "junk"}


@dataclass
class Node:
    """A node, and what it makes of a table: each row becomes one row or none."""

    kind: type[Any]
    config: Row
    model: Callable[[Row], Row | None]
    output: str = ""
    renamed: dict[str, str] = field(default_factory=dict)


def _all(*texts: Any) -> str | None:
    return None if None in texts else "".join(map(str, texts))


def _when(condition: Callable[[Row], Any]) -> Callable[[Row], Row | None]:
    return lambda row: row if condition(row) else None


def _with(**made: Callable[[Row], Any]) -> Callable[[Row], Row | None]:
    return lambda row: row | {name: make(row) for name, make in made.items()}


def _renamed(names: dict[str, str]) -> Callable[[Row], Row | None]:
    return lambda row: {names.get(name, name): value for name, value in row.items()}


def _greater(value: Any, bound: int) -> bool:
    return value is not None and value > bound


CONDITIONS: list[tuple[str, Callable[[Row], Any]]] = [
    ("n > 1", lambda r: _greater(r["n"], 1)),
    ("id % 2 = 1", lambda r: r["id"] % 2 == 1),
    ("s = 'a' or n is null", lambda r: r["s"] == "a" or r["n"] is None),
    ("coalesce(n, 0) < 3 -- and no more", lambda r: (r["n"] or 0) < 3),
    ("length(t) > 0", lambda r: bool(r["t"])),
    ("true", lambda r: True),
]


def _filters() -> Iterator[Node]:
    for text, model in CONDITIONS:
        yield Node(Filter, {"condition": text}, _when(model))
    yield Node(Validate, {"rules": {"all": {"check": "n > 100", "severity": "warn"}}}, lambda row: row)


def _mappings() -> Iterator[Node]:
    sets: list[tuple[dict[str, str], Callable[[Row], Row | None]]] = [
        ({"n": "n + 1"}, _with(n=lambda r: None if r["n"] is None else r["n"] + 1)),
        ({"s": "upper(s)", "t": "'x'"}, _with(s=lambda r: r["s"] and r["s"].upper(), t=lambda _: "x")),
        ({"u": "s || '/' || id"}, _with(u=lambda r: _all(r["s"], "/", r["id"]))),
        ({"t": "coalesce(s, 'none')"}, _with(t=lambda r: "none" if r["s"] is None else r["s"])),
        ({"u": "concat(s, t)"}, _with(u=lambda r: (r["s"] or "") + (r["t"] or ""))),
        ({"s": "coalesce(s, t)"}, _with(s=lambda r: r["t"] if r["s"] is None else r["s"])),
        ({"t": "case when n > 1 then t else 'few' end"}, _with(t=lambda r: r["t"] if _greater(r["n"], 1) else "few")),
        ({"u": "concat(t, n)"}, _with(u=lambda r: (r["t"] or "") + str("" if r["n"] is None else r["n"]))),
        ({"s": "t", "t": "s"}, _with(s=lambda r: r["t"], t=lambda r: r["s"])),
        ({"n": "case when s = 'a' then n else 0 end"}, _with(n=lambda r: r["n"] if r["s"] == "a" else 0)),
        ({"t": "cast(n as varchar)"}, _with(t=lambda r: None if r["n"] is None else str(r["n"]))),
    ]
    for config, model in sets:
        yield Node(Mapping, {"set": config}, model)
    for names in ({"s": "t", "t": "s"}, {"n": "number"}, {"id": "key"}):
        yield Node(Mapping, {"rename": names}, _renamed(names), renamed=names)
    yield Node(Mapping, {"drop": ["s"]}, lambda row: {n: v for n, v in row.items() if n != "s"})
    yield Node(Mapping, {"keep": ["t", "id"]}, lambda row: {n: v for n, v in row.items() if n in ("id", "t")})


def _others() -> Iterator[Node]:
    def digest(text: str | None) -> str | None:
        return None if text is None else hashlib.sha256(text.encode()).hexdigest()

    yield Node(Mask, {"columns": {"s": {"method": "hash"}}}, _with(s=lambda r: digest(r["s"])))
    yield Node(Mask, {"columns": {"t": {"method": "redact"}}}, _with(t=lambda r: None if r["t"] is None else "***"))
    yield Node(Materialise, {"emit": "changes"}, lambda row: row)
    yield Node(Union, {}, lambda row: row)
    for match in ("first", "all"):
        yield from _routes(match)


def _routes(match: str) -> Iterator[Node]:
    tests = {"big": lambda r: _greater(r["n"], 1), "odd": lambda r: r["id"] % 2 == 1, "a": lambda r: r["s"] == "a"}
    config = {"routes": {"big": "n > 1", "odd": "id % 2 = 1", "a": "s = 'a'"}, "match": match}

    def goes(row: Row, name: str) -> bool:
        met = [other for other, test in tests.items() if test(row)]
        return name in (met[:1] if match == "first" else met)

    for name in tests:
        yield Node(Route, config, _when(partial(goes, name=name)), name)
    yield Node(Route, {"routes": {"odd": "id % 2 = 1"}, "match": match}, _when(tests["odd"]), "odd")


def _lookups() -> Iterator[Node]:
    rows = [{"number": 1, "word": "one"}, {"number": 2, "word": "two"}]
    words = {1: "one", 2: "two"}
    for key in ("n", "id"):
        for miss in ("keep", "drop", "default"):
            config = {"keys": {key: "number"}, "rows": rows, "take": {"t2": "word"}, "miss": miss}
            config |= {"defaults": {"t2": "?"}} if miss == "default" else {}
            found = _with(t2=lambda r, k=key, m=miss: words.get(r[k], "?" if m == "default" else None))
            dropping = lambda r, k=key, f=found: f(r) if r[k] in words else None  # noqa: E731
            yield Node(Enrichment, config, dropping if miss == "drop" else found)


NODES = [*_filters(), *_mappings(), *_others(), *_lookups()]


class Flow:
    """Nodes in a row, as the planner lets them stand; a node that it refuses is left out, or gets its cure."""

    def __init__(self, nodes: list[Node], schema: Schema, key: tuple[str, ...]) -> None:
        """Plan and open everything."""
        self.schema, self.key = schema, key
        self.nodes: list[Node] = []
        self._steps: list[Any] = []
        self._stages: list[tuple[Any, str]] = []
        self._before = schema
        for node in nodes:
            if "`materialise`" in self._refusal(node):
                self._add(Node(Materialise, {"emit": "changes"}, lambda row: row))
                event(f"materialise before it: {not self._refusal(node)}")
        self._fuse()

    def _refusal(self, node: Node) -> str:
        """Add a node, or return the cure of what is wrong with it."""
        try:
            self._add(node)
        except WorkflowError as error:
            return error.hint or "none"
        return ""

    def _add(self, node: Node) -> None:
        context = {"schemas": {"0": self.schema}, "key": self.key, "budget": Budget(memory_bytes_max=64 << 20)}
        component = staged(node.kind(node.kind.spec.config(**node.config)), **context)
        if isinstance(component, RowProcessor):
            step = component.step([self.schema])
            (after,), problems = typed([step], self.schema)
            if problems:
                raise problems[0].error
            self._steps.append(step)
        else:
            after = component.outputs([self.schema])[node.output]
            self._fuse()
            component.open()
            self._stages.append((component, node.output))
        self.key = tuple(node.renamed.get(name, name) for name in self.key)
        assert set(self.key) <= set(after.names)
        self.schema = with_key_told(after, self.key)
        self.nodes.append(node)
        if not self._steps:
            self._before = self.schema

    def _fuse(self) -> None:
        if self._steps:
            self._stages.append((Chain(self._steps, self._before), ""))
            self._steps, self._before = [], self.schema

    def run(self, rows: pa.Table) -> list[Row]:
        """Send a batch through all nodes."""
        batches = [Batch(rows)]
        for stage, output in self._stages:
            if isinstance(stage, Chain):
                batches = [Batch(stage.run(batch.rows).rows) for batch in batches]
            else:
                made = [out for batch in batches for out in stage.process(batch)]
                batches = [out for out in made if out.stream == output]
        return [row for batch in batches for row in batch.rows.to_pylist()]

    def close(self) -> None:
        """Close all."""
        for stage, _ in self._stages:
            stage.close()


def applied(changes: list[Row], key: tuple[str, ...], *, former: bool) -> list[Row]:
    """Merge changes by key, as a destination does; with `former`, each tells the row that it finds."""
    table: dict[Any, Row] = {}
    for change in changes:
        row = {n: v for n, v in change.items() if n not in RESERVED}
        identity = tuple(row[name] for name in key)
        if former and change[OP] != "truncate":
            assert change[BEFORE] == table.get(identity), "the former row is another one"
        if change[OP] == "truncate":
            table.clear()
        elif change[OP] == "delete":
            table.pop(identity, None)
        else:
            for name in change.get(UNCHANGED) or ():
                row[name] = table[identity][name]
            table[identity] = row
    return sorted(table.values(), key=repr)


class History:
    """Changes of a table as they are drawn, and the table after them; values of `hidden` columns may be left out."""

    def __init__(self, draw: st.DrawFn, hidden: tuple[str, ...]) -> None:
        """Begin with an empty table."""
        self._draw, self._hidden = draw, hidden
        self.table: dict[int, Row] = {}
        self.changes: list[Row] = []

    def step(self) -> None:
        """Draw what happens next."""
        number = self._draw(st.integers(0, 3))
        if self._draw(st.integers(0, 19)) == 0:
            self.table.clear()
            self._tell("truncate", {"id": None, **dict.fromkeys(VALUES)}, None)
        elif number not in self.table:
            self._put(self._draw(st.sampled_from(["read", "insert"])), number)
        elif self._draw(st.integers(0, 4)):
            self._update(number)
        else:
            self._remove(number)
            other = self._draw(st.integers(0, 3))
            if self._draw(st.booleans()) and other not in self.table:  # the key was changed
                self._put("insert", other)

    def _tell(self, op: str, row: Row, before: Row | None, names: list[str] | None = None) -> None:
        left_out = {name: JUNK[name] if self._draw(st.booleans()) else None for name in names or ()}
        self.changes.append(row | left_out | {OP: op, UNCHANGED: names, BEFORE: before})

    def _value(self, name: str) -> Any:
        return self._draw(st.sampled_from([None, 0, 1, 2, 3] if name == "n" else [None, "", "a", "b"]))

    def _put(self, op: str, number: int) -> None:
        self.table[number] = {"id": number, **{name: self._value(name) for name in VALUES}}
        self._tell(op, self.table[number], None)

    def _remove(self, number: int) -> None:
        gone = self.table.pop(number)
        key = {"id": number, **dict.fromkeys(VALUES)}
        self._tell("delete", gone if self._draw(st.booleans()) else key, gone)

    def _update(self, number: int) -> None:
        before = self.table[number]
        stay = self._draw(st.sets(st.sampled_from(VALUES)))
        after = self.table[number] = before | {name: self._value(name) for name in VALUES if name not in stay}
        same = sorted(n for n in self._hidden if after[n] == before[n] and self._draw(st.integers(0, 3)))
        self._tell("update", after, before, same if same or self._draw(st.booleans()) else None)


@st.composite
def histories(draw: st.DrawFn) -> tuple[Schema, list[Row], list[Row]]:
    """Return the schema of changes, some of them, and the table that they make."""
    hidden = draw(st.sampled_from([(), ("s",), ("s", "t"), VALUES]))
    history = History(draw, hidden)
    for _ in range(draw(st.integers(1, 24))):
        history.step()
    schema = changing(TABLE, ("id",), unchanged=hidden, before=draw(st.booleans()))
    return schema, history.changes, list(history.table.values())


def modelled(table: list[Row], nodes: list[Node]) -> list[Row]:
    """Return what nodes make of a table."""
    for node in nodes:
        table = [made for row in table if (made := node.model(row)) is not None]
    return sorted(table, key=repr)


@pytest.mark.once
@pytest.mark.parametrize("kind", list(dict.fromkeys(node.kind for node in NODES)), ids=lambda kind: kind.__name__)
@given(history=histories(), size=st.integers(1, 25), data=st.data())
@settings(max_examples=40, deadline=None)
def test_changes_give_what_the_nodes_make_of_the_final_table(
    kind: type[Any], history: tuple[Schema, list[Row], list[Row]], size: int, data: st.DataObject
) -> None:
    schema, changes, table = history
    others = st.lists(st.sampled_from(NODES), max_size=2)
    one = data.draw(st.sampled_from([node for node in NODES if node.kind is kind]))
    flow = Flow([*data.draw(others), one, *data.draw(others)], schema, ("id",))
    try:
        rows = pa.Table.from_pylist(changes, schema.to_arrow())
        found = [row for start in range(0, len(changes), size) for row in flow.run(rows.slice(start, size))]
    finally:
        flow.close()
    whole = bool(flow.nodes) and flow.nodes[-1].kind is Materialise
    in_order = [{name: row[name] for name in sorted(row)} for row in found]
    wanted = [{name: row[name] for name in sorted(row)} for row in modelled(table, flow.nodes)]
    assert applied(in_order, flow.key, former=whole) == sorted(wanted, key=repr)
    event(f"{len(flow.nodes)} nodes")
