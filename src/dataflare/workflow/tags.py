"""Follows what columns hold, such as `pii.email`, from sources to destinations (invariant 7).

A column that a node passes on keeps its tags; an expression that reads a tagged column is tagged; what an opaque node
makes out of tagged rows is tagged with all of their tags, unless the component tells them (`tells_tags`). Only one with
`masks = True` may take tags away.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dataflare.component.processor import TwoPhaseProcessor
from dataflare.expression.step import RowProcessor
from dataflare.plan_words import NodeKind
from dataflare.schema import REJECTED, Column, Schema
from dataflare.workflow.findings import near

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.plan import Output
    from dataflare.workflow.drafts import Draft, Outline
    from dataflare.workflow.findings import Findings
    from dataflare.workflow.flow import Flow

_HIDING = ("route",)


def tagged(draft: Draft, outputs: dict[str, Output], outline: Outline, findings: Findings) -> dict[str, Output]:
    """Put the tags of a source (`column` or `stream.column`) on its columns; one that is not there is an error."""
    for written, given in draft.text.tags.items():
        stream, _, column = written.rpartition(".")
        tags = [given] if isinstance(given, str) else given
        hit = [
            name
            for name, output in outputs.items()
            if column in output.schema and (not stream or name == stream or name.endswith(f".{stream}"))
        ]
        if not hit:
            columns = [c for o in outputs.values() for c in o.schema.names]
            place = outline.place(draft, "tags", written, key=True)
            findings.error("unknown_column", f"there is no column {written!r}", place, near(column, columns))
        for name in hit:
            outputs[name] = replace(outputs[name], schema=outputs[name].schema.tagged({column: tags}))
    return outputs


def inherited(component: Any, schema: Schema, inputs: Sequence[Schema]) -> Schema:
    """Return the output schema of a node that is no row expression with the tags that its columns may carry."""
    if getattr(type(component), "masks", False):
        return schema
    before: dict[str, tuple[str, ...]] = {}
    for column in (c for i in inputs for c in i):
        before[column.name] = tuple(dict.fromkeys([*before.get(column.name, ()), *column.tags]))
    everything = tuple(dict.fromkeys(t for tags in before.values() for t in tags))
    told = isinstance(component, TwoPhaseProcessor) or getattr(type(component), "tells_tags", False)
    opaque = () if told else everything
    columns = (replace(c, tags=tuple(dict.fromkeys([*c.tags, *before.get(c.name, opaque)]))) for c in schema)
    return Schema(tuple(columns)) if everything else schema


def rejected(draft: Draft, schemas: Sequence[Schema], told: Schema | None) -> Schema:
    """Return the columns of the output `errors`, whose `row` holds what may not be seen, if anything in it may not.

    Row-wise nodes, groups and routes hide tagged values themselves; a component may say (`told`) what its own rows
    carry; of any other, and of a source, the row is as it came.
    """
    if told is not None and "row" in told:
        carried = told["row"].tags
    elif isinstance(draft.component, RowProcessor | TwoPhaseProcessor) or draft.text.type in _HIDING:
        carried = ()
    else:
        carried = tuple(dict.fromkeys(t for s in schemas for c in s for t in c.tags))
    return REJECTED.tagged({"row": carried})


def check_masked(outline: Outline, flow: Flow, findings: Findings) -> None:
    """Refuse tagged columns that reach a destination."""
    for draft in outline.drafts.values():
        if draft.kind is not NodeKind.DESTINATION or draft.id not in flow.outputs:
            continue
        columns: dict[str, Column] = {}
        for output in flow.inputs(draft.id):
            columns |= {c.name: c for c in output.schema if c.tags}
        for column in columns.values():
            findings.error(
                "tagged_column",
                f"the column {column.name!r} ({', '.join(column.tags)}) reaches {draft.id!r} unmasked",
                outline.place(draft, "inputs"),
                "put a mask node before it, or drop the column",
            )
