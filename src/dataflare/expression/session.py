"""The one place that opens DuckDB: locked-down in-memory instances, their cursors, and statements over changing rows.

An instance sees no file, no network and no Python variable, loads no extension and lets nobody change its settings.
The one exception is a folder for what its memory does not hold, such as a great many groups: DuckDB spills there. Only
this user may enter it; files are removed with their instance, and those of a process that was killed by the next one
that spills.
Instances are shared within a process, one for each memory limit; every statement has its own cursor, so a worker
thread may run it while others run theirs. One cursor serves one thread at a time.
"""

from __future__ import annotations

import os
import stat
import tempfile
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataflare.component.slot import Slot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import duckdb
    import pyarrow as pa

    from dataflare.component import Budget

INPUT = "__input"
"""The name under which statements read their rows; no expression can say it (check.py knows columns only)."""

_MEMORY_BYTES_MIN = 64 << 20
_SMALL_BYTES = 256 << 20
_ROWS_PER_ARROW_BATCH = 1 << 20
_SETTINGS: dict[str, Any] = {
    "threads": 1,
    "async_threads": 0,
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "max_temp_directory_size": "64GiB",
}
_DISABLED = ",".join(
    (
        *("filter_pushdown", "filter_pullup", "cte_filter_pusher", "reorder_filter", "type_pushdown"),
        *("scalar_fn_pushdown", "projection_pullup", "projection_placement", "unused_columns"),
    )
)
_APART = f"{_DISABLED},common_subexpressions"
FAITHFUL = (f"set disabled_optimizers = '{_DISABLED}'",)
"""What every session that evaluates expressions is told."""
# Conditions and columns are evaluated where they are written: which rows a failing cast meets must not depend on the
# plan, because a batch with a bad row is run again step by step.


class _Database:
    """One instance; closed when the last session on it is gone."""

    def __init__(self, memory_bytes_max: int, *, tries: bool = False) -> None:
        import duckdb

        limits = {"memory_limit": f"{memory_bytes_max >> 10}KiB", "temp_directory": _spill_folder()}
        self.connection = duckdb.connect(config={**_SETTINGS, **limits})
        self.connection.execute("set timezone = 'UTC'")
        for setting in FAITHFUL:
            self.connection.execute(setting)
        if tries:  # what is common to several would be evaluated before them, outside of their TRY
            self.connection.execute(f"set disabled_optimizers = '{_APART}'")
        self.connection.execute("set lock_configuration = true")


def _spill_folder() -> str:
    """Return the folder to spill to, made if need be; "", so that nothing is spilled, where others may enter it."""
    user = os.getuid()
    folder = Path(tempfile.gettempdir()) / f"dataflare-spill-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return ""
    private = stat.S_ISDIR(found.st_mode) and found.st_uid == user and not found.st_mode & 0o077
    return str(folder) if private else ""


class _Databases:
    """The open instances: one for each memory limit while it has a session, and one that stays open, for small work.

    The latter spills nothing; to open it takes 15 ms. Expressions in a TRY have one of their own.
    """

    def __init__(self) -> None:
        self._open: weakref.WeakValueDictionary[tuple[int, bool], _Database] = weakref.WeakValueDictionary()
        self._small: _Database | None = None
        self._lock = threading.Lock()

    def get(self, budget: Budget | None, *, tries: bool = False) -> tuple[_Database, Any]:
        """Return an instance and a cursor on it."""
        with self._lock:
            if budget is None:
                found = self._small = self._small or _Database(_SMALL_BYTES)
            else:
                limit = max(budget.memory_bytes_max, _MEMORY_BYTES_MIN)
                known = self._open.get((limit, tries))
                found = self._open[limit, tries] = known or _Database(limit, tries=tries)
            return found, found.connection.cursor()


_databases = _Databases()


