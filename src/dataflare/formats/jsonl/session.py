"""A small DuckDB of one decoder or encoder: in memory, one thread, no file but the one that it is handed."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from dataflare.component.slot import Slot

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

_SIMPLE = {
    "bool": "BOOLEAN",
    "int8": "TINYINT",
    "int16": "SMALLINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "uint8": "UTINYINT",
    "uint16": "USMALLINT",
    "uint32": "UINTEGER",
    "uint64": "UBIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "string": "VARCHAR",
    "binary": "BLOB",
    "date32[day]": "DATE",
    "time64[us]": "TIME",
    "timestamp[us, tz=UTC]": "TIMESTAMPTZ",
    "timestamp[us]": "TIMESTAMP",
    "month_day_nano_interval": "INTERVAL",
    "null": "JSON",
}


STATEMENTS_MAX = 8
_ROWS_PER_ARROW_BATCH = 1 << 20


class Scratch:
    """Bytes that DuckDB can read as a file: in memory where the system can do that, else a temporary file.

    Pages are kept and written over, so that a block of 8 MiB costs a copy and no allocation.
    """

    def __init__(self) -> None:
        """Reserve the file."""
        self._file = None
        if hasattr(os, "memfd_create"):
            self._descriptor = os.memfd_create("dataflare")
            self.path = f"/proc/self/fd/{self._descriptor}"
        else:
            self._file = tempfile.NamedTemporaryFile(prefix="dataflare-")  # noqa: SIM115 - closed by close
            self._descriptor, self.path = self._file.fileno(), self._file.name

    def put(self, data: bytes) -> None:
        """Make these bytes the content."""
        view, done = memoryview(data), 0
        while done < len(data):
            done += os.pwrite(self._descriptor, view[done:], done)
        os.ftruncate(self._descriptor, len(data))

    def close(self) -> None:
        """Let go of the bytes."""
        if self._file is not None:
            self._file.close()
        else:
            os.close(self._descriptor)


class JsonSession:
    """Runs statements over one Arrow table (`rows`) or one scratch file."""

    def __init__(self, memory_bytes_max: int, scratch: Scratch | None = None, settings: Sequence[str] = ()) -> None:
        """Open, run the statements of `settings`, and lock down."""
        import duckdb

        options: dict[str, Any] = {
            "threads": 1,
            "async_threads": 0,
            "python_enable_replacements": "false",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "temp_directory": "",
            "memory_limit": f"{max(memory_bytes_max, 64 << 20) >> 10}KiB",
        }
        self._connection = duckdb.connect(config=options)
        self._statements: dict[tuple[str, pa.Schema | None], _Planned] = {}
        self._connection.execute("set timezone = 'UTC'")
        self._connection.execute("set enable_external_file_cache = false")
        for setting in settings:
            self._connection.execute(setting)
        if scratch is not None:
            allowed = Path(scratch.path).as_posix().replace("'", "''")
            self._connection.execute(f"set allowed_paths = ['{allowed}']")
            self._connection.execute("set enable_profiling = 'no_output'")  # tells how many rows were read
        self._connection.execute("set enable_external_access = false")
        self._connection.execute("set lock_configuration = true")

    def again(self, sql: str) -> pa.Table:
        """Return the answer of a statement that is asked many times: it is planned once; raise duckdb.Error."""
        return self._planned(sql, None).run(None)

    def query(self, sql: str, rows: pa.Table) -> pa.Table:
        """Return the answer of a statement over `rows`, planned once for those of one schema; raise duckdb.Error."""
        return self._planned(sql, rows.schema).run(rows)

    def scanned(self, sql: str) -> tuple[int, pa.Table]:
        """Return how many rows a statement read out of the scratch file, and its answer; raise duckdb.Error."""
        planned = self._planned(sql, None)
        rows = planned.run(None)
        told = json.loads(planned.cursor.get_profiling_information())
        return _rows_scanned(told["operator"]), rows

    def _planned(self, sql: str, schema: pa.Schema | None) -> _Planned:
        """Return the statement; the few that were asked last stay planned, which saves each 1 to 4 ms."""
        found = self._statements.get((sql, schema))
        if found is None:
            if len(self._statements) >= STATEMENTS_MAX:
                self._forget()
            cursor = self._connection if schema is None else self._connection.cursor()  # which would not be profiled
            found = self._statements[sql, schema] = _Planned(cursor, f"s{len(self._statements)}", sql, schema)
        return found

    def _forget(self) -> None:
        for statement in self._statements.values():
            if statement.cursor is not self._connection:
                statement.cursor.close()
        self._statements.clear()

    def close(self) -> None:
        """Free everything."""
        self._forget()
        self._connection.close()

    def __enter__(self) -> Self:
        """Close at the end of the block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close."""
        self.close()


class _Planned:
    """A statement on a cursor, and where it finds its rows, if it reads any."""

    def __init__(self, cursor: Any, name: str, sql: str, schema: pa.Schema | None) -> None:
        self.cursor, self._name = cursor, name
        self._slot = Slot(schema) if schema is not None else None
        if self._slot is not None:
            cursor.register("rows", self._slot)
        cursor.execute(f"prepare {name} as {sql}")

    def run(self, rows: pa.Table | None) -> pa.Table:
        with self._slot.holding(rows) if self._slot is not None and rows is not None else nullcontext():
            # As in expression.session: the cursor's own Arrow output copies all rows once more.
            return self.cursor._submit(f"execute {self._name}", None, "arrow", _ROWS_PER_ARROW_BATCH).arrow_table()  # noqa: SLF001


def _rows_scanned(operators: list[dict[str, Any]]) -> int:
    return sum(o.get("rows_scanned", 0) + _rows_scanned(o.get("children", [])) for o in operators)


def quoted(name: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def sql_type(kind: pa.DataType, *, narrow: bool = False) -> str:
    """Return DuckDB's name of an Arrow type that DataFlare carries; `narrow`: integers, also in structs, as doubles."""
    if narrow and pa.types.is_integer(kind):
        return "DOUBLE"
    if pa.types.is_decimal(kind):
        return f"DECIMAL({kind.precision},{kind.scale})"
    if pa.types.is_map(kind):
        return f"MAP({sql_type(kind.key_type)}, {sql_type(kind.item_type)})"
    if pa.types.is_struct(kind):
        return f"STRUCT({', '.join(f'{quoted(f.name)} {sql_type(f.type, narrow=narrow)}' for f in kind)})"
    if pa.types.is_list(kind):
        return f"{sql_type(kind.value_type)}[]"
    return _SIMPLE[str(kind)]


__all__ = ["JsonSession", "Scratch", "literal", "quoted", "sql_type"]
