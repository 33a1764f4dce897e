"""Finds what is new in a table by a column that grows: windows between two of its values, each row in one of them.

Rows may come later that have the newest value of a window. So the lower bound of a window is closed, and the keys
that the window before took at that value are left out; the upper bound is closed for the keys that were there when
the window was made. Both lists are part of the split, which therefore means the same rows whenever it is read. Where
more than `BOUNDARY_KEYS_MAX` rows share the newest value, they came in one transaction, and the value is taken as
complete. Rows that come later with an older value are not found: no query could tell them from those that were read.
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
    """Where reading of a table stands: the newest value, the keys taken there, and how many windows there were."""

    value: Any
    keys: Keys
    number: int

    @classmethod
    def after(cls, low: Self | None, value: Any, keys: list[list[Any]], most: int) -> Self | None:
        """Return the mark at the newest value, whose keys are those; None where `low` stands there already.

        More than `most` keys are taken for all that there are.
        """
        mark = cls(value, keys if len(keys) <= most else None, low.number + 1 if low else 1)
        nothing = low is not None and low.value == mark.value and (low.keys is None or low.keys == mark.keys)
        return None if nothing else mark

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(value["value"], value["keys"], value["number"])


@dataclass(frozen=True, slots=True)
class Window:
    """Rows after the mark `low` (None: from `start` on, if that is given) up to the mark `high`."""

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

    def conditions(self, cursor: tuple[str, str], key: Mapping[str, str], values: Values) -> Sequence[str]:
        """Return what the rows of the window fulfil; `cursor` is the plain and the quoted name of the column."""
        found = []
        if self.low is not None:
            found.append(_bounded(cursor, key, self.low, values, upper=False))
        elif self.start is not None:
            found.append(f"{cursor[1]} >= {values(cursor[0], self.start)}")
        found.append(_bounded(cursor, key, self.high, values, upper=True))
        return found


def _bounded(cursor: tuple[str, str], key: Mapping[str, str], mark: Mark, values: Values, *, upper: bool) -> str:
    name, column = cursor
    sign = "<" if upper else ">"
    bound = values(name, mark.value)
    if mark.keys is None:
        return f"{column} <= {bound}" if upper else f"{column} > {bound}"
    at = among(key, mark.keys, values)
    there = at if upper else f"not ({at})"
    return f"{column} {sign} {bound} or ({column} = {values(name, mark.value)} and {there})"


__all__ = ["BOUNDARY_KEYS_MAX", "Mark", "Window"]
