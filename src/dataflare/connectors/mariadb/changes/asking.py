"""What only the server knows of values in its log: letters of character sets, texts of shapes, the order of keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dataflare.connectors.mariadb.catalogue import CHARSET, LETTERS_MAX
from dataflare.connectors.mariadb.relations import WHOLE, base_type
from dataflare.connectors.mariadb.replication.places import malformed
from dataflare.sql.maria_types import MARIADB

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dataflare.connectors.mariadb.changes.tables import FollowedTable
    from dataflare.connectors.mariadb.session import MariaSession
    from dataflare.sql.first_reading import Numbers

_ASKED_VALUES, _ASKED_BYTES = 500, 1 << 20
_TEXTS = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext")
_BYTES = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob")
_MOMENTS = ("datetime", "timestamp")
RANKED = (*WHOLE, *_TEXTS, *_BYTES, *_MOMENTS, "decimal", "date", "uuid")
"""Types of keys whose order the server is asked for, if it is not plain."""


class Asking:
    """Asks by one connection, which nobody else uses meanwhile; remembers what does not change."""

    def __init__(self, session: MariaSession) -> None:
        """Ask nothing yet."""
        self._session = session
        self._charsets: dict[int, str] = {}
        self._letters: dict[str, list[str] | None] = {}

    def texts_of(self, values: pa.Array, expression: str) -> pa.Array:
        """Return what an expression makes of each of some values, which are bytes; each different one is asked once."""
        coded = values.dictionary_encode()
        found: list[str | None] = []
        for part in _parts(coded.dictionary.to_pylist()):
            rows = (f"select {n}, {expression.format(self._session.literal(v))}" for n, v in enumerate(part))
            told: list[str | None] = [None] * len(part)
            for numbers, texts in self._session.texts(" union all ".join(rows), len(part)):
                for number, text in zip(numbers.to_pylist(), texts.to_pylist(), strict=True):
                    told[int(number)] = None if text is None else text.decode()
            found += told
        return pa.array(found, pa.string()).take(coded.indices)

    def charset(self, collation: int) -> str:
        """Return the character set of a collation by its number."""
        if collation not in self._charsets:
            found = self._session.run(CHARSET, (collation,))
            if not found:
                raise malformed(f"there is no collation {collation}")
            self._charsets[collation] = found[0][0]
        return self._charsets[collation]

    def letters(self, charset: str) -> list[str] | None:
        """Return the letter of each byte; None for a set of which a letter has several."""
        if charset not in self._letters:
            ((most,),) = self._session.run(LETTERS_MAX, (charset,))
            told = None
            if most == 1:
                every = self._session.literal(bytes(range(256)))
                sql = f"select convert(convert({every} using {charset}) using utf8mb4)"
                told = list(next(self._session.texts(sql, 1))[0][0].as_py().decode())
            self._letters[charset] = told
        return self._letters[charset]

    # ---- the order of keys --------------------------------------------------------------------------------------

    def ranks(self, table: FollowedTable, keys: Sequence[Any], parts: Sequence[list[Any]]) -> Numbers:
        """Return, by row, how many of some keys its key comes behind."""
        kinds = [base_type(table.relation.kinds[name]) for name in table.relation.order]
        if all(kind in WHOLE for kind in kinds):
            return _ranked(keys, parts)
        columns = [f"k{n}" for n in range(len(kinds))]
        plain = ", ".join(f"{MARIADB.quote(name)} as k{n}" for n, name in enumerate(table.relation.order))
        bounds = [", ".join(self._literals(kinds, part)) for part in parts]
        counted = " + ".join(f"(({', '.join(columns)}) > ({bound}))" for bound in bounds)
        if len(columns) == 1:
            counted = " + ".join(f"({columns[0]} > {bound})" for bound in bounds)
        rows = list(zip(*(c.to_pylist() for c in keys), strict=True))
        found = np.zeros(len(rows), np.int64)
        for begin in range(0, len(rows), _ASKED_VALUES):
            some = rows[begin : begin + _ASKED_VALUES]
            told = " union all ".join(
                f"select {begin + n}, {', '.join(self._literals(kinds, row))}" for n, row in enumerate(some)
            )
            typed = f"select 0 as n, {plain} from {table.relation.source} where false"  # noqa: S608 - quoted
            for number, count in self._session.run(f"select n, {counted} from ({typed} union all {told}) r"):  # noqa: S608
                found[number] = count
        return found

    def _literals(self, kinds: Sequence[str], row: Sequence[Any]) -> Iterator[str]:
        literal = self._session.literal
        for kind, value in zip(kinds, row, strict=True):
            if kind in WHOLE:
                yield f"{int(value):d}"
            elif kind in _BYTES:
                yield literal(bytes.fromhex(value["hex"]) if isinstance(value, dict) else value)
            elif kind == "decimal":
                yield f"cast({literal(str(value))} as decimal(65, 30))"
            elif kind == "uuid":
                yield f"cast({literal(str(value))} as uuid)"
            elif kind in _MOMENTS:
                yield f"cast({literal(str(value).removesuffix('+00:00'))} as datetime(6))"
            else:
                yield f"cast({literal(str(value))} as date)" if kind == "date" else literal(value)


def _ranked(keys: Sequence[Any], parts: Sequence[list[Any]]) -> Numbers:
    """Compare whole numbers, column by column."""
    columns = [c.to_numpy(zero_copy_only=False) for c in keys]
    found = np.zeros(len(columns[0]), np.int64)
    for part in parts:
        greater, same = np.zeros(len(found), bool), np.ones(len(found), bool)
        for column, bound in zip(columns, part, strict=True):
            greater |= same & (column > bound)
            same &= column == bound
        found += greater
    return found


def _parts(values: list[bytes]) -> Iterator[list[bytes]]:
    part: list[bytes] = []
    size = 0
    for value in values:
        if part and (len(part) == _ASKED_VALUES or size > _ASKED_BYTES):
            yield part
            part, size = [], 0
        part.append(value)
        size += 2 * len(value)
    if part:
        yield part


__all__ = ["RANKED", "Asking"]
