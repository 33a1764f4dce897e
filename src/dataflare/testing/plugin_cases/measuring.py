"""Measures a plugin: how fast rows pass in each of the ways, how it starts, what memory it takes, what limits cost."""

from __future__ import annotations

import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataflare.batch import Batch
from dataflare.clock import processor_seconds
from dataflare.errors import DataFlareError
from dataflare.executor.runtime import LocalRuntime
from dataflare.plugin.compiled import CompiledFiles
from dataflare.plugin.engine import WasmEngine, shared_engine
from dataflare.plugin.failures import PluginError
from dataflare.plugin.guarded import GuardedInstance
from dataflare.plugin.host import QuietHost
from dataflare.plugin.loaded_rows import COLUMNS, LINES, RowTexts
from dataflare.plugin.program import Program, Settings
from dataflare.processors.python_lines import is_plain
from dataflare.processors.wasm import WasmConfig, WasmProcessor
from dataflare.processors.wasm_changes import shown
from dataflare.processors.wasm_texts import Texts
from dataflare.testing.stage import staged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pyarrow as pa

    from dataflare.plugin.limits import Limits
    from dataflare.plugin.program import Described
    from dataflare.schema import Schema

REPEATS = 3
CALL_ROWS = 8192
INSTANCES = 16
FUEL = 1 << 60
TEXT_BYTES_MAX = 256 << 20


@dataclass(frozen=True, slots=True)
class Way:
    """One way in which rows pass: so many, of so many bytes, in so much processor time; or why it failed."""

    name: str
    rows: int = 0
    size_bytes: int = 0
    seconds: float = 0.0
    failed: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        rate = {"rows_per_second": round(self.rows / self.seconds) if self.seconds else 0}
        return {**asdict(self), "seconds": round(self.seconds, 6), **rate}


@dataclass(slots=True)
class Measured:
    """What was measured. Times are of the processor, in seconds; None where it could not be found out."""

    ways: list[Way] = field(default_factory=list)
    cold_seconds: float = 0.0
    cached_seconds: float = 0.0
    instance_seconds: float = 0.0
    instance_bytes: int | None = None
    fuel_factor: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**asdict(self), "ways": [way.as_json() for way in self.ways]}


