"""Where the stream of changes stands: the position of its split."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from dataflare.connectors.postgres.changes.resnapshot import Resnapshot
from dataflare.connectors.postgres.changes.snapshots import Reading, Seen
from dataflare.connectors.postgres.replication.messages import Point, lsn_number, lsn_text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from dataflare.batch import Position
    from dataflare.connectors.postgres.replication.messages import Decoded, Settled

MESSAGES = "messages"
"""The output of what others write into the log."""


@dataclass(slots=True)
class Place:
    """All transactions that were committed before `lsn` are passed, and those up to the point `opened` of the next.

    `ahead`: streams of which more was passed. `told`: streams of which rows that do not fit were put aside up to a
    point, before the others. `seen`: what the first reading of tables had in it already. `again`: what is to be read
    beside the stream; `answered` are the names of what was. `tables` are those that are followed, by stream: schema and
    name; None: those that the split names. `left`: streams of which parts were not read, since they were left out then.
    """

    lsn: int
    opened: Point | None = None
    ahead: dict[str, Point] = field(default_factory=dict)
    told: dict[str, Point] = field(default_factory=dict)
    seen: dict[str, Seen] = field(default_factory=dict)
    again: list[Resnapshot] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    tables: dict[str, list[str]] | None = None
    is_open: bool = False
    left: frozenset[str] = frozenset()

    @classmethod
    def at(cls, position: Position | None, begin: int) -> Self:
        """Read a position; where there is none, or one of splits that were read before, begin at an LSN."""
        if position is None:
            return cls(begin)
        if "splits" in position:
            by_stream: dict[str, list[Reading]] = {}
            values = [value for value in position["splits"].values() if value]
            for value in values:
                reading = Reading.from_json(value)
                by_stream.setdefault(reading.stream, []).append(reading)
            left = frozenset(value["stream"] for value in values if value.get("left"))
            return cls(begin, seen={name: Seen(readings) for name, readings in by_stream.items()}, left=left)
        opened = Point(lsn_number(position["tx"]), position["rows"]) if "tx" in position else None
        ahead, told = (_points(position.get(name, {})) for name in ("ahead", "told"))
        seen = {name: Seen.from_json(value) for name, value in position.get("seen", {}).items()}
        again = [Resnapshot.from_json(value) for value in position.get("again", ())]
        beside = (again, list(position.get("answered", ())), position.get("tables"))
        return cls(lsn_number(position["lsn"]), opened, ahead, told, seen, *beside)

    def position(self) -> Position:
        """Return it as JSON values."""
        found: dict[str, Any] = {"lsn": lsn_text(self.lsn)}
        if self.opened is not None:
            found |= {"tx": lsn_text(self.opened.commit_lsn), "rows": self.opened.number}
        for name, points in (("ahead", self.ahead), ("told", self.told)):
            if points:
                found[name] = {stream: [lsn_text(p.commit_lsn), p.number] for stream, p in points.items()}
        if self.seen:
            found["seen"] = {name: seen.to_json() for name, seen in self.seen.items()}
        if self.again:
            found["again"] = [one.to_json() for one in self.again]
        if self.answered:
            found["answered"] = list(self.answered)
        if self.tables is not None:
            found["tables"] = self.tables
        return found

    def renamed(
        self, before: Mapping[str, list[str] | None], now: Mapping[str, list[str]]
    ) -> Mapping[str, list[str] | None]:
        """Call tables by their outputs of now, as where `table` became `tables`; return `before` so as well."""
        names = {was: name for was, full in before.items() for name in now if now[name] == full}
        self.ahead, self.told = ({names.get(n, n): p for n, p in x.items()} for x in (self.ahead, self.told))
        self.seen = {names.get(n, n): seen for n, seen in self.seen.items()}
        for one in self.again:
            one.stream = names.get(one.stream, one.stream)
        return {names.get(n, n): full for n, full in before.items()}

    def only(self, streams: Collection[str]) -> None:
        """Forget all other streams, but that of messages: they are not followed any more."""
        self.ahead = {name: point for name, point in self.ahead.items() if name in streams or name == MESSAGES}
        self.seen = {name: seen for name, seen in self.seen.items() if name in streams}
        self.answered += [one.id for one in self.again if one.stream not in streams and not one.new]
        self.again = [one for one in self.again if one.stream in streams]

    @property
    def newest(self) -> int:
        """An LSN that no transaction is behind of which anything was passed, and none before that still comes."""
        opened = self.opened.commit_lsn if self.opened is not None else 0
        return max([self.lsn, opened, *(point.commit_lsn for point in self.ahead.values())])

    @property
    def after(self) -> Point:
        """The point up to which all is passed, beyond what the server leaves out by itself."""
        return self.opened or Point()

    def passed(self, decoded: Decoded) -> None:
        """Changes of one stream were passed on."""
        self.ahead[decoded.stream] = decoded.last
        if decoded.settled is not None:
            self.settled(decoded.settled)
        else:
            self._forget()

    def settled(self, settled: Settled) -> None:
        """All changes up to a point were passed on."""
        self.is_open = settled.is_open
        self.lsn = max(self.lsn, settled.end_lsn)
        if settled.is_open:
            self.opened = max(settled.point, self.after)
        elif self.opened is not None and self.opened <= settled.point:
            self.opened = None
        self._forget()

    def read_up_to(self, lsn: int) -> None:
        """The server has read its log up to here, and what was committed in it has come."""
        if not self.is_open and lsn > self.lsn:
            self.lsn = lsn
            if self.opened is not None and self.opened.commit_lsn < lsn:
                self.opened = None
            self._forget()

    def _forget(self) -> None:
        self.ahead = {n: p for n, p in self.ahead.items() if p.commit_lsn >= self.lsn and p > self.after}
        self.told = {
            n: p
            for n, p in self.told.items()
            if p.commit_lsn >= self.lsn and p > max(self.after, self.ahead.get(n, Point()))
        }
        self.seen = {n: s for n, s in self.seen.items() if s.until > self.lsn}


def _points(value: Mapping[str, Any]) -> dict[str, Point]:
    return {name: Point(lsn_number(lsn), number) for name, (lsn, number) in value.items()}


def lsn_of(position: Mapping[str, Any]) -> int:
    """Return the LSN before which all of a position is passed; 0 where nothing of the stream is."""
    return lsn_number(position["lsn"]) if "lsn" in position else 0


__all__ = ["Place", "lsn_of"]
