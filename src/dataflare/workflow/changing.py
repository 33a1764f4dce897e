"""What nodes may do to changes: their key and their reserved columns must come through, or nobody can apply them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.changes import OP, WHOLE_ROWS, may_be_unchanged, with_key_told
from dataflare.plan import Output
from dataflare.plan_words import EdgeKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dataflare.schema import Schema
    from dataflare.workflow.drafts import Draft, Outline
    from dataflare.workflow.findings import Findings

    Passed = Mapping[str, Sequence[str]]  # by a column of the input those of the output that are nothing else

MAKE_TABLES = "make tables of the changes: put `materialise` before it"


class Changing:
    """Checks what the nodes of a workflow do to changes."""

    def __init__(self, outline: Outline, findings: Findings) -> None:
        """Report to `findings`."""
        self._outline, self._findings = outline, findings

    def inputs(self, draft: Draft, outputs: Sequence[Output]) -> tuple[str, ...]:
        """Return the key of the rows that flow into a node; all that are changes must have the same one.

        `outputs` are those that feed it, but not its lookup.
        """
        keys = list(dict.fromkeys(o.key for o in outputs if o.kind is EdgeKind.UPSERT and o.key))
        place = self._outline.place(draft, "inputs")
        if len(keys) > 1:
            told = " and ".join(", ".join(key) for key in keys)
            what, hint = f"its inputs have different keys: {told}", "give the columns of the keys the same names before"
            self._findings.error("keys_differ", what, place, hint)
        with_op = {OP in o.schema for o in outputs}
        if len(with_op) > 1:
            self._findings.error(
                "edge_kind", "some of its inputs tell what happened to a row and others do not", place, MAKE_TABLES
            )
        return next((o.key for o in outputs if o.key), ())

    def takes_unchanged(self, draft: Draft, schemas: Sequence[Schema]) -> bool:
        """Refuse values that may be unchanged where a node would take them for values."""
        hidden = [n for s in schemas for n in s.names if n in may_be_unchanged(s)]
        if hidden and not draft.component.knows_unchanged:
            what = (
                f"{draft.id}: {draft.text.type} takes no values that may be left out as unchanged, as {hidden[0]!r} may"
            )
            self._findings.error("unchanged", what, self._outline.place(draft, "inputs"), WHOLE_ROWS)
            return False
        return True

    def output(self, draft: Draft, output: Output, came: Sequence[Schema], passed: Passed | None) -> Output:
        """Return an output of a processor with the key that it has there; `output.key` is that of its input."""
        if output.kind is not EdgeKind.UPSERT:
            kept = all(name in output.schema for name in output.key)
            return output if kept else Output(output.name, output.schema, output.kind)
        if any(OP in s for s in came) and OP not in output.schema:
            self._findings.error(
                "op_lost",
                f"{draft.id}: the column {OP!r} is dropped, but it says what happened to a row",
                self._outline.place(draft, "config"),
                f"keep the columns that carry changes ({OP} ...)",
            )
        key = tuple(self._key_column(draft, output.schema, name, passed) for name in output.key)
        known = all(name is not None for name in key)
        found = tuple(name for name in key if name is not None) if known else ()
        return Output(output.name, with_key_told(output.schema, found), output.kind, found)

    def _key_column(self, draft: Draft, schema: Schema, name: str, passed: Passed | None) -> str | None:
        """Return how a column of the key is called in the output; None, with the mistake told, where it is gone."""
        same = [name] if passed is None and name in schema else (passed or {}).get(name, ())
        if same:
            return name if name in same else same[0]
        place = self._outline.place(draft, "config")
        if name in schema:
            what = f"the key column {name} is set anew, but changes are told apart by it"
            self._findings.error("key_changed", what, place, "give the new column another name")
        else:
            what = f"the key column {name} is dropped, but changes are told apart by it"
            self._findings.error("key_lost", what, place, "keep the key columns")
        return None


__all__ = ["MAKE_TABLES", "Changing"]
