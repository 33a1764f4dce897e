"""Finds the columns that a source need not read, because nothing behind it looks at them.

A source qualifies when it honours column pushdown and has one output. Row-wise nodes tell exactly what they read, by
the engine's own parser; `aggregate` and `route` by the expressions in their settings; others where they say so
(`Processor.reads`), such as `sort` and `join`; every other node reads all.
Whatever is in doubt is read. The narrowed workflow is typed again, and taken only when every destination gets the
same columns as before.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dataflare.errors import WorkflowError
from dataflare.plan_words import EdgeKind, NodeKind
from dataflare.workflow.components import contract_of
from dataflare.workflow.findings import Findings
from dataflare.workflow.flow_typer import FlowTyper
from dataflare.workflow.wiring import ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataflare.schema import Schema
    from dataflare.workflow.drafts import Draft, Outline
    from dataflare.workflow.flow import Flow, Outputs
    from dataflare.workflow.row_steps import RowSteps
    from dataflare.workflow.wiring import Wiring

Needed = dict[tuple[str, str], set[str] | None]
"""Columns that are read of an output, by (node, output); None: all."""


def push_down(outline: Outline, wiring: Wiring, flow: Flow, steps: RowSteps) -> tuple[Flow, dict[str, list[str]]]:
    """Return the flow with narrowed sources, and the columns to read by source; the flow as it was if nothing helps."""
    needed = _Needs(outline, flow, steps).run(wiring.order)
    columns = dict(_narrowed(outline, flow, needed))
    if not columns:
        return flow, {}
    known: dict[str, Outputs] = {}
    for name, wanted in columns.items():
        (output,) = (o for o in flow.outputs[name].values() if o.name != ERRORS)
        known[name] = {output.name: replace(output, schema=output.schema.select(wanted))}
    for name, draft in outline.drafts.items():
        if draft.kind is NodeKind.SOURCE and name not in known and name in flow.outputs:
            known[name] = {n: o for n, o in flow.outputs[name].items() if n != ERRORS}
    findings = Findings()
    again = FlowTyper(outline, wiring, findings, steps, ask=False).run(known)
    destinations = [d.id for d in outline.drafts.values() if d.kind is NodeKind.DESTINATION]
    same = all(again.inputs(d) == flow.inputs(d) for d in destinations)
    return (again, columns) if same and not findings.failed and not again.untyped else (flow, {})


def _narrowed(outline: Outline, flow: Flow, needed: Needed) -> Iterator[tuple[str, list[str]]]:
    for name, draft in outline.drafts.items():
        if draft.kind is not NodeKind.SOURCE or draft.cls is None or name not in flow.outputs:
            continue
        outputs = [o for o in flow.outputs[name].values() if o.name != ERRORS]
        traits: Any = draft.cls.spec.traits
        if "columns" not in traits.pushdown or len(outputs) != 1 or _looks_at_all(draft):
            continue
        if outputs[0].kind is not EdgeKind.APPEND:  # changes need their key, and what they say of themselves
            continue
        wanted = needed.get((name, outputs[0].name), set())
        if wanted is None:
            continue
        kept = [c.name for c in outputs[0].schema if c.name in wanted or c.name in outputs[0].key]
        if kept and len(kept) < len(outputs[0].schema.columns):
            yield name, kept


def _looks_at_all(draft: Draft) -> bool:
    """Tell whether a source must know all of its columns, to tell others from them."""
    words = contract_of(draft.text)
    return words.get("columns") in ("freeze", "discard_row") or bool(getattr(draft.component.config, "rest_column", ""))


class _Needs:
    """Walks from the destinations to the sources."""

    def __init__(self, outline: Outline, flow: Flow, steps: RowSteps) -> None:
        self._outline, self._flow, self._steps = outline, flow, steps
        self._needed: Needed = {}

    def run(self, order: list[str]) -> Needed:
        for name in reversed(order):
            draft = self._outline.drafts[name]
            for edge, columns in self._reads(draft):
                before = self._needed.get(edge, set())
                self._needed[edge] = None if columns is None or before is None else before | columns
        return self._needed

    def _reads(self, draft: Draft) -> Iterator[tuple[tuple[str, str], set[str] | None]]:
        edges = self._flow.edges.get(draft.id, ())
        told = self._told(draft)
        for number, edge in enumerate(edges):
            columns = told[number] if told is not None else self._columns(draft) if len(edges) == 1 else None
            yield (edge.source, edge.output), columns

    def _told(self, draft: Draft) -> list[set[str] | None] | None:
        """Return what a node says that it reads of each input."""
        if draft.kind is not NodeKind.PROCESSOR or draft.component is None or draft.keeps_errors:
            return None
        inputs = [output.schema for output in self._flow.inputs(draft.id)]
        wanted = self._needed.get((draft.id, ""), set())
        told = draft.component.reads(inputs, wanted)
        return None if told is None else [None if columns is None else {*columns} for columns in told]

    def _columns(self, draft: Draft) -> set[str] | None:
        """Return the columns that a node with one input reads of it."""
        if draft.kind is not NodeKind.PROCESSOR or draft.component is None or draft.keeps_errors:
            return None
        schema = self._flow.inputs(draft.id)[0].schema
        if self._steps.takes(draft):
            return self._by_step(draft, schema)
        if draft.text.type not in ("aggregate", "route"):
            return None
        read = self._by_settings(draft, schema)
        if read is None or draft.text.type == "aggregate":
            return read
        passed = [self._needed.get((draft.id, name), set()) for name in self._flow.outputs[draft.id]]
        return None if any(p is None for p in passed) else read.union(*(p for p in passed if p is not None))

    def _by_step(self, draft: Draft, schema: Schema) -> set[str] | None:
        checked, problems = self._steps.check(draft.component.step([schema]), schema)
        after = self._needed.get((draft.id, ""), set())
        if problems:
            return None
        read = set(checked.condition.reads) if checked.condition is not None else set()
        if checked.columns is None:
            return None if after is None else read | after
        for name, expression in checked.columns:
            passed_on = expression.column == name
            if not passed_on or after is None or name in after:
                read.update(expression.reads)
        return read | self._named(draft, schema)

    def _named(self, draft: Draft, schema: Schema) -> set[str]:
        """Return the columns that stand by name in the settings: a node may refuse to miss them."""
        config = self._outline.document.at((*draft.path, "config"))
        words = {v.data for _, v in config.walk() if isinstance(v.data, str)} if config is not None else set()
        return {n for n in schema.names if n in words}

    def _by_settings(self, draft: Draft, schema: Schema) -> set[str] | None:
        config = self._outline.document.at((*draft.path, "config"))
        read: set[str] = set()
        for _, value in config.walk() if config is not None else ():
            if not isinstance(value.data, str) or value.data in ("count(*)", ""):
                continue
            try:
                read.update(self._steps.reads(value.data, schema))
            except WorkflowError:
                if any(n.lower() in value.data.lower() for n in schema.names) or "*" in value.data:
                    return None
        return read
