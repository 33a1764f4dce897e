"""What a verification found, as a value and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Side:
    """How many rows one side has, and the sum of their hashes: equal rows give an equal sum, in any order."""

    rows: int
    checksum: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A key whose rows differ.

    `kind`: `missing` in the destination, `surplus` there, `different` (in `columns`), or `repeated`: there are not as
    many rows of that key on both sides. A key holds no tagged values: none reaches a destination (invariant 7).
    """

    kind: str
    key: Mapping[str, Any]
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What came of comparing the rows of one destination.

    `counts` are keys by kind, of all differences; `examples` the first of them. `settled` keys differed when they were
    looked at first, and did not later: rows were on their way. Without a `key` whole rows are counted by what is in
    them: `missing` and `surplus` only.
    """

    workflow: str
    destination: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    source: Side
    written: Side
    counts: Mapping[str, int] = field(default_factory=dict)
    settled: int = 0
    looks: int = 1
    examples: tuple[Difference, ...] = ()
    by: str = "rows"

    @property
    def equal(self) -> bool:
        """Whether every row of one side is on the other one."""
        return not any(self.counts.values())

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        value = asdict(self)
        return {
            "workflow": value.pop("workflow"),
            "destination": value.pop("destination"),
            "equal": self.equal,
            **value,
            "key": list(self.key),
            "columns": list(self.columns),
            "examples": [
                {"kind": e.kind, "key": {n: _plain(v) for n, v in e.key.items()}, "columns": list(e.columns)}
                for e in self.examples
            ],
        }


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | str | None) else str(value)


__all__ = ["Difference", "Report", "Side"]
