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
from dataflare.schema import REJECTED, Column, Schema, field_type
from dataflare.workflow.findings import near

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dataflare.plan import Output
    from dataflare.schema import Mark, Path
    from dataflare.workflow.drafts import Draft, Outline
    from dataflare.workflow.findings import Findings
    from dataflare.workflow.flow import Flow

BEFORE = "_before"
"""The reserved column that holds a row as it was before a change."""

_HIDING = ("route", "mask")


def tagged(draft: Draft, outputs: dict[str, Output], outline: Outline, findings: Findings) -> dict[str, Output]:
    """Put the tags of a source on its columns: `column`, `stream.column`, or the path of a field inside a column.

    One that is not there is an error.
    """
    for written, given in draft.text.tags.items():
        tags = [given] if isinstance(given, str) else given
        hit = {n: mark for n, o in outputs.items() if (mark := _meant(written, n, o.schema)) is not None}
        if not hit:
            columns = [c for o in outputs.values() for c in o.schema.names]
            place = outline.place(draft, "tags", written, key=True)
            last = written.rpartition(".")[2]
            findings.error("unknown_column", f"there is no column {written!r}", place, near(last, columns))
        for name, (column, path) in hit.items():
            schema = outputs[name].schema
            marks = [(column, (path, tag)) for tag in tags]
            marks += [(BEFORE, ((column, *path), tag)) for tag in tags if BEFORE in schema]
            outputs[name] = replace(outputs[name], schema=_with_marks(schema, marks))
    return outputs


def check_positions(draft: Draft, outputs: dict[str, Output], outline: Outline, findings: Findings) -> None:
    """Warn where positions of a source hold tagged values, which stand in the state."""
    incremental = getattr(draft.component.config, "incremental", None)
    if draft.text.mode != "incremental" or incremental is None:
        return
    for output in outputs.values():
        held = dict.fromkeys([incremental.cursor_field, *output.key, *getattr(draft.component.config, "key", ())])
        for name in (n for n in held if n in output.schema and output.schema[n].tags):
            findings.warning(
                "tagged_position",
                f"positions of {draft.id!r} hold values of {name!r}, which is tagged: they stand in the state",
                outline.place(draft, "tags"),
                "let cursor and key be other columns",
            )


def veils_positions(draft: Draft, outputs: Iterable[Output]) -> bool:
    """Tell whether positions of a source may hold tagged values, so that nobody is shown them (invariant 7)."""
    for output in outputs:
        tagged_columns = {c.name for c in output.schema if c.tags}
        held = draft.component.remembers(output.key) if draft.component is not None else None
        if tagged_columns and (held is None or tagged_columns & {*held}):
            return True
    return False


def _meant(written: str, stream: str, schema: Schema) -> tuple[str, Path] | None:
    """Return the column and the path of the field that `written` names in a stream; None where it names nothing."""
    parts = written.split(".")
    for start in range(len(parts)):
        named = ".".join(parts[:start])
        if named not in ("", stream) and not stream.endswith(f".{named}"):
            continue
        for end in range(len(parts), start, -1):
            column, path = ".".join(parts[start:end]), tuple(parts[end:])
            if column in schema and (not path or _has_inside(schema[column].type, path)):
                return column, path
    return None


def _has_inside(kind: str, path: Path) -> bool:
    return kind == "json" or kind.startswith("map<") or field_type(kind, path) is not None


def _with_marks(schema: Schema, marks: Sequence[tuple[str, Mark]]) -> Schema:
    """Return the schema with more tags: those of a row before its change are on the column that holds it."""
    return Schema(tuple(c.marked([*c.marks, *(m for name, m in marks if name == c.name)]) for c in schema))


def inherited(component: Any, schema: Schema, inputs: Sequence[Schema]) -> Schema:
    """Return the output schema of a node that is no row expression with the tags that its columns may carry."""
    if getattr(type(component), "masks", False):
        return schema
    before: dict[str, list[Mark]] = {}
    for column in (c for i in inputs for c in i):
        before.setdefault(column.name, []).extend(column.marks)
    everything: list[Mark] = [((), tag) for marks in before.values() for _, tag in marks]
    told = isinstance(component, TwoPhaseProcessor) or getattr(type(component), "tells_tags", False)
    opaque = () if told else everything
    columns = (c.marked([*c.marks, *before.get(c.name, opaque)]) for c in schema)
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
