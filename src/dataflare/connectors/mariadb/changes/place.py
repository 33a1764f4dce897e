"""Where the stream of changes stands: the position of its split."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from dataflare.connectors.mariadb.changes.snapshots import Snapshot
from dataflare.connectors.mariadb.replication.places import Gtids, LogPlace
from dataflare.sql.first_reading import Seen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.batch import Position
    from dataflare.connectors.mariadb.replication.decoder import Settled


@dataclass(slots=True)
class Place:
    """All transactions up to `gtids` are passed, by domain.

    `ahead`: streams of which more was passed: up to a transaction of the domain of the changes, and how many rows of
    that one. `seen`: what the first reading of tables had in it already. `kinds`: types of columns at this place that
    the log does not tell, by stream. `log` is the place in the files of the server, which only says how far it is.
    `told`: up to which change of a stream rows that do not fit were put aside, though not all before it was passed.
    `left`: streams that were left out of the workflow, so that something of them was not passed.
    """

    gtids: Gtids
    domain: int
    ahead: dict[str, tuple[int, int]] = field(default_factory=dict)
    seen: dict[str, Seen[Snapshot]] = field(default_factory=dict)
    kinds: dict[str, dict[str, str]] = field(default_factory=dict)
    log: LogPlace | None = None
    told: dict[str, tuple[int, int]] = field(default_factory=dict)
    is_open: bool = False
    left: set[str] = field(default_factory=set)

    @classmethod
    def at(cls, position: Position | None, begun: Mapping[str, Any]) -> Self:
        """Read a position; where there is none, or one of splits that were read before, begin where the split says."""
        domain, kinds = begun["domain"], _copied(begun.get("kinds", {}))
        if position is None or "splits" in position:
            seen = Seen.by_stream(position["splits"], Snapshot.from_json) if position is not None else {}
            log = LogPlace(*begun["log"]) if "log" in begun else None
            values = [value for value in position["splits"].values() if value] if position is not None else []
            left = {value["stream"] for value in values if value.get("left")}
            return cls(Gtids.read(begun["begin"]), domain, seen=seen, kinds=kinds, log=log, left=left)
        ahead = _points(position.get("ahead", {}))
        seen = {name: Seen.from_json(value, Snapshot.from_json) for name, value in position.get("seen", {}).items()}
        log = LogPlace(*position["log"]) if "log" in position else None
        kinds, told = _copied(position.get("kinds", {})), _points(position.get("told", {}))
        left = set(position.get("left", ()))
        return cls(gtids_of(position), domain, ahead, seen, kinds, log, told, left=left)

    def position(self) -> Position:
        """Return it as JSON values."""
        found: dict[str, Any] = {"gtid": str(self.gtids)}
        if self.ahead:
            found["ahead"] = {name: list(point) for name, point in self.ahead.items()}
        if self.told:
            found["told"] = {name: list(point) for name, point in self.told.items()}
        if self.seen:
            found["seen"] = {name: seen.to_json() for name, seen in self.seen.items()}
        if kinds := _copied(self.kinds):
            found["kinds"] = kinds
        if self.left:
            found["left"] = sorted(self.left)
        if self.log is not None:
            found["log"] = list(self.log)
        return found

    def passed(self, stream: str, number: int, rows: int) -> None:
        """So many rows of a transaction were passed on for a stream, and all before it."""
        self.ahead[stream] = max(self.ahead.get(stream, (-1, 0)), (number, rows))
        if self.told.get(stream, (-1, 0)) <= self.ahead[stream]:
            self.told.pop(stream, None)

    def settled(self, now: Settled) -> None:
        """All transactions up to a place were passed on."""
        self.gtids, self.is_open = now.gtids, now.is_open
        if now.at.file:
            self.log = now.at._replace(second=max(now.at.second, self.log.second if self.log else 0))
        number = now.gtids.number(self.domain)
        self.ahead = {name: point for name, point in self.ahead.items() if point[0] > number}
        self.seen = {name: seen for name, seen in self.seen.items() if seen.until > number + 1}


def gtids_of(position: Mapping[str, Any]) -> Gtids:
    """Return up to where all of a position is passed."""
    return Gtids.read(position.get("gtid", ""))


def _points(value: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    return {name: (number, rows) for name, (number, rows) in value.items()}


def _copied(kinds: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    return {stream: dict(by_column) for stream, by_column in kinds.items() if by_column}


__all__ = ["Place", "gtids_of"]
