"""Where the rows of an enrichment's lookup come from: settings, another node, or something outside that may be down."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dataflare.errors import DataError, DataFlareError, ExternalError, UnavailableError
from dataflare.processors.matching import KeyIndex

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from dataflare.component import Lookup
    from dataflare.processors.enrichment_patience import Patience
    from dataflare.processors.enrichment_plan import EnrichmentPlan, Known

SEGMENTS_MAX = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known for the keys of a batch; `unanswered` marks those of which a lookup that is `down` said nothing."""

    known: Known
    unanswered: pa.Array | None = None
    down: DataFlareError | None = None


class Side(ABC):
    """The rows of a lookup."""

    @abstractmethod
    def find(self, keys: Sequence[pa.ChunkedArray]) -> Answer:
        """Return what is known for these keys."""

    def close(self) -> None:  # noqa: B027 - most have nothing open
        """Let go of what is open."""


class GatheredSide(Side):
    """Rows that come by and by, or are there from the beginning."""

    def __init__(self, plan: EnrichmentPlan, bytes_max: int, *, newest: bool = False) -> None:
        """Know nothing yet; `newest`: a key may come again."""
        self._plan, self._bytes_max, self._newest = plan, bytes_max, newest
        self._rows = plan.side.to_arrow().empty_table()
        self._fresh: list[pa.Table] = []
        self._bytes = 0
        self._known: Known | None = None

    def take(self, rows: pa.Table) -> None:
        """Take rows in."""
        self._fresh.append(rows)
        self._bytes += rows.nbytes
        self._known = None
        if self._bytes > self._bytes_max:
            self._bytes = self.rows.nbytes  # older rows of a key may be gone
            refuse_size(self._bytes, self._bytes_max)

    @property
    def rows(self) -> pa.Table:
        """All rows that count, in the order in which they came."""
        import pyarrow as pa

        if self._fresh:
            self._rows = pa.concat_tables([self._rows, *self._fresh]).combine_chunks()
            self._fresh = []
            if self._newest:
                self._rows = self._plan.newest(self._rows)
        return self._rows

    def find(self, keys: Sequence[pa.ChunkedArray]) -> Answer:
        """Return all that is known."""
        del keys
        if self._known is None:
            self._known = self._plan.known(self.rows)
        return Answer(self._known)


class WholeSide(Side):
    """All rows of something outside, read again when they are old."""

    def __init__(self, plan: EnrichmentPlan, patience: Patience, bytes_max: int, now: Callable[[], float]) -> None:
        """Read nothing yet."""
        self._plan, self._patience, self._bytes_max, self._now = plan, patience, bytes_max, now
        self._known: Known | None = None
        self._read_at = 0.0

    def find(self, keys: Sequence[pa.ChunkedArray]) -> Answer:
        """Return all that is known, read anew where it is old."""
        config = self._plan.config
        if self._known is not None and (config.refresh is None or self._now() < self._read_at + config.refresh):
            return Answer(self._known)
        try:
            began = self._now()
            self._known, self._read_at = self._plan.known(self._patience.ask(self._everything)), began
        except (ExternalError, UnavailableError) as error:
            if self._known is not None and self._now() < self._read_at + (config.refresh or 0.0) + config.stale:
                return Answer(self._known)
            return _nothing(self._plan, keys, error)
        return Answer(self._known)

    def _everything(self, lookup: Lookup[Any]) -> pa.Table:
        import pyarrow as pa

        parts = [self._plan.side.to_arrow().empty_table()]
        size = 0
        for rows in lookup.everything():
            parts.append(self._plan.fitted(rows))
            size += parts[-1].nbytes
            refuse_size(size, self._bytes_max)
        return pa.concat_tables(parts).combine_chunks()

    def close(self) -> None:
        """Close the lookup."""
        self._patience.close()


@dataclass(frozen=True, slots=True)
class Segment:
    """Keys that were asked for at one time, and all of their rows."""

    asked: pa.Table
    index: KeyIndex
    rows: pa.Table
    read_at: float

    @property
    def size(self) -> int:
        """About the bytes in memory."""
        return int(self.asked.nbytes + self.rows.nbytes)


