"""Types that the log does not tell: bytes there, texts for everybody else. What it says of them is the same for all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.connectors.mariadb.replication.table_maps import BINARY, STRING, VARCHAR

if TYPE_CHECKING:
    from dataflare.connectors.mariadb.replication.table_maps import LogColumn

FIXED = {"uuid": 16, "inet6": 16, "inet4": 4}
"""How many bytes they have."""
HIDDEN = (*FIXED, "vector")
UNKNOWN = "?"
"""What is logged as bytes, and was one of these types or none."""
_BYTES = ("binary", "varbinary")


def kind_of(column: LogColumn, *, before: str, now: str, as_bytes: bool) -> str:
    """Return the hidden type of a column of the log; "" where it has none.

    `before` is the type that it is known to have had at this place ("": nobody knows), `now` the one in the catalogue,
    where it may be another by now. `as_bytes`: it is wanted as bytes.
    """
    found = [kind for kind in ((now, before) if as_bytes else (before, now)) if fits(kind, column)]
    if found:
        return found[0]
    return UNKNOWN if not as_bytes and now not in _BYTES and any(fits(kind, column) for kind in HIDDEN) else ""


def fits(kind: str, column: LogColumn) -> bool:
    """Tell whether a hidden type may be that of a column of the log."""
    if column.collation != BINARY:
        return False
    if kind in FIXED:
        return column.type == STRING and column.width() == FIXED[kind]
    return kind == "vector" and column.type == VARCHAR and (column.meta[0] + column.meta[1] * 256) % 4 == 0


__all__ = ["FIXED", "HIDDEN", "UNKNOWN", "fits", "kind_of"]
