"""From the bytes of `pgoutput` to changes as Arrow: by whole runs of messages, and by columns within them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dataflare.connectors.postgres.replication.messages import (
    EPOCH_MICROSECONDS,
    Decoded,
    Described,
    Message,
    OriginNamed,
    Point,
    Reading,
    Settled,
    Truncated,
    malformed,
    read_relation,
)
from dataflare.connectors.postgres.replication.rows import Commits, Table
from dataflare.connectors.postgres.replication.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from dataflare.connectors.postgres.replication.frames import Frames, Integers
    from dataflare.connectors.postgres.replication.messages import Event, Relation, TablePlan
    from dataflare.connectors.postgres.replication.spans import Flags
    from dataflare.connectors.postgres.replication.spool import Undone
    from dataflare.sql.misfits import Misfit

    Part = tuple[pa.Table, Integers, dict[int, Misfit]]
    """Rows of one table, the message of each, and those that do not fit."""

BEGIN, COMMIT, RELATION, TRUNCATE, MESSAGE, ORIGIN, TYPE = b"BCRTMOY"
STREAM_START, STREAM_STOP, STREAM_COMMIT, STREAM_ABORT = b"SEcA"
ROWS_MAX = 65_536
_TIME_MAX = 2**62


def _set(kinds: bytes) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return a table that tells whether a byte is one of some kinds."""
    table = np.zeros(256, bool)
    table[list(kinds)] = True
    return table


_ROWS, _COUNTED, _ALONE, _STREAMS = _set(b"IUD"), _set(b"IUDT"), _set(b"RTM"), _set(b"SEcA")
_KNOWN = _set(b"IUDBCRTMOY")


@dataclass(slots=True)
class _Transaction:
    """The transaction that is open, or the last one: its commit, and how many changes came of it."""

    lsn: int = 0
    time: int = 0
    count: int = 0
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class _Run:
    """Messages with what holds for each: its transaction's commit, its number among the changes, what is open then.

    `head` is how many bytes stand between a kind and what follows: the transaction, while it is streamed open.
    """

    frames: Frames
    head: int
    commits: Commits
    is_open: Flags

    def point(self, at: int) -> Point:
        return Point(int(self.commits.lsns[at]), int(self.commits.numbers[at]))

    def reading(self, at: int) -> Reading:
        frames = self.frames
        return Reading(memoryview(frames.data)[: frames.ends[at]], int(frames.starts[at]) + 1 + self.head)

    def behind(self, chosen: Integers, point: Point) -> Integers:
        """Return those of the messages that come after a point."""
        lsns, numbers = self.commits.lsns[chosen], self.commits.numbers[chosen]
        later: Flags = (lsns > point.commit_lsn) | ((lsns == point.commit_lsn) & (numbers > point.number))
        return chosen[later]


