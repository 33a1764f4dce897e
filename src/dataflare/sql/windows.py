"""Finds what is new in a table by a column that grows: windows between two of its values, each row in one of them.

Rows may come later that have the newest value of a window. So the lower bound of a window is closed, and the keys
that the window before took at that value are left out; the upper bound is closed for the keys that were there when
the window was made. Both lists are part of the split, which therefore means the same rows whenever it is read. Where
more than `BOUNDARY_KEYS_MAX` rows share the newest value, they came in one transaction, and the value is taken as
complete. Rows that come later with an older value are found as far as a bound reaches back: a mark with an `edge`
lists the rows from there up to the newest value, each by its own value and its key.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from dataflare.sql.reading import among

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dataflare.sql.reading import Values

BOUNDARY_KEYS_MAX = 5000

Keys = list[list[Any]] | None
"""Keys of the rows at a bound; None: all that there are."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Where reading of a table stands: the newest value, the keys taken there, and how many windows there were.

    With an `edge`, an older value, `keys` are [value, *key] of the rows from there on. `tail` are those of the
    rows next below the newest value, as they were then, if they were looked at: others later are rows that came late.
    """

    value: Any
    keys: Keys
    number: int
    edge: Any = None
    tail: Keys = None

    def goes_beyond(self, low: Self | None) -> bool:
        """Tell whether there may be something new behind `low`."""
        return low is None or low.value != self.value or (low.keys is not None and low.keys != self.keys)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {k: v for k, v in asdict(self).items() if k not in ("edge", "tail") or v is not None}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(value["value"], value["keys"], value["number"], value.get("edge"), value.get("tail"))


@dataclass(frozen=True, slots=True)
class Window:
    """Rows after the mark `low` up to the mark `high`; `start`: from that value on, whatever was read of it before."""

    low: Mark | None
    high: Mark
    start: Any = None

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"low": self.low.to_json() if self.low else None, "high": self.high.to_json(), "start": self.start}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        low = Mark.from_json(value["low"]) if value["low"] else None
        return cls(low, Mark.from_json(value["high"]), value["start"])

    def conditions(self, order: Mapping[str, str], values: Values) -> Sequence[str]:
        """Return what the rows of the window fulfil; `order` is that of a relation `by_cursor`."""
        found = []
        if self.low is not None:
            found.append(_bounded(order, self.low, values, upper=False))
        elif self.start is not None:
            name, column = next(iter(order.items()))
            found.append(f"{column} >= {values(name, self.start)}")
        found.append(_bounded(order, self.high, values, upper=True))
        return found


def _bounded(order: Mapping[str, str], mark: Mark, values: Values, *, upper: bool) -> str:
    name, column = next(iter(order.items()))
    bound = values(name, mark.value)
    if mark.keys is None:
        return f"{column} <= {bound}" if upper else f"{column} > {bound}"
    if mark.edge is not None:
        at, edge = among(order, mark.keys, values), values(name, mark.edge)
        if upper:
            return f"{column} < {edge} or ({column} <= {values(name, mark.value)} and {at})"
        return f"{column} > {bound} or ({column} >= {edge} and not ({at}))"
    at = among({k: text for k, text in order.items() if k != name}, mark.keys, values)
    sign, there = ("<", at) if upper else (">", f"not ({at})")
    return f"{column} {sign} {bound} or ({column} = {values(name, mark.value)} and {there})"


__all__ = ["BOUNDARY_KEYS_MAX", "Mark", "Window"]
