"""Reads blocks of whole JSON lines that are all good, by DuckDB's reader, which is the fastest there is.

Asked for an integer, that reader takes 3.7 and makes 4 of it. So integers are asked for as doubles and taken where they
are whole and a double is sure of them (`narrow`): a third of what it costs to search the text for fractions. A block
with greater integers is read as it is asked for, and searched (drift.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from dataflare.errors import WorkflowError
from dataflare.formats.jsonl.drift import INTEGERS_SURE
from dataflare.formats.jsonl.session import JsonSession, Scratch, literal, quoted, sql_type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.schema import Schema

_BUFFER_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Query:
    """A statement that begins with `with` and reads the rows of a block under `name`."""

    name: str
    sql: str


class JsonlReader:
    """Reads blocks that start and end at lines.

    Columns come by name: a field that a line lacks is null, one that the schema lacks is left out. Numbers in text
    are numbers, true and false are 1 and 0 in a column of numbers, and numbers in a string column become text
    (fractions as doubles, as in columns of type json); a value that would have to be rounded or cut is bad. Binary is
    base64.
    Not for several threads at once; close it.
    """

    def __init__(self, schema: Schema, memory_bytes_max: int = 256 << 20, settings: Sequence[str] = ()) -> None:
        """Open nothing yet; raise WorkflowError for columns whose names differ in case only.

        `settings` are statements with which its session begins.
        """
        lowered: dict[str, str] = {}
        for name in schema.names:
            other = lowered.setdefault(name.lower(), name)
            if other != name:
                raise WorkflowError(
                    f"columns {other!r} and {name!r} differ in case only", hint="name one of them under `columns`"
                )
        self.schema, self.target = schema, schema.to_arrow()
        nested = [f.name for f in self.target if pa.types.is_nested(f.type) and "binary" in str(f.type)]
        if nested:
            raise WorkflowError(
                f"column {nested[0]!r}: JSON holds no binary inside other values", hint="declare it as json"
            )
        self._memory, self._settings = memory_bytes_max, settings
        self._session: JsonSession | None = None
        self._scratch: Scratch | None = None

    def read(self, data: bytes, *, narrow: bool = False) -> pa.Table:
        """Return all rows; raise duckdb.Error or ArrowInvalid when one is bad.

        `narrow`: also where an integer outside of lists and maps is no integer, or one that no double is sure of.
        """
        session = self._session_with(data)
        return self._fitted(session.again(self._query(len(data), narrow=narrow)))

    def answer(self, data: bytes, query: Query, *, narrow: bool = False) -> tuple[int, pa.Table]:
        """Return how many rows there are, and the answer of a query over them; raise as `read` does.

        Columns of type json are texts in it.
        """
        session = self._session_with(data)
        source = self._query(len(data), narrow=narrow, texts=True)
        return session.scanned(f"with {query.name} as ({source}), {query.sql.removeprefix('with ')}")

    def _session_with(self, data: bytes) -> JsonSession:
        if self._session is None:
            self._scratch = Scratch()
            self._session = JsonSession(self._memory, self._scratch, self._settings)
        assert self._scratch is not None
        self._scratch.put(data)
        return self._session

    def close(self) -> None:
        """Free the reader."""
        if self._session is not None:
            self._session.close()
        if self._scratch is not None:
            self._scratch.close()
        self._session = self._scratch = None

    def _query(self, size: int, *, narrow: bool, texts: bool = False) -> str:
        assert self._scratch is not None
        fields = list(zip(self.schema, self.target, strict=True))
        kinds = {c.name: "JSON" if c.type == "json" else sql_type(f.type, narrow=narrow) for c, f in fields}
        replaced = {n: f"from_base64({quoted(n)})" for n, kind in kinds.items() if kind == "BLOB"}
        kinds |= dict.fromkeys(replaced, "VARCHAR")
        if texts:
            replaced |= {n: f"{quoted(n)}::varchar" for n, kind in kinds.items() if kind == "JSON"}
        if narrow:
            replaced |= {c.name: whole for c, f in fields if (whole := _whole(quoted(c.name), f.type))}
        columns = ", ".join(f"{literal(n)}: {literal(k)}" for n, k in (kinds or {"*": "JSON"}).items())
        picked = ", ".join(f"{e} as {quoted(n)}" for n, e in replaced.items())
        longest = max(1 << size.bit_length(), _BUFFER_BYTES)  # few sizes, so that few statements are planned
        return (
            f"select {f'* replace ({picked})' if picked else '*'} from read_json({literal(self._scratch.path)}, "  # noqa: S608 - literals
            f"format='newline_delimited', columns={{{columns}}}, maximum_object_size={longest})"
        )

    def _fitted(self, rows: pa.Table) -> pa.Table:
        columns = []
        for number, field in enumerate(self.target):
            column = rows.column(number)
            if not field.nullable and column.null_count:
                raise pa.ArrowInvalid(f"column {field.name} is null")
            columns.append(column if column.type == field.type else column.cast(field.type))
        return pa.Table.from_arrays(columns, schema=self.target) if columns else rows.select([])


def _whole(value: str, kind: pa.DataType) -> str:
    """Return SQL that makes integers of what was read as doubles, and fails where they are not sure; "" without any."""
    if pa.types.is_integer(kind):
        sure = f"{value} = trunc({value}) and abs({value}) < {INTEGERS_SURE}"
        return f"case when {sure} then {value}::{sql_type(kind)} when {value} is not null then error('inexact') end"
    if not pa.types.is_struct(kind):
        return ""
    inner = {f.name: _whole(f"{value}.{quoted(f.name)}", f.type) for f in kind}
    if not any(inner.values()):
        return ""
    packed = ", ".join(f"{quoted(n)} := {e or f'{value}.{quoted(n)}'}" for n, e in inner.items())
    return f"case when {value} is not null then struct_pack({packed}) end"


__all__ = ["JsonlReader", "Query"]
