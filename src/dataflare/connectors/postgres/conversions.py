"""How values get from the columns of a staging table, or of bytes like it, into other ones: exactly, or not at all.

The server rounds without a word when it assigns to fewer decimals, cuts a time to a date, and cannot assign text to
most types. So what changes the type of a value is an expression here, and what loses something fails.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dataflare.sql.postgres_types import POSTGRES, POSTGRES_STAGING
from dataflare.sql.quoting import literal

if TYPE_CHECKING:
    from dataflare.schema import Column


_TEXTUAL = re.compile(r"(text|character|bpchar|name)(?!.*\[)")
_LOSING = re.compile(r"(smallint|integer|bigint|numeric|date|time|timestamp)\b")
"""Where an assignment may round or cut."""
_FLOATS = ("real", "double precision")
"""What is no exact number may be rounded to one of fewer decimals, as the destination's page says."""


def conversion(column: Column, found: str) -> str:
    """Return the expression of a staged column for a target's column of another type; "" where the bytes are the same.

    `found` is the type of the target's column as `format_type` writes it.
    """
    mine = POSTGRES_STAGING.column_type(column.type)
    return "" if _same_bytes(mine, found) else _converted(column.name, mine, found)


def _same_bytes(mine: str, theirs: str) -> bool:
    """Tell whether binary COPY of a type is that of another, and the other takes each value as it is."""
    if mine == "text":
        return bool(_TEXTUAL.match(theirs)) and theirs != "name"
    return theirs in (mine, f"{mine} without time zone") or (mine.startswith("numeric") and theirs == "numeric")


def _converted(name: str, mine: str, theirs: str) -> str:
    column = POSTGRES.quote(name)
    if mine in ("text", "json"):
        return column if _TEXTUAL.match(theirs) else f"cast({column} as {theirs})"
    if not _LOSING.match(theirs) or (mine in _FLOATS and theirs.startswith("numeric")):
        return column
    # The text at the end is made of the value, so that the server does not compute the failing cast beforehand.
    failing = f"cast(left({column}::text, 0) || {literal(f'it does not fit {name}')} as {theirs})"
    back = f"cast(cast({column} as {theirs}) as {mine})"
    return f"case when {back} is distinct from {column} then {failing} else cast({column} as {theirs}) end"


__all__ = ["conversion"]
