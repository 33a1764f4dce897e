"""A plugin beside any workflow: loaded once, called with rows of Python, by any thread."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from dataflare.clock import SystemClock
from dataflare.errors import DataError, ExternalError, Place, UnavailableError
from dataflare.plugin.failures import BadRecordError, PluginError, TransientError, TrappedError, placed
from dataflare.plugin.grants import NO_GRANTS, Grants
from dataflare.plugin.host import QuietHost
from dataflare.plugin.loaded_rows import COLUMNS, LINES, Passing, Row, RowTexts, lines_of, records_of, table_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    import pyarrow as pa

    from dataflare.batch import Encoded
    from dataflare.plugin.guarded import GuardedInstance
    from dataflare.plugin.limits import Limits
    from dataflare.plugin.program import Program, Settings

    Say = Callable[[str, str], object]
    """Takes the level and the words of what a plugin logs; called in the thread of the call."""

ROWS_MAX, BYTES_MAX = 8192, 4 << 20
"""Of one call into the plugin."""
SAMPLE = 16


@dataclass(frozen=True, slots=True)
class Routed:
    """A record and the output that it goes to; "" is the default one."""

    output: str
    record: Row


@dataclass(slots=True)
class ProcessedRows:
    """What came of rows: those of the default output, those of named outputs, and why some failed.

    Lists of records, tables where a table was given, JSON lines where those were. `rejected` has the numbers of rows
    that failed, from 0.
    """

    rows: Any
    outputs: dict[str, Any] = field(default_factory=dict)
    rejected: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Use:
    """How a plugin is used: by at most so many threads at once, the others wait so long; who hears what it logs.

    `columns` are what it is given, in place of what it says. `keyed`: it may keep state by key. `grants` are checked.
    """

    instances_max: int = 4
    wait_seconds: float = 30.0
    say: Say | None = None
    columns: tuple[str, ...] | None = None
    keyed: bool = False
    grants: Grants = NO_GRANTS


class LoadedPlugin:
    """A plugin that is ready. Any thread may call it; an instance works for one at a time. Close it.

    A plugin with state has one instance: its calls come one after the other.
    """

    def __init__(self, program: Program, settings: Settings, limits: Limits, use: Use) -> None:
        """Ask the plugin what it is; raise WorkflowError, with the place, where it refuses its settings."""
        from dataflare.plugin.pool import InstancePool

        self._program, self._settings, self._limits, self._use = program, settings, limits, use
        self.file = program.file
        with program.engine.ticking():
            self.told = program.described(settings, _LoadedHost(use.say, stateful=True), limits, use.grants)
        self._scripts = program.code is not None
        self._texts = RowTexts(scripts=self._scripts, rounds=program.rounds)
        self._form = COLUMNS if self.told.format == COLUMNS else LINES
        self._passing = Passing(self.told, use.columns, own_output=settings.output is not None)
        stateful = self.told.stateful or use.keyed
        instances = 1 if stateful else use.instances_max
        self._pool = InstancePool(self._opened, self.file, instances_max=instances, replaceable=not stateful)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Let the instances go; those that are at work when their calls end."""
        self._pool.close()

    # ---- calling ------------------------------------------------------------------------------------------------

    def process(self, record: Row) -> Row | list[Row] | list[Routed] | None:
        """Return what comes of a record: a record, None where it is filtered out, several, or several with outputs.

        Raises DataError where the plugin refuses the record, fails or is stopped, ExternalError where it asks to be
        called again, UnavailableError where no instance gets free.
        """
        if self._form == COLUMNS:
            return self._by_columns(record)
        shown = self._passing.shown(record)
        why = self._texts.inexact(shown)
        if why:
            raise self._refused(why)
        text = self._texts.one(shown)
        try:
            with self._pool.borrowed(self._use.wait_seconds) as instance:
                case, found = instance.call("process", text)
        except PluginError as error:
            raise self._failed(error) from None
        if case == "drop":
            return None
        read, whole = self._texts.read_one, self._passing.whole
        if case == "keep":
            return whole(record, read(found), "")
        if case == "many":
            return [whole(record, read(one), "") for one in found]
        return [Routed(name, whole(record, read(one), name)) for name, one in found]

    def process_rows(
        self, rows: Iterable[Row] | pa.Table, *, on_error: Literal["fail", "skip"] = "fail"
    ) -> ProcessedRows:
        """Return what comes of records or of a table, which is quicker than one by one.

        `on_error` says what becomes of a row on which the plugin fails: `fail` raises DataError, `skip` tells it in
        `rejected`. Tables get the columns that the plugin says, else those that it is given.
        """
        table: Any = rows if hasattr(rows, "to_pylist") else None
        run = _Run(list(rows) if table is None else table.to_pylist(), first_only=on_error == "fail")
        self._process(run)
        if table is not None:
            run.rows = self._tables(run, table.schema)
        if run.first_only and run.rejected:
            number, why = next(iter(sorted(run.rejected.items())))
            raise self._refused(why, f" (row {number})")
        others = {name: found for name, found in run.rows.items() if name}
        return ProcessedRows(run.rows[""], others, dict(sorted(run.rejected.items())))

    def process_lines(self, rows: Encoded, *, on_error: Literal["fail", "skip"] = "fail") -> ProcessedRows:
        """Return what comes of JSON lines, as JSON lines, without a table in between; `rejected` is by line.

        Neither needs pyarrow, which a small device may not have. Raises as `process_rows` does; a line that is no
        record is the fault of that line.
        """
        records, numbers, bad = records_of(rows)
        run = _Run(records, first_only=on_error == "fail")
        if not (run.first_only and bad):
            self._process(run)
        rejected = dict(sorted((bad | {numbers[n]: why for n, why in run.rejected.items()}).items()))
        if run.first_only and rejected:
            number, why = next(iter(rejected.items()))
            raise self._refused(why, f" (line {number + 1})")
        found = {name: lines_of(made) for name, made in run.rows.items()}
        return ProcessedRows(found.pop(""), found, rejected)

    def _by_columns(self, record: Row) -> Row | list[Row] | list[Routed] | None:
        """Let a plugin that takes columns have one row, as in a batch."""
        run = _Run([record], first_only=True)
        self._process(run)
        if run.rejected:
            raise self._refused(run.rejected[0])
        if len(run.rows) > 1:
            return [Routed(name, row) for name, rows in run.rows.items() for row in rows]
        rows: list[Row] = run.rows[""]
        return rows if len(rows) > 1 else rows[0] if rows else None

    # ---- rows ---------------------------------------------------------------------------------------------------

    def _process(self, run: _Run) -> None:
        """Call the plugin with all rows; where it is stopped, with halves of them, down to the one to blame."""
        count, portion = len(run.given), self._portion(run.given)
        todo = [(at, min(at + portion, count)) for at in range(0, count, portion)][::-1]
        while todo and not (run.first_only and run.rejected):
            start, stop = todo.pop()
            try:
                self._call(run, start, stop)
            except TrappedError as error:
                if stop - start == 1:
                    run.rejected[start] = f"stopped: {error.what}"
                else:
                    middle = (start + stop) // 2
                    todo += [(middle, stop), (start, middle)]
        run.leave_out()

    def _portion(self, rows: Sequence[Row]) -> int:
        """Return how many rows go into a call: some of them tell how long the others are."""
        sample = rows[:: max(1, len(rows) // SAMPLE)][: 2 * SAMPLE]
        numbers, text, _ = self._texts.fitting({n: self._passing.shown(r) for n, r in enumerate(sample)}, LINES)
        return max(1, min(ROWS_MAX, BYTES_MAX * max(1, len(numbers)) // max(1, len(text))))

    def _call(self, run: _Run, start: int, stop: int) -> None:
        shown = {n: self._passing.shown(run.given[n]) for n in range(start, stop)}
        numbers, text, unfit = self._texts.fitting(shown, self._form)
        try:
            with self._pool.borrowed(self._use.wait_seconds) as instance:
                parts, errors = instance.call("process-batch", (self._form, len(numbers), text))
        except TrappedError:
            raise
        except PluginError as error:
            raise self._failed(error) from None
        run.rejected |= unfit | {numbers[n]: why for n, why in errors if n < len(numbers)}
        for output, count, data, sources in parts:
            came = numbers if sources is None else [numbers[n] for n in sources if n < len(numbers)]
            if len(came) != count:
                raise DataError(
                    f"the plugin returned {count} rows for {len(numbers)}, and does not say which came of which",
                    hint="return one value for each row, or let `process` return records",
                    place=Place(self.file),
                )
            if count:
                made = self._texts.read_batch(data, self._form, count)
                rows = [self._passing.whole(run.given[n], row, output) for n, row in zip(came, made, strict=True)]
                run.put(output, rows, came)

    def _tables(self, run: _Run, given: pa.Schema) -> dict[str, Any]:
        schemas = {name: self._passing.schema(given, name) for name in run.rows}
        tables, rejected = {}, len(run.rejected)
        for name, schema in schemas.items():
            tables[name], unfit = table_of(run.rows[name], schema)
            run.rejected |= {run.sources[name][n]: why for n, why in unfit.items()}
        if len(run.rejected) == rejected:
            return tables
        run.leave_out()  # what came of the same row for other outputs
        return {name: table_of(run.rows[name], schema)[0] for name, schema in schemas.items()}

    # ---- small things -------------------------------------------------------------------------------------------

    def _opened(self) -> GuardedInstance:
        from dataflare.plugin.guarded import GuardedInstance

        stateful, grants = self.told.stateful, self._use.grants
        host = _LoadedHost(self._use.say, stateful=stateful or self._use.keyed)
        return GuardedInstance(self._program, self._settings, host, self._limits, grants).open(stateful=stateful)

    def _refused(self, why: str, which: str = "") -> DataError:
        what, place = placed(why, self.file) if self._scripts else (why, Place(self.file))
        return DataError(f"{what}{which}", hint="correct the record or the plugin", place=place)

    def _failed(self, error: PluginError) -> DataError | ExternalError:
        if isinstance(error, BadRecordError):
            return self._refused(error.what)
        what, place = placed(error.what, self.file) if self._scripts else (error.what, Place(self.file))
        if isinstance(error, TransientError):
            return ExternalError(f"the plugin asks to be called again: {what}", place=place)
        if isinstance(error, TrappedError):
            return DataError(f"the plugin was stopped: {what}", hint="correct it, or raise its limits", place=place)
        return DataError(f"the plugin cannot go on: {what}", place=place)


class _Run:
    """Rows on their way: what came of them by output, and the numbers of those that they came of."""

    def __init__(self, given: Sequence[Row], *, first_only: bool) -> None:
        self.given, self.first_only = given, first_only
        self.rows: dict[str, Any] = {"": []}
        self.sources: dict[str, list[int]] = {"": []}
        self.rejected: dict[int, str] = {}

    def put(self, output: str, rows: list[Row], sources: Sequence[int]) -> None:
        self.rows.setdefault(output, []).extend(rows)
        self.sources.setdefault(output, []).extend(sources)

    def leave_out(self) -> None:
        """Leave out all that came of a row of which some does not fit."""
        for name, sources in self.sources.items() if self.rejected else ():
            kept = [at for at, number in enumerate(sources) if number not in self.rejected]
            self.rows[name] = [self.rows[name][at] for at in kept]
            self.sources[name] = [sources[at] for at in kept]


class _LoadedHost(QuietHost):
    """Passes on what the plugin says, tells the time that it is, keeps state in memory."""

    def __init__(self, say: Say | None, *, stateful: bool) -> None:
        super().__init__()
        self._say, self._stateful, self._clock = say, stateful, SystemClock()

    def log(self, level: str, message: str) -> None:
        if self._say is not None:
            self._say(level, message)

    def now(self) -> int:
        return self._clock.now()

    def set_state(self, key: str, value: str | None) -> None:
        if not self._stateful:
            raise ValueError(
                "a plugin that keeps state must say so: load it with `key`, or export exportState and importState"
            )
        super().set_state(key, value)


def require_wasmtime() -> Callable[..., Program]:
    """Return what loads a program; raise UnavailableError, with the cure, where wasmtime is missing."""
    try:
        from dataflare.plugin.engine import shared_engine
        from dataflare.plugin.program import Program
    except ImportError as error:
        raise UnavailableError("plugins need wasmtime", hint="pip install 'dataflare[wasm]'") from error

    def program_of(path: Path, shown: str = "", *, fuel: bool = False) -> Program:
        return Program.load(path, shared_engine(fuel=fuel), shown)

    return program_of


__all__ = ["LoadedPlugin", "ProcessedRows", "Routed", "Use", "require_wasmtime"]
