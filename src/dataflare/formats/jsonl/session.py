"""A small DuckDB of one decoder or encoder: in memory, one thread, no file but the one that it is handed."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

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


PREPARED_MAX = 8
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
        self._prepared: dict[str, str] = {}
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
        """Return the answer of a statement that is asked many times: it is planned once; raise duckdb.Error.

        The few that were asked last stay planned, which saves a block of lines 4 ms.
        """
        name = self._prepared.get(sql)
        if name is None:
            if len(self._prepared) >= PREPARED_MAX:
                self._prepared.clear()
            name = f"s{len(self._prepared)}"
            self._connection.execute(f"prepare {name} as {sql}")
            self._prepared[sql] = name
        return self._connection._submit(f"execute {name}", None, "arrow", _ROWS_PER_ARROW_BATCH).arrow_table()  # noqa: SLF001 - as in expression.session

    def scanned(self, sql: str) -> tuple[int, pa.Table]:
        """Return how many rows a statement read out of the scratch file, and its answer; raise duckdb.Error."""
        rows = self.again(sql)
        told = json.loads(self._connection.get_profiling_information())
        return _rows_scanned(told["operator"]), rows

    def query(self, sql: str, rows: pa.Table) -> pa.Table:
        """Return the answer of a statement over rows; raise duckdb.Error."""
        self._connection.register("rows", rows)
        try:
            return self._connection.sql(sql).to_arrow_table()
        finally:
            self._connection.unregister("rows")

    def close(self) -> None:
        """Free everything."""
        self._connection.close()

    def __enter__(self) -> Self:
        """Close at the end of the block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close."""
        self.close()


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
