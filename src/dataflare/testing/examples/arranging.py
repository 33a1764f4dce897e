"""Makes the plan that a test runs: stand-ins at both ends, answers in the place of nodes, taps at what is expected.

A part of the workflow whose columns nobody knows (its source tells them only when it is asked, and the test gives it no
rows) is left out, unless the test expects something of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dataflare.plan import Action, Edge, ErrorPolicy, Guarantee, Level, Mechanism, Node, NodeKind, Output
from dataflare.schema import REJECTED
from dataflare.testing.examples.generating import made_up
from dataflare.testing.examples.rows import RowError, typed
from dataflare.testing.examples.stand_ins import DESTINATION, SOURCE
from dataflare.workflow.examples import output_of
from dataflare.workflow.wiring import ERRORS

if TYPE_CHECKING:
    import pyarrow as pa

    from dataflare.errors import Place
    from dataflare.plan import Plan
    from dataflare.schema import Schema
    from dataflare.testing.examples.suite import Suite
    from dataflare.workflow.document import Path
    from dataflare.workflow.example_text import ExampleText
    from dataflare.workflow.findings import Findings

RESTART = {"initial": 0.001, "max": 0.001}
EPOCH_SECONDS = 0.01


@dataclass(slots=True)
class Arranged:
    """A plan to run, the rows that it begins with, and where what is expected arrives, by the name in the test."""

    plan: Plan
    given: dict[str, dict[str, pa.Table]]
    shelves: dict[str, Mechanism]
    watched: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


def arrange(suite: Suite, example: ExampleText, path: Path, findings: Findings) -> Arranged | None:
    """Return what to run for a test; None, with the reasons among the findings, where it cannot be."""
    made = _Arranging(suite, example, path, findings).run()
    return None if findings.failed else made


class _Arranging:
    def __init__(self, suite: Suite, example: ExampleText, path: Path, findings: Findings) -> None:
        self._plan, self._example, self._path, self._findings = suite.plan, example, path, findings
        self._place = suite.document.place
        self._nodes: dict[str, Node] = {node.id: node for node in self._plan.nodes}
        self._edges = list(self._plan.edges)
        self._given: dict[str, dict[str, pa.Table]] = {}
        self._taps: list[Node] = []

    def run(self) -> Arranged:
        for node in self._plan.of_kind(NodeKind.SOURCE):
            self._stand_in(node)
        for name in self._example.mocks:
            self._mock(name)
        self._drop_untyped()
        watched = {name: self._watch(name, ("expect", name)) for name in self._example.expect}
        errors = {}
        for node in list(self._nodes.values()):
            if any(o.name == ERRORS for o in node.outputs):
                errors[node.id] = self._tap(node, ERRORS)
        self._prune(watched.values())
        shelves = {n.id: Mechanism(n.traits["mechanism"]) for n in self._nodes.values() if n.type == DESTINATION}
        return Arranged(self._frozen(), self._given, shelves, watched, errors)

    # Both ends

    def _stand_in(self, node: Node) -> None:
        """Let a source give the rows of the test."""
        rows: dict[str, pa.Table] = {}
        for output in node.outputs:
            rows[output.name] = self._rows_of(node, output)
        self._given[node.id] = rows
        self._nodes[node.id] = _source(node)

    def _rows_of(self, node: Node, output: Output) -> pa.Table:
        for section in ("given", "generate"):
            for name, text in getattr(self._example, section).items():
                owner, _, end = name.partition(".")
                if owner != node.id or output_of(node, end) != output.name:
                    continue
                if section == "given":
                    return self._table(text.rows, output.schema, (section, name))
                return self._table(made_up(output.schema, text, output.key), output.schema, (section, name))
        return output.schema.to_arrow().empty_table()

    def _table(self, rows: list[dict[str, Any]], schema: Schema, path: Path) -> pa.Table:
        try:
            return typed(rows, schema)
        except RowError as error:
            place = self._row_place(path, error)
            self._findings.error("test_row", f"row {error.index + 1}: {error.what}", place, error.hint)
            return schema.to_arrow().empty_table()

    def _row_place(self, path: Path, error: RowError) -> Place:
        whole = (*self._path, *path)
        column = (error.column,) if error.column else ()
        inner = self._place((*whole, error.index, *column), key=True)
        longer = self._place((*whole, "rows", error.index, *column), key=True)
        return max(inner, longer, key=lambda place: (place.line, place.column))

    # Mocks

    def _mock(self, name: str) -> None:
        owner, _, end = name.partition(".")
        node = self._nodes[owner]
        if node.kind is NodeKind.PROCESSOR and node.traits.get("lookup"):
            self._mock_lookup(node, name)
            return
        output = output_of(node, end)
        schema = node.output(output).schema if output is not None else REJECTED
        rows = self._table(self._example.mocks[name].rows, schema, ("mocks", name))
        before = self._given.get(owner) or {o.name: o.schema.to_arrow().empty_table() for o in node.outputs}
        self._given[owner] = {**before, (output or ""): rows}
        self._nodes[owner] = _source(node)
        self._edges = [e for e in self._edges if e.target != owner]

    def _mock_lookup(self, node: Node, name: str) -> None:
        """Let what a node looks up be the rows of the test."""
        edge = max((e for e in self._edges if e.target == node.id), key=lambda e: e.port)
        looked_up = self._plan.node(edge.source).output(edge.output)
        rows = self._table(self._example.mocks[name].rows, looked_up.schema, ("mocks", name))
        other = f"{node.id}:lookup"
        self._nodes = {other: Node(other, NodeKind.SOURCE, SOURCE, {}, (replace(looked_up, name=""),)), **self._nodes}
        self._given[other] = {"": rows}
        self._edges = [Edge(other, "", e.target, e.port) if e is edge else e for e in self._edges]

    # What is run

    def _drop_untyped(self) -> None:
        """Leave out the nodes that hang on columns that nobody knows."""
        lost: set[str] = set()
        for name, node in self._nodes.items():
            outputs = [o for o in node.outputs if o.name != ERRORS]
            unknown = node.kind is not NodeKind.DESTINATION and not any(o.schema.columns for o in outputs)
            if unknown or any(e.source in lost for e in self._edges if e.target == name):
                lost.add(name)
        for name in lost:
            self._given.pop(name, None)
        self._lost = {name: self._nodes[name] for name in lost}
        self._nodes = {n: node for n, node in self._nodes.items() if n not in lost}
        self._edges = [e for e in self._edges if e.source not in lost and e.target not in lost]
        for name, node in self._nodes.items():
            if node.kind is NodeKind.DESTINATION:
                self._nodes[name] = replace(node, type=DESTINATION, config={})

    def _watch(self, name: str, path: Path) -> str:
        """Return the id of the destination at which the rows of a name arrive."""
        owner, _, end = name.partition(".")
        if owner in self._lost:
            sources = [n for n in self._lost if self._lost[n].kind is NodeKind.SOURCE]
            place = self._place((*self._path, *path), key=True)
            what = f"the columns of {', '.join(sources)} are not known, and {owner!r} hangs on them"
            hint = "give it rows, or declare its columns in the workflow"
            self._findings.error("test_columns", what, place, hint)
            return ""
        node = self._nodes[owner]
        if node.kind is NodeKind.DESTINATION:
            return owner
        output = output_of(node, end)
        assert output is not None
        return self._tap(node, output)

    def _tap(self, node: Node, output: str) -> str:
        """Add a destination that keeps all rows of an output."""
        name = f"{node.id}.{output}:tap" if output else f"{node.id}:tap"
        if all(tap.id != name for tap in self._taps):
            traits = {"write_mode": "append", "key": [], "mechanism": Mechanism.TWO_PHASE.value}
            self._taps.append(Node(name, NodeKind.DESTINATION, DESTINATION, {}, traits=traits))
            self._edges.append(Edge(node.id, output, name))
        return name

    def _prune(self, watched: Any) -> None:
        """Leave out what leads to no destination any more: what stood before a mock."""
        del watched
        self._nodes |= {tap.id: tap for tap in self._taps}
        needed = {n for n, node in self._nodes.items() if node.kind is NodeKind.DESTINATION}
        while more := {e.source for e in self._edges if e.target in needed} - needed:
            needed |= more
        self._nodes = {n: node for n, node in self._nodes.items() if n in needed}
        self._given = {n: rows for n, rows in self._given.items() if n in needed}
        self._edges = [e for e in self._edges if e.target in needed]

    def _frozen(self) -> Plan:
        plan = self._plan
        guarantees = {n: g for n, g in plan.guarantees.items() if n in self._nodes}
        kept = Guarantee(Level.EXACTLY_ONCE, Mechanism.TWO_PHASE, "")
        guarantees |= {tap.id: kept for tap in self._taps}
        restart = {**plan.settings.restart, **RESTART}
        settings = replace(plan.settings, restart=restart, checkpoint_interval_seconds=EPOCH_SECONDS, batch={})
        nodes = tuple(self._nodes.values())
        return replace(plan, nodes=nodes, edges=tuple(self._edges), guarantees=guarantees, settings=settings)


def _source(node: Node) -> Node:
    """Return the stand-in of a node that gives rows."""
    dead = any(o.name == ERRORS for o in node.outputs)
    policy = replace(node.on_error, action=Action.DEAD_LETTER) if dead else ErrorPolicy()
    return Node(node.id, NodeKind.SOURCE, SOURCE, {}, node.outputs, policy, {"mode": "full"}, node.place)


__all__ = ["Arranged", "arrange"]
