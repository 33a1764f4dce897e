"""Brings rejected rows of any node into one shape, with where they come from, so that one destination fits all."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dataflare.schema import REJECTED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pyarrow as pa

    from dataflare.batch import Batch

UNREADABLE, EXPRESSION, FUNCTION, REFUSED = "row.unreadable", "row.expression", "row.function", "row.refused"
"""What was wrong: a source could not read it, an expression failed, a user's function failed, a node refused it."""


@dataclass(slots=True)
class Origin:
    """What a task knows about the rows that its nodes reject.

    `inputs` and `codes` are by node; `epoch` answers the number and the time (in microseconds) of the epoch; `split`
    the split that is being read. `replays` is how often the rows of this run were replayed before.
    """

    workflow: str = ""
    task: str = "0.0"
    attempt: int = 0
    inputs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    codes: Mapping[str, str] = field(default_factory=dict)
    epoch: Callable[[], tuple[int, int]] = lambda: (0, 0)
    split: Callable[[], str | None] = lambda: None
    replays: int = 0
    _number: int = 0

    def shaped(self, node: str, batch: Batch, port: int | None) -> Batch:
        """Return a batch of the stream `errors` in the one shape; a column `raw` is the row.

        `port` is the input by which the rows came, as far as that is known. Bytes stay as they are.
        """
        from dataflare.batch import Encoded

        if isinstance(batch.payload, Encoded):
            return batch
        rows = batch.payload
        names = {"raw": "row"}
        columns = {names.get(n, n): rows[n] for n in rows.column_names}
        return batch.replace(self._shaped(node, columns, batch, port), "errors")

    def _shaped(self, node: str, columns: dict[str, pa.ChunkedArray], batch: Batch, port: int | None) -> pa.Table:
        import pyarrow as pa

        schema = REJECTED.to_arrow()
        count = len(columns["error"])
        epoch, time = self.epoch()
        inputs = self.inputs.get(node, ())
        position = json.dumps(batch.position, ensure_ascii=False, default=str) if batch.position is not None else None
        known = {
            "node": node,
            "code": self.codes.get(node, REFUSED),
            "input": inputs[0] if len(inputs) == 1 else inputs[port] if port is not None and inputs else None,
            "workflow": self.workflow,
            "epoch": epoch,
            "attempt": self.attempt,
            "split": self.split(),
            "position": position,
            "time": time,
            "replays": self.replays,
        }
        arrays = []
        for column in schema:
            if column.name in columns:
                arrays.append(columns[column.name].cast(column.type))
            elif column.name == "id":
                arrays.append(self._ids(count))
            else:
                value = pa.scalar(known.get(column.name), column.type)
                arrays.append(pa.repeat(value, count) if value.is_valid else pa.nulls(count, column.type))
        return pa.table(arrays, schema=schema)

    def _ids(self, count: int) -> pa.Array:
        """Return the next so many ids: attempt, task, number; attempts of a workflow have numbers of their own."""
        import pyarrow as pa
        import pyarrow.compute as pc

        first, self._number = self._number, self._number + count
        numbers = pa.array(range(first, first + count), pa.int64()).cast(pa.string())
        return pc.binary_join_element_wise(pa.scalar(f"{self.attempt}.{self.task}"), numbers, ".")


def first_reason(batch: Batch) -> str:
    """Return the reason of the first row of a batch in the one shape."""
    from dataflare.batch import Encoded

    if isinstance(batch.payload, Encoded):
        return "rejected"
    return str(batch.payload["error"][0])


__all__ = ["EXPRESSION", "FUNCTION", "REFUSED", "UNREADABLE", "Origin", "first_reason"]