class Decoder:
    """Decodes one replication stream from its start on; after a reconnect there must be a new one.

    `plan` is asked for each relation when the log describes it, and again when it is no longer as it was; None: its
    changes are left out. Changes up to `after` are left out, and those of a stream up to its point in `ahead`: a
    resume in the midst of a transaction gives none of them twice. A batch has at most about `rows_max` rows and the
    bytes of the frames that were fed. Transactions that the server streams while they are open are kept in a file in
    `folder` (default: the system's) until they commit. `undone` tells which subtransactions were rolled back: of one
    that it had to keep on disk before it could be streamed, PostgreSQL (17.12) sends all rows, and not that it is gone.
    """

    def __init__(
        self,
        plan: Callable[[Relation], TablePlan | None],
        *,
        after: Point = Point(),  # noqa: B008 - a tuple
        ahead: Mapping[str, Point] | None = None,
        rows_max: int = ROWS_MAX,
        folder: Path | None = None,
        undone: Undone = lambda _: (),
    ) -> None:
        """Begin before the first message."""
        self._undone = undone
        self._plan, self._after, self._ahead, self._rows_max = plan, after, dict(ahead or {}), rows_max
        self._relations: dict[int, Relation] = {}
        self._tables: dict[int, Table | None] = {}
        self._now = _Transaction()
        self._settled = Settled(Point(), 0, is_open=False)
        self._origin = ""
        self._spool = Spool(folder)

    def feed(self, frames: Frames) -> Iterator[Event]:
        """Yield what the next messages say, in order; all must be taken. Raises DataError, WorkflowError."""
        for first in range(0, len(frames), self._rows_max):
            part = frames.slice(first, first + self._rows_max)
            controls = np.flatnonzero(_STREAMS[part.kinds])
            at = 0
            for control in [*controls.tolist(), len(part)]:
                piece = part.slice(at, control)
                if self._spool.is_open:
                    self._spool.add(piece)
                elif len(piece):
                    yield from self._decoded(piece, 0)
                if control < len(part):
                    yield from self._streamed(part, control)
                at = control + 1

    @property
    def time(self) -> int:
        """When the transaction was committed that is open, or was the last one; 0 before the first."""
        return self._now.time

    def close(self) -> None:
        """Forget transactions that are open."""
        self._spool.close()

    def _streamed(self, frames: Frames, at: int) -> Iterator[Event]:
        """Follow the transactions that the server streams while they are open."""
        kind, message = frames.kinds[at], Reading(frames.data[frames.starts[at] + 1 : frames.ends[at]])
        if kind == STREAM_STOP:
            self._spool.stop()
            return
        transaction = message.number(4)
        if kind == STREAM_START:
            self._spool.start(transaction)
        elif kind == STREAM_ABORT:
            self._spool.abort(transaction, message.number(4))
        else:
            message.number(1)
            lsn, end_lsn, time = (message.number(8, signed=True) for _ in range(3))
            if min(lsn, end_lsn) < 0 or abs(time) > _TIME_MAX:
                raise malformed("a transaction is committed nowhere or never")
            self._now = _Transaction(lsn, time + EPOCH_MICROSECONDS, 0, is_open=True)
            for piece in self._spool.commit(transaction, self._undone):
                yield from self._decoded(piece, 4)
            self._now.is_open = False
            yield from self._settle(Point(lsn, self._now.count), end_lsn, is_open=False)

    def _decoded(self, frames: Frames, head: int) -> Iterator[Event]:
        kinds = frames.kinds
        if not _KNOWN[kinds].all():
            raise malformed(f"there is a message of kind {chr(kinds[~_KNOWN[kinds]][0])!r}")
        run = self._numbered(frames, head)
        yield from self._origins(run)
        at = 0
        for alone in [*np.flatnonzero(_ALONE[kinds]).tolist(), len(kinds)]:
            if alone > at:
                yield from self._group(run, at, alone)
            if alone < len(kinds):
                yield from self._single(run, alone)
            at = alone + 1

    def _numbered(self, frames: Frames, head: int) -> _Run:
        """Number the changes; remember the transaction at the end."""
        kinds, now = frames.kinds, self._now
        is_begin, counted = kinds == BEGIN, _COUNTED[kinds]
        begins, which = np.flatnonzero(is_begin), np.cumsum(is_begin)
        is_open = int(now.is_open) + which - np.cumsum(kinds == COMMIT)
        if is_open.min() < 0 or is_open.max() > 1 or not is_open[counted].all():
            raise malformed("a change or an end is outside of a transaction")
        at, running = frames.starts[begins], np.cumsum(counted)
        self._check_lengths(frames, begins, 21)
        self._check_lengths(frames, np.flatnonzero(kinds == COMMIT), 26)
        lsns = np.concatenate([[now.lsn], frames.longs[at + 1]]).astype(np.int64)
        times = np.concatenate([[now.time], frames.longs[at + 9] + EPOCH_MICROSECONDS]).astype(np.int64)
        numbers = running - np.concatenate([[-now.count], running[begins]])[which]
        self._now = _Transaction(int(lsns[-1]), int(times[-1]), int(numbers[-1]), bool(is_open[-1]))
        return _Run(frames, head, Commits(lsns[which], times[which], numbers), is_open.astype(bool))

    @staticmethod
    def _check_lengths(frames: Frames, chosen: Integers, length: int) -> None:
        if (frames.ends[chosen] - frames.starts[chosen] != length).any():
            raise malformed("a transaction begins or ends in an unknown way")

    def _group(self, run: _Run, first: int, end: int) -> Iterator[Event]:
        """Yield the changes between two messages that stand alone, table by table."""
        by_stream: dict[str, list[Part]] = {}
        frames, rows = run.frames, first + np.flatnonzero(_ROWS[run.frames.kinds[first:end]])
        if len(rows):
            if (frames.ends[rows] - frames.starts[rows] < 8 + run.head).any():
                raise malformed("a row is too short")
            oids = frames.words[frames.starts[rows] + 1 + run.head]
            for oid in dict.fromkeys(oids[np.sort(np.unique(oids, return_index=True)[1])].tolist()):
                if oid not in self._tables:
                    raise malformed("there are rows of a table that was not described")
                if (table := self._tables[oid]) is None:
                    continue
                stream = table.plan.stream
                chosen = run.behind(rows[oids == oid], self._until(stream))
                if len(chosen):
                    by_stream.setdefault(stream, []).append(table.rows(frames, chosen, run.head, run.commits))
        commits = first + np.flatnonzero(frames.kinds[first:end] == COMMIT)
        end_lsn = int(frames.longs[frames.starts[commits[-1]] + 10]) if len(commits) else self._settled.end_lsn
        settled = Settled(run.point(end - 1), end_lsn, bool(run.is_open[end - 1]))
        found = [self._merged(run, stream, parts) for stream, parts in by_stream.items()]
        if found:
            self._settled = settled
            yield from found[:-1]
            yield replace(found[-1], settled=settled)
        else:
            yield from self._settle(settled.point, settled.end_lsn, is_open=settled.is_open)

    @staticmethod
    def _merged(run: _Run, stream: str, parts: list[Part]) -> Decoded:
        """Return the rows of a stream in the order of the log, which may come from several tables."""
        rows, origin, misfits = parts[0]
        if len(parts) > 1:
            origin = np.concatenate([o for _, o, _ in parts])
            order = np.argsort(origin, kind="stable")
            rows, origin = pa.concat_tables([r for r, _, _ in parts]).take(pa.array(order)), origin[order]
            first, at = np.cumsum([0, *(len(o) for _, o, _ in parts)]), np.argsort(order)
            misfits = {int(at[first[p] + n]): m for p, (_, _, found) in enumerate(parts) for n, m in found.items()}
        return Decoded(stream, rows, run.point(int(origin[0])), run.point(int(origin[-1])), misfits=misfits)

    def _settle(self, point: Point, end_lsn: int, *, is_open: bool) -> Iterator[Event]:
        settled = Settled(point, end_lsn, is_open)
        if settled != self._settled:
            self._settled = settled
            yield settled

    def _until(self, stream: str) -> Point:
        return max(self._after, self._ahead.get(stream, self._after))

    def _origins(self, run: _Run) -> Iterator[Event]:
        for at in np.flatnonzero(run.frames.kinds == ORIGIN).tolist():
            message = Reading(run.frames.data[run.frames.starts[at] + 9 : run.frames.ends[at]])
            name = message.text()
            if name != self._origin:
                self._origin = name
                yield OriginNamed(name, int(run.commits.lsns[at]))

    def _single(self, run: _Run, at: int) -> Iterator[Event]:
        kind, message = run.frames.kinds[at], run.reading(at)
        if kind == RELATION:
            yield from self._relation(read_relation(message))
        elif kind == TRUNCATE:
            yield from self._truncated(run, at)
        else:
            flags, lsn, prefix = message.number(1), message.number(8), message.text()
            content, commits, within = message.raw(message.number(4)), run.commits, bool(flags & 1)
            point = Point(int(commits.lsns[at]), lsn) if within else Point(lsn)
            yield Message(within, lsn, prefix, content, point, int(commits.times[at]) if within else None)

    def _relation(self, relation: Relation) -> Iterator[Event]:
        former = self._relations.get(relation.oid)
        if relation == former:
            return
        yield Described(relation, former)
        plan = self._plan(relation)
        self._relations[relation.oid] = relation
        self._tables[relation.oid] = None if plan is None else Table(relation, plan)

    def _truncated(self, run: _Run, at: int) -> Iterator[Event]:
        message = run.reading(at)
        count, flags = message.number(4), message.number(1)
        oids = [message.number(4) for _ in range(count)]
        if any(o not in self._tables for o in oids):
            raise malformed("a table is truncated that was not described")
        point = run.point(at)
        planned = [t.plan.stream for o in oids if (t := self._tables[o]) is not None]
        streams = tuple(dict.fromkeys(s for s in planned if point > self._until(s)))
        relations = tuple(self._relations[o] for o in oids)
        if streams or point > self._after:
            time = int(run.commits.times[at])
            yield Truncated(relations, streams, bool(flags & 1), bool(flags & 2), point, time)
        yield from self._settle(point, self._settled.end_lsn, is_open=True)


__all__ = ["ROWS_MAX", "Decoder"]