@dataclass(frozen=True, slots=True)
class Bench:
    """What is measured: a file with its settings and limits, and rows of which none fails, with their columns."""

    file: Path
    settings: Mapping[str, Any]
    limits: Limits
    rows: Sequence[dict[str, Any]]
    table: pa.Table
    schema: Schema

    def measured(self) -> Measured:
        """Measure all; raise DataFlareError where the plugin cannot be loaded, or asks for a column that rows lack."""
        found = Measured()
        found.cold_seconds, found.cached_seconds = self._starts()
        program = Program.load(self.file, shared_engine(), str(self.file))
        with program.engine.ticking():
            told = program.described(Settings(self.settings), QuietHost(), self.limits)
        seen = self.schema.select(shown(self.schema.names, told.input))
        found.ways = [self._one_by_one(program, told), self._lines(program, told)]
        if (told.format == COLUMNS or program.packs) and all(map(is_plain, seen)):
            found.ways.append(self._columns(program, told, seen))
        found.ways.append(self._whole(told))
        found.instance_seconds, found.instance_bytes = self._instances(program, told)
        found.fuel_factor = self._fuel(told, seen, found.ways[-1 if told.buffers else -2])
        return found

    # ---- ways ---------------------------------------------------------------------------------------------------

    def _one_by_one(self, program: Program, told: Described) -> Way:
        texts = RowTexts(scripts=program.code is not None)
        given = [texts.one(row) for row in _asked(self.rows, told)]

        def pass_rows(instance: GuardedInstance) -> None:
            for text in given:
                instance.call("process", text)

        return self._timed("one record a call", program, told, pass_rows, sum(map(len, given)))

    def _lines(self, program: Program, told: Described, limits: Limits | None = None) -> Way:
        texts = RowTexts(scripts=program.code is not None)
        rows = _asked(self.rows, told)
        parts = [rows[at : at + CALL_ROWS] for at in range(0, len(rows), CALL_ROWS)]
        given = [(LINES, len(part), texts.batch(part, LINES)) for part in parts]

        def pass_rows(instance: GuardedInstance) -> None:
            for one in given:
                instance.call("process-batch", one)

        return self._timed("JSON lines", program, told, pass_rows, sum(len(text) for _, _, text in given), limits)

    def _columns(self, program: Program, told: Described, schema: Schema, limits: Limits | None = None) -> Way:
        """Let columns pass as the processor writes them: numbers as their bytes, where the runtime reads them so."""
        scripts, packs = program.code is not None, program.packs
        texts = Texts(schema, TEXT_BYTES_MAX, scripts=scripts, packs=packs, rounds=program.rounds)
        try:
            table = self.table.select(schema.names)
            parts = [table.slice(at, CALL_ROWS) for at in range(0, table.num_rows, CALL_ROWS)]
            given = [(COLUMNS, part.num_rows, texts.written(part, COLUMNS)) for part in parts]
        finally:
            texts.close()

        def pass_rows(instance: GuardedInstance) -> None:
            for one in given:
                instance.call("process-batch", one)

        return self._timed("JSON columns", program, told, pass_rows, sum(len(text) for _, _, text in given), limits)

    def _timed(
        self, name: str, program: Program, told: Described, pass_rows: Callable[[GuardedInstance], None],
        size_bytes: int, limits: Limits | None = None,
    ) -> Way:  # fmt: skip
        settings = Settings(self.settings, packed=program.packs)
        instance = GuardedInstance(program, settings, _MutedHost(), limits or self.limits)
        try:
            instance.open(stateful=told.stateful)
            seconds = min(_taken(lambda: pass_rows(instance)) for _ in range(REPEATS))
        except (PluginError, DataFlareError) as error:
            return Way(name, failed=str(error))
        finally:
            instance.close()
        return Way(name, len(self.rows), size_bytes, seconds)

    def _whole(self, told: Described, *, fuel: int | None = None) -> Way:
        """Let the rows pass as in a workflow, from Arrow to Arrow."""
        name = "in a workflow, as buffers" if told.buffers else "in a workflow"
        node = staged(WasmProcessor(self._config(fuel)), self.file.parent, schemas={"0": self.schema}, on_error="fail")
        try:
            node.open()
            batches = [self.table.slice(at, CALL_ROWS) for at in range(0, self.table.num_rows, CALL_ROWS)]

            def pass_rows() -> None:
                for rows in batches:
                    for _ in node.process(Batch(rows)):
                        pass

            seconds = min(_taken(pass_rows) for _ in range(REPEATS))
        except DataFlareError as error:
            return Way(name, failed=str(error))
        finally:
            node.close()
            runtime = node.context.runtime
            if isinstance(runtime, LocalRuntime):
                runtime.close()
        return Way(name, self.table.num_rows, self.table.nbytes, seconds)

    def _config(self, fuel: int | None) -> WasmConfig:
        memory, seconds = self.limits.memory_bytes_max, self.limits.seconds_max
        settings = dict(self.settings)
        return WasmConfig(module=self.file.name, settings=settings, memory=memory, timeout=seconds, fuel=fuel)

    # ---- beside the rows ----------------------------------------------------------------------------------------

    def _starts(self) -> tuple[float, float]:
        """Return how long it takes to compile it, and to take what was compiled from disk."""
        with tempfile.TemporaryDirectory(prefix="dataflare-bench-") as folder:

            def load() -> None:
                Program.load(self.file, WasmEngine(fuel=False, files=CompiledFiles(Path(folder))), str(self.file))

            return _taken(load), _taken(load)

    def _instances(self, program: Program, told: Described) -> tuple[float, int | None]:
        """Return how long an instance takes to start, and how much memory it has once it was used."""
        host, settings = _MutedHost(), Settings(self.settings)
        made = [GuardedInstance(program, settings, host, self.limits) for _ in range(INSTANCES)]
        rows = _asked(self.rows[:1], told)
        form = COLUMNS if told.format == COLUMNS else LINES
        batch = (form, 1, RowTexts(scripts=program.code is not None).batch(rows, form))

        def start() -> None:
            for one in made:
                one.open(stateful=told.stateful)

        before = _resident()
        try:
            seconds = _taken(start) / INSTANCES
            for one in made:
                with suppress(PluginError, DataFlareError):
                    one.call("process-batch", batch)
            after = _resident()
        finally:
            for one in made:
                one.close()
        return seconds, max(0, after - before) // INSTANCES if after is not None and before is not None else None

    def _fuel(self, told: Described, seen: Schema, plain: Way) -> float | None:
        """Return how many times as long rows take where instructions are counted."""
        if plain.failed or not plain.seconds:
            return None
        if told.buffers:
            counted = self._whole(told, fuel=FUEL)
        else:
            program = Program.load(self.file, shared_engine(fuel=True), str(self.file))
            limits = replace(self.limits, fuel_max=FUEL)
            if plain.name == "JSON columns":
                counted = self._columns(program, told, seen, limits)
            else:
                counted = self._lines(program, told, limits)
        return None if counted.failed else counted.seconds / plain.seconds


class _MutedHost(QuietHost):
    """Hears nothing, so that a plugin that talks is measured and not what listens."""

    def log(self, level: str, message: str) -> None:
        pass


def _asked(rows: Sequence[dict[str, Any]], told: Described) -> list[dict[str, Any]]:
    """Return rows with the columns that a plugin asks for."""
    return list(rows) if told.input is None else [{name: row.get(name) for name in told.input} for row in rows]


def _taken(work: Callable[[], None]) -> float:
    start = processor_seconds()
    work()
    return processor_seconds() - start


def _resident() -> int | None:
    """Return how much memory of the machine this process has, where the system tells."""
    if sys.platform != "linux":
        return None
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


def repeated(rows: Sequence[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    """Yield so many rows, the same again and again."""
    for number in range(count):
        yield rows[number % len(rows)]


__all__ = ["Bench", "Measured", "Way", "repeated"]
