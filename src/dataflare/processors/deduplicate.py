"""Lets one row of each key through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, model_validator

from dataflare.batch import Batch
from dataflare.component import Config, Duration, Field, processor
from dataflare.component.processor import Port
from dataflare.errors import DataError, WorkflowError
from dataflare.expression.reject import Rejected
from dataflare.plan_words import EdgeKind
from dataflare.processors.columns import same_columns
from dataflare.processors.counting import CountingProcessor
from dataflare.processors.deduplicate_tables import NewestRows, SeenKeys
from dataflare.schema import REJECTED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa

    from dataflare.schema import Schema

_TIMES = ("timestamp", "datetime", "date")


class Within(Config):
    """How near to a row that was let through a row of the same key is a duplicate of it."""

    model_config = ConfigDict(json_schema_extra={"x-short": ["string"]})

    time: Duration | None = Field(None, gt=0, description="By time: that of `by`, else that of the epoch it came in.")
    by: str | None = Field(None, description="The column that holds the time of a row; earlier and later ones count.")
    rows: int | None = Field(None, ge=1, description="By number: how many rows may lie between them, in one task.")

    @model_validator(mode="before")
    @classmethod
    def _duration(cls, value: Any) -> Any:
        return {"time": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_way(self) -> Within:
        if (self.time is None) == (self.rows is None):
            raise ValueError("give either time or rows")
        if self.by is not None and self.time is None:
            raise ValueError("by goes with time")
        return self


class DeduplicateConfig(Config):
    """Which rows are the same, and which of them stays."""

    keys: list[str] = Field(
        [], description="Rows that are equal in these columns are the same; none: in all. Nulls are equal."
    )
    keep: Literal["first", "last"] = Field(
        "first", description="Let the first row of a key through at once, or its last one at the end of the input."
    )
    within: Within | None = Field(
        None,
        description="Only rows that lie near to each other are the same, such as `10m`, `{time: 1h, by: ts}` or "
        "`{rows: 100000}`, so that older keys can be forgotten. Default: all over.",
    )


@processor(
    "deduplicate",
    status="beta",
    accepts=(EdgeKind.APPEND,),
    yields=EdgeKind.APPEND,
    counts=("absorbed", "expanded", "skipped", "dead"),
    deterministic=False,
    examples=[
        {"keys": ["order_id"]},
        {"keys": ["device", "ts"], "within": {"time": "1h", "by": "ts"}},
        {"keys": ["customer_id"], "keep": "last"},
    ],
)
class Deduplicate(CountingProcessor[DeduplicateConfig]):
    """Lets one row of each key through.

    With `keep: first` a row goes through at once if its key is new; what was seen is remembered in the checkpoint, so
    a run that was killed goes on as if it had not been. Disk, and what a batch costs, grow with the number of different
    keys; `within` bounds both. A row that goes through begins a new window: duplicates do not prolong it. A
    row whose time (`by`) lies further back than the window, behind the newest one that came, may find its key
    forgotten. With `keep: last` the newest row of each key waits for the end of a bounded input.

    First and last are meant in the order in which rows come in, which is that of the source where one task reads it.
    """

    tells_tags = True

    def __init__(self, config: DeduplicateConfig) -> None:
        """Know nothing yet."""
        super().__init__(config)
        self._seen: SeenKeys | None = None
        self._newest: NewestRows | None = None

    def outputs(self, inputs: Sequence[Schema]) -> Mapping[str, Schema]:
        """Return the columns as they come."""
        first, config = same_columns(inputs), self.config
        for name in config.keys:
            if name not in first:
                raise WorkflowError(f"keys: there is no column {name!r}", hint=f"columns: {', '.join(first.names)}")
        within = config.within
        if within is not None and config.keep == "last":
            raise WorkflowError("within goes with keep: first", hint="group by a time to keep the last row of each")
        if within is not None and within.by is not None:
            kind = first[within.by].type if within.by in first else "no column"
            if kind not in _TIMES:
                raise WorkflowError(
                    f"within: {within.by!r} is {kind}, not a time", hint="cast it to timestamp in a mapping before"
                )
        return {"": first, **({"errors": REJECTED} if self.context.on_error == "dead_letter" else {})}

    def keys(self) -> tuple[str, ...]:
        """Return the key columns, all columns where none are named."""
        return tuple(self.config.keys or self.context.schemas["0"].names)

    def ports(self, count: int) -> Sequence[Port]:
        """Return that equal keys meet."""
        return [Port(self.keys())] * count

    def holds(self) -> bool:
        """Tell that last rows come at the end."""
        return self.config.keep == "last"

    def varies(self) -> str:
        """Tell of windows by the time of arrival."""
        within = self.config.within
        by_arrival = within is not None and within.time is not None and within.by is None
        return "tells duplicates by the time at which rows come in" if by_arrival else ""

    def open(self) -> None:
        """Prepare the tables."""
        schema = self.context.schemas["0"].to_arrow()
        if self.config.keep == "last":
            self._newest = NewestRows(schema, self.keys(), self.context)
            return
        within = self.config.within
        width = None
        if within is not None:
            width = within.rows + 1 if within.rows is not None else round((within.time or 0) * 1_000_000)
        self._seen = SeenKeys(schema, self.keys(), width, self.context)

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        """Let new keys through, or take the rows in."""
        del port
        if not batch.num_rows:
            return
        if self._newest is not None:
            self._newest.take(batch.rows)
            self.count("absorbed", batch.num_rows)
            return
        assert self._seen is not None
        rows = batch.rows
        for rejected in self._without_time(rows):
            yield rejected
            rows = rows.filter(rows[self._by()].is_valid())
        kept = rows.take(self._seen.fresh(rows, self._times(rows)))
        self.count("absorbed", rows.num_rows - kept.num_rows)
        yield batch.replace(kept, "")

    def finish(self) -> Iterable[Batch]:
        """Let the last rows through."""
        if self._newest is not None:
            for rows in self._newest.taken():
                self.count("expanded", rows.num_rows)
                yield Batch(rows)

    def snapshot(self) -> Mapping[int, bytes]:
        """Return the keys that were seen, or the rows that wait."""
        return self._table.state()

    def segments(self) -> Sequence[str]:
        """Return where they are."""
        return self._table.segments()

    def restore(self, state: Mapping[int, bytes]) -> None:
        """Take them back."""
        self._table.restore(state)

    def close(self) -> None:
        """Free the tables."""
        for table in (self._newest, self._seen):
            if table is not None:
                table.close()

    @property
    def _table(self) -> NewestRows | SeenKeys:
        table = self._newest or self._seen
        assert table is not None, "it is not open"
        return table

    def _by(self) -> str:
        within = self.config.within
        return within.by if within is not None and within.by is not None else ""

    def _times(self, rows: pa.Table) -> pa.Array | None:
        """Return where each row stands in the window, in microseconds; None: its number counts."""
        import pyarrow as pa

        within = self.config.within
        if within is None or within.rows is not None:
            return None
        if not within.by:
            return pa.repeat(pa.scalar(self.context.epoch_time(), pa.int64()), rows.num_rows)
        return rows[within.by].cast(pa.timestamp("us")).cast(pa.int64())

    def _without_time(self, rows: pa.Table) -> Iterator[Batch]:
        """Yield the rows whose time is null as errors."""
        import pyarrow as pa

        by = self._by()
        missing = rows[by].null_count if by else 0
        if not missing:
            return
        if self.context.on_error not in ("skip", "dead_letter"):
            raise DataError(
                f"within: {by} is null in {missing:,} rows of a batch",
                hint="filter them out before, or set on_error: {action: dead_letter} on the node",
            )
        reasons = pa.repeat(pa.scalar(f"within: {by} is null"), missing)
        lost = rows.filter(rows[by].is_null())
        found = Rejected(self.context.node, lost, reasons, self.context.schemas["0"])
        yield Batch(found.as_errors(), "errors")


__all__ = ["Deduplicate", "DeduplicateConfig"]
