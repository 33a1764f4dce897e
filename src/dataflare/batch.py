"""The unit of data: rows as an Arrow table (or encoded bytes) that know where their source stands after them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

Position = Mapping[str, Any]
"""Where a split resumes: opaque to the engine, JSON-serialisable, owned by the connector."""

DataRecord = dict[str, Any]
"""One row for authors who think in records."""

RESERVED = ("_op", "_commit_ts", "_tx", "_unchanged", "_before")
"""Columns in which changes travel; a user column of such a name is a plan error."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Rows as bytes that nobody has parsed yet: `codec` names the format, `count` the rows.

    Not `judged`: whether they are rows of their schema, and how many, is not known before somebody parses them;
    `origin` is what their source needs to know to `decode` them.
    """

    data: bytes | memoryview
    codec: str
    count: int = 0
    judged: bool = True
    origin: Any = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one stream, with the position to resume from once they are durable downstream.

    `stream` is the output of the node that it comes from ("" is the default output). A batch may be empty and still
    carry position and watermark. `watermark` is microseconds in UTC: no earlier event time is expected after it.
    """

    payload: pa.Table | Encoded
    stream: str = ""
    position: Position | None = None
    watermark: int | None = None

    @classmethod
    def of(
        cls,
        rows: Iterable[DataRecord],
        *,
        schema: pa.Schema | None = None,
        stream: str = "",
        position: Position | None = None,
    ) -> Self:
        """Build from records; without a schema it is inferred from all of them."""
        import pyarrow as pa

        return cls(pa.Table.from_pylist(list(rows), schema=schema), stream, position)

    @property
    def rows(self) -> pa.Table:
        """The rows as an Arrow table; raises TypeError when they are still encoded."""
        if isinstance(self.payload, Encoded):
            raise TypeError(f"the rows are still encoded as {self.payload.codec}")
        return self.payload

    @property
    def num_rows(self) -> int:
        """How many rows it holds."""
        return self.payload.count if isinstance(self.payload, Encoded) else self.payload.num_rows

    @property
    def num_bytes(self) -> int:
        """About how many bytes its rows take in memory."""
        if isinstance(self.payload, Encoded):
            return len(self.payload.data)
        return int(self.payload.nbytes)

    def replace(self, rows: pa.Table | Encoded, stream: str | None = None) -> Batch:
        """Return the batch with other rows; position and watermark travel on."""
        return replace(self, payload=rows, stream=self.stream if stream is None else stream)
