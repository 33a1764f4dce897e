"""Masks values by what they hold, or by where they are, so that rows may go where nobody should see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.changes import OP
from dataflare.component import Config, Field, Processor, processor
from dataflare.errors import DataError
from dataflare.expression.reject import Rejected
from dataflare.expression.unchanged import excused
from dataflare.monitoring.events import RowsRejected
from dataflare.plan_words import EdgeKind
from dataflare.processors.mask_plan import MaskPlan, collisions, idle_rules, mask_plan
from dataflare.processors.mask_rules import MaskRule  # noqa: TC001 - pydantic reads it
from dataflare.security.nested import changed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pyarrow as pa

    from dataflare.batch import Batch
    from dataflare.processors.mask_plan import Application
    from dataflare.schema import Schema
    from dataflare.security.nested import Leaves


class MaskConfig(Config):
    """Which values are masked, and how."""

    rules: dict[str, MaskRule] = Field(
        {}, description="Rules by tag: that of `pii` is for `pii.email`, too, unless that has its own."
    )
    columns: dict[str, MaskRule] = Field(
        {}, description="Rules by column, or by the dotted path of a field inside it; they come before those by tag."
    )


@processor(
    "mask",
    accepts=(EdgeKind.APPEND, EdgeKind.UPSERT, EdgeKind.RETRACT),
    counts=("skipped", "dead"),
    examples=[
        {"rules": {"pii.email": {"method": "partial", "first": 1, "keep_domain": True}, "pii": {"method": "redact"}}},
        {
            "rules": {
                "pii.card": {"method": "format_preserving", "key": "${secret:env/CARD_KEY}"},
                "pii": {"method": "tokenise", "key": "${secret:env/TOKEN_KEY}", "context": "customers"},
            }
        },
        {"columns": {"user.address.zip": {"method": "generalise", "first": 2}, "birth": {"method": "null"}}},
    ],
)
class Mask(Processor[MaskConfig]):
    """Masks values by their tags, by column, or by the path of a field inside a column.

    What is masked loses the tags that it had, and may go to a destination; a tag without a rule stays, and the
    destination is refused. A rule whose method does not fit the type of a column is an error, a rule by tag that finds
    nothing a warning. In a path a list stands for each of its items. A null stays null. Each method gives the same
    result for the same value and key, so masked columns can still be joined and grouped by, where the method keeps
    values apart. A value that a method cannot mask is never passed on: `on_error` says what becomes of its row.

    In changes (rows with `_op`) the former row (`_before`) is masked as the row is. A value that is unchanged stays so.
    """

    masks = True
    tells_tags = True
    knows_unchanged = True
    _plan: MaskPlan | None = None

    def outputs(self, inputs: Sequence[Schema]) -> Mapping[str, Schema]:
        """Return the input's columns with the types and without the tags of what is masked."""
        return {"": self._after_of(mask_plan(inputs[0], self.config.rules, self.config.columns))}

    def _after_of(self, plan: MaskPlan) -> Schema:
        return plan.with_nulls() if self.context.on_error == "null" else plan.after

    def remarks(self, inputs: Sequence[Schema]) -> Iterable[str]:
        """Tell of rules that mask nothing, and of those that may give rows the same key."""
        plan = mask_plan(inputs[0], self.config.rules, self.config.columns)
        yield from idle_rules(plan)
        yield from collisions(plan, self.context.key)

    def open(self) -> None:
        """Settle what is to be done."""
        self._plan = mask_plan(self.context.schemas["0"], self.config.rules, self.config.columns)
        self._after = self._after_of(self._plan).to_arrow()

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        """Mask all values of a batch; rows with one that cannot be masked come out first, as `errors`."""
        del port
        assert self._plan is not None
        rows = batch.rows
        failed: dict[int, str] = {}
        columns = {name: rows.column(name) for name in rows.schema.names}
        for step in self._plan.applications:
            columns[step.column], bad, reason = self._applied(columns[step.column], step, rows)
            excuse = self._excused(rows, step.column) if bad else set()
            bad = [row for row in bad if row not in excuse]
            failed |= {row: f"column {step.column!r}: {reason}" for row in bad if row not in failed}
        masked = self._table(columns)
        if failed and self.context.on_error != "null":
            yield from self._reject(batch, failed)
            masked = masked.filter(_kept(rows.num_rows, failed))
        yield batch.replace(masked, "")

    @staticmethod
    def _excused(rows: pa.Table, column: str) -> set[int]:
        """Return the changes that have no value in a column: what stands there need not be masked, and becomes null."""
        import pyarrow.compute as pc

        return set(pc.indices_nonzero(excused(rows, [column])).to_pylist()) if OP in rows.schema.names else set()

    def _table(self, columns: Mapping[str, Any]) -> pa.Table:
        import pyarrow as pa

        return pa.Table.from_arrays([columns[f.name].cast(f.type) for f in self._after], schema=self._after)

    @staticmethod
    def _applied(column: Any, step: Application, rows: pa.Table) -> tuple[Any, list[int], str]:
        """Return the masked column, and the rows that could not be masked, with the reason."""
        import pyarrow as pa
        import pyarrow.compute as pc

        ids = _whole(rows.column(step.by)) if step.by else None
        bad: list[int] = []
        reason = ""

        def change(leaves: Leaves) -> pa.Array:
            nonlocal reason
            done = step.mask.apply(leaves, ids)
            if done.failed is not None and pc.any(done.failed).as_py():
                at = pc.indices_nonzero(done.failed)
                bad.extend((at if leaves.rows is None else leaves.rows.take(at)).to_pylist())
                reason = done.reason
            return _whole(done.values)

        try:
            return changed(_whole(column), step.path, change), bad, reason
        except pa.ArrowInvalid:  # its words may hold a value
            what = f"column {step.column!r}: a value is too large to be masked"
            raise DataError(what, hint="use another method, or a wider type") from None

    def _reject(self, batch: Batch, failed: Mapping[int, str]) -> Iterable[Batch]:
        import pyarrow as pa

        assert self._plan is not None
        context = self.context
        row, first = next(iter(failed.items()))
        if context.on_error == "fail":
            hint = "correct the data, or set on_error: {action: dead_letter} on the node"
            raise DataError(f"{first} (row {row} of its batch)", hint=hint).in_node(context.node)
        context.emit(RowsRejected(context.workflow, context.node, len(failed), first))
        if context.on_error == "dead_letter":
            numbers = sorted(failed)
            reasons = pa.array([failed[n] for n in numbers], pa.string())
            rejected = Rejected(context.node, batch.rows.take(numbers), reasons, self._plan.hidden)
            yield batch.replace(rejected.as_errors(), "errors")


def _whole(column: Any) -> Any:
    """Return a column as one array."""
    import pyarrow as pa

    if not isinstance(column, pa.ChunkedArray):
        return column
    return (
        column.chunk(0)
        if column.num_chunks == 1
        else pa.concat_arrays(column.chunks)
        if column.num_chunks
        else (pa.array([], column.type))
    )


def _kept(count: int, failed: Mapping[int, str]) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.invert(pc.is_in(pa.array(range(count), pa.int64()), pa.array(list(failed), pa.int64())))


__all__ = ["Mask", "MaskConfig"]