class Session:
    """One cursor on the process's instance for this budget; cheap to make (a few microseconds once it is open)."""

    def __init__(self, budget: Budget | None, *, tries: bool = False) -> None:
        """Open a cursor, and the instance if it is the first. Its memory is shared by all sessions of that limit.

        Without a budget it is on the one for small work: types, keys, rows one by one. With `tries` every expression
        is evaluated by itself, as TRY(...) needs it.
        """
        self._database, self._cursor = _databases.get(budget, tries=tries)

    def register(self, source: Any, name: str = INPUT) -> None:
        """Let statements read an Arrow table, or anything that exports an Arrow stream, under `name`."""
        self._cursor.register(name, source)

    def execute(self, sql: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows as Python values; raise duckdb.Error."""
        result: list[tuple[Any, ...]] = self._cursor.execute(sql, parameters).fetchall()
        return result

    def fetch(self, sql: str) -> pa.Table:
        """Run a statement and return its rows as one Arrow table; raise duckdb.Error.

        The cursor's own Arrow output copies all rows once more and warns about it; the call that its relations make
        does not (a fifth of the CPU of a chain).
        """
        return self._cursor._submit(sql, None, "arrow", _ROWS_PER_ARROW_BATCH).arrow_table()  # noqa: SLF001

    def stream(self, sql: str, rows_max: int) -> Iterator[pa.Table]:
        """Run a statement and yield its rows in tables of at most `rows_max`, as they are made; raise duckdb.Error.

        One statement at a time: the next one on this session ends it.
        """
        import pyarrow as pa

        with self._cursor._submit(sql, None, "stream", rows_max).arrow_reader() as reader:  # noqa: SLF001
            while True:
                try:
                    batch = reader.read_next_batch()
                except StopIteration:
                    return
                except OSError as error:
                    raise as_engine_error(str(error)) from None
                yield pa.Table.from_batches([batch])

    def close(self) -> None:
        """Give the cursor back."""
        self._cursor.close()


class Statement:
    """A query over `INPUT`, prepared once and executed for each batch of rows of one schema."""

    def __init__(self, schema: pa.Schema, budget: Budget | None, *, tries: bool = False) -> None:
        """Reads rows of `schema`; `prepare` says the query, in which TRY(...) stands if it `tries`."""
        self._session = Session(budget, tries=tries)
        self._slot = Slot(schema)
        self._session.register(self._slot)

    def prepare(self, sql: str) -> None:
        """Plan a query, in place of an earlier one; raise duckdb.Error where it has no meaning."""
        self._session.execute(f"prepare statement as {sql}")

    def run(self, rows: pa.Table) -> pa.Table:
        """Return the query's answer for these rows, in their order; raise duckdb.Error when a value fails."""
        with self._slot.holding(rows):
            return self._session.fetch("execute statement")

    def values(self, rows: pa.Table) -> list[tuple[Any, ...]]:
        """Return the answer as Python values, where it is a row or few."""
        with self._slot.holding(rows):
            return self._session.execute("execute statement")

    def close(self) -> None:
        """Free the plan."""
        self._session.close()


def as_engine_error(text: str) -> duckdb.Error:
    """Return the engine's own error for its text, which is all that a stream of Arrow batches carries."""
    import duckdb

    kinds = {
        "Out of Memory Error": duckdb.OutOfMemoryException,
        "Conversion Error": duckdb.ConversionException,
        "Out of Range Error": duckdb.OutOfRangeException,
        "Invalid Input Error": duckdb.InvalidInputException,
    }
    return kinds.get(text.partition(":")[0], duckdb.Error)(text)


def select(columns: Iterable[str], source: str = INPUT, clauses: str = "") -> str:
    """Return a SELECT statement. Its parts are checked expressions and quoted names, never text as it came."""
    return f"select {', '.join(columns)} from {source} {clauses}".rstrip()  # noqa: S608


def quoted(name: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def folded(name: str) -> str:
    """Return a name as DuckDB compares it: ASCII letters without case, others as they are."""
    return "".join(c.lower() if c.isascii() else c for c in name)


__all__ = ["FAITHFUL", "INPUT", "Session", "Statement", "as_engine_error", "folded", "quoted", "select"]