class KeyedSide(Side):
    """Rows of something outside that is asked for keys; answers are remembered, misses too, the oldest go first."""

    def __init__(self, plan: EnrichmentPlan, patience: Patience, bytes_max: int, now: Callable[[], float]) -> None:
        """Ask nothing yet."""
        self._plan, self._patience, self._bytes_max, self._now = plan, patience, bytes_max, now
        self._names = [k.column[0] for k in plan.keys]
        self._segments: list[Segment] = []

    def find(self, keys: Sequence[pa.ChunkedArray]) -> Answer:
        """Return what is known for the different keys of a batch, having asked for those that are not."""
        import pyarrow as pa

        wanted = self._different(pa.table(list(keys), names=self._names))
        config, now = self._plan.config, self._now()
        fresh = now - config.refresh if config.refresh is not None else None
        parts, left = self._remembered(wanted, fresh)
        if not left.num_rows:
            return Answer(self._plan.known(pa.concat_tables(parts)))
        try:
            rows = self._plan.fitted(self._patience.ask(lambda lookup: lookup.find(left)))
            rows = rows.filter(_among(left, self._plan.lookup_keys(rows)))  # a database may find equal what is not
        except (ExternalError, UnavailableError) as error:
            old, left = self._remembered(left, fresh - config.stale) if fresh is not None else ([], left)
            known = self._plan.known(pa.concat_tables([*parts, *old]))
            return Answer(known, _among(left, keys), error) if left.num_rows else Answer(known)
        self._remember(Segment(left, KeyIndex(left.columns), rows, now))
        return Answer(self._plan.known(pa.concat_tables([*parts, rows])))

    def close(self) -> None:
        """Close the lookup."""
        self._patience.close()

    def _different(self, keys: pa.Table) -> pa.Table:
        import pyarrow as pa

        plain = pa.table(keys.columns, names=[str(n) for n in range(len(self._names))]).drop_null()
        return plain.group_by(plain.column_names, use_threads=False).aggregate([]).rename_columns(self._names)

    def _remembered(self, keys: pa.Table, since: float | None) -> tuple[list[pa.Table], pa.Table]:
        """Return the rows of keys that were asked for since then, and the keys that were not."""
        import pyarrow.compute as pc

        parts = [self._plan.side.to_arrow().empty_table()]
        for segment in reversed(self._segments):
            if not keys.num_rows:
                break
            if since is not None and segment.read_at < since:
                continue
            hit = pc.is_valid(segment.index.first(keys.columns))
            found = keys.filter(hit)
            if found.num_rows:
                parts.append(segment.rows.filter(_among(found, self._plan.lookup_keys(segment.rows))))
                keys = keys.filter(pc.invert(hit))
        return parts, keys

    def _remember(self, segment: Segment) -> None:
        """Keep a segment; small ones become one, and the oldest give way where there are too many bytes."""
        import pyarrow as pa
        import pyarrow.compute as pc

        self._segments.append(segment)
        if len(self._segments) > SEGMENTS_MAX:
            last, segments = self._segments[SEGMENTS_MAX // 2 :], self._segments[: SEGMENTS_MAX // 2]
            asked = self._different(pa.concat_tables([s.asked for s in last]))
            rows: list[pa.Table] = []
            left = asked
            for one in reversed(last):  # what was asked for again counts as it was answered the last time
                hit = pc.is_valid(one.index.first(left.columns))
                rows.append(one.rows.filter(_among(left.filter(hit), self._plan.lookup_keys(one.rows))))
                left = left.filter(pc.invert(hit))
            read_at = min(s.read_at for s in last)
            merged = Segment(asked, KeyIndex(asked.columns), pa.concat_tables(rows).combine_chunks(), read_at)
            self._segments = [*segments, merged]
        while len(self._segments) > 1 and sum(s.size for s in self._segments) > self._bytes_max:
            self._segments.pop(0)


def refuse_size(size: int, most: int) -> None:
    """Raise DataError for a lookup that takes more memory than it may."""
    if size > most:
        raise DataError(
            f"the rows of the lookup take more than {most:,} bytes",
            hint="raise cache_bytes or runtime.budget.memory, let a database be asked by keys, or use a join",
        )


def _nothing(plan: EnrichmentPlan, keys: Sequence[pa.ChunkedArray], error: DataFlareError) -> Answer:
    import pyarrow as pa

    known = plan.known(plan.side.to_arrow().empty_table())
    return Answer(known, pa.repeat(pa.scalar(value=True), len(keys[0])), error)


def _among(some: pa.Table, keys: Sequence[pa.ChunkedArray]) -> pa.Array:
    """Return whether each key is one of some."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not some.num_rows:
        return pa.repeat(pa.scalar(value=False), len(keys[0]))
    return pc.is_valid(KeyIndex(some.columns).first(keys))


__all__ = ["Answer", "GatheredSide", "KeyedSide", "Side", "WholeSide", "refuse_size"]
