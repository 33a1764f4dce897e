"""W9e: what calls of plugins cost, in nanoseconds of CPU a row: `plugin_calls.py FOLDER`, the last line is JSON.

FOLDER has the plugins that were built. Names of figures: `call.NAME` is the call alone, with what crosses made before;
`node.WAY.N` a node `wasm` with N columns of numbers there and back, the making and reading of what crosses included.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from wasmtime import Config, Engine

from dataflare.batch import Batch
from dataflare.component import StageContext
from dataflare.executor.runtime import LocalRuntime
from dataflare.plugin.compiled import CompiledFiles, usual_folder
from dataflare.plugin.engine import WasmEngine, shared_engine
from dataflare.plugin.host import QuietHost
from dataflare.plugin.limits import Limits
from dataflare.plugin.program import Program, Settings
from dataflare.processors.wasm import WasmConfig, WasmProcessor
from dataflare.processors.wasm_texts import COLUMNS, LINES, Texts
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS, NODE_ROWS, TIMES = 10_000, 65_536, 15
WIDTHS = (1, 2, 4, 8)
RECORD: dict[str, Any] = {
    "nr": 123456,
    "amount": 10.5,
    "name": "ann lee",
    "city": "Berlin",
    "ts": "2026-11-24T06:00:00Z",
}
PROCESS = "export const process = ({ amount }) => ({ total: amount * 1.2 });"
PROCESS_TWO = "export const process = ({ amount, city }) => ({ total: amount * 1.2, city });"
LISTS = "export const processColumns = ({ amount }) => ({ total: amount.map((one) => one * 1.2) });"
LISTS_TWO = "export const processColumns = ({ amount, city }) => ({ total: amount.map((one) => one * 1.2), city });"
ONE = 'export const input = ["amount"], output = { total: "float64" };'
TWO = 'export const input = ["amount", "city"], output = { total: "float64", city: "string" };'
WHOLE = "export const process = (record) => ({ ...record, amount: record.amount * 1.2 });"
LIMITS = Limits(seconds_max=60.0)


def best(work: Callable[[], Any], rows: int, times: int = TIMES) -> float:
    """Return the least CPU time of some calls, in nanoseconds a row."""
    found = []
    for _ in range(times):
        before = time.process_time_ns()
        work()
        found.append(time.process_time_ns() - before)
    return min(found) / rows


class Calls:
    """Calls of instances, without a node around them."""

    def __init__(self, folder: Path) -> None:
        """`folder` has the plugins."""
        self._folder = folder
        amounts = pa.array([n / 4 for n in range(ROWS)])
        table = pa.table({"amount": amounts, "city": ["Berlin"] * ROWS})
        given = Schema.of({"nr": "int64", "amount": "float64", "name": "string", "city": "string", "ts": "string"})
        texts = Texts(given, 64 << 20, scripts=True, packs=True)
        whole = pa.table({name: [value] * ROWS for name, value in RECORD.items()})
        self._whole = texts.written(whole, COLUMNS)
        self._one, self._two = texts.written(table.select(["amount"]), COLUMNS), texts.written(table, COLUMNS)
        texts.close()
        self._lines = "\n".join([json.dumps(RECORD, separators=(",", ":"))] * ROWS)
        self._buffers = [(memoryview(b""), memoryview(b""), memoryview(amounts.buffers()[1]).cast("B"))]

    def figures(self) -> dict[str, float]:
        """Return what each call costs."""
        engine = shared_engine()
        codes = {
            "javascript.process.1": (ONE + PROCESS, self._one),
            "javascript.process.2": (TWO + PROCESS_TWO, self._two),
            "javascript.processColumns.1": (ONE + LISTS, self._one),
            "javascript.processColumns.2": (TWO + LISTS_TWO, self._two),
            "javascript.whole": (WHOLE, self._whole),
            "javascript.lines": (WHOLE, None),
        }
        found = {f"call.{name}": self._script(engine, code, data) for name, (code, data) in codes.items()}
        for name in ("copy.c", "lines.c", "lines.rs"):
            found |= self._module(engine, name)
        found |= self._columns(engine)
        bare = Config()
        bare.wasm_component_model = True
        unbounded, counting = (WasmEngine(fuel=fuel, files=CompiledFiles(usual_folder())) for fuel in (False, True))
        unbounded.engine, unbounded.files = Engine(bare), CompiledFiles(self._folder / "unbounded")
        for name, other, limits in (
            ("unbounded", unbounded, LIMITS),
            ("fuel", counting, replace(LIMITS, fuel_max=10**12)),
        ):
            found[f"call.{name}.javascript.whole"] = self._script(other, WHOLE, self._whole, limits)
            found |= {f"call.{name}.{k[5:]}": v for k, v in self._module(other, "lines.c", limits).items()}
        return found | self._ready()

    def _script(self, engine: WasmEngine, code: str, data: str | None, limits: Limits = LIMITS) -> float:
        path = self._folder / "script.js"
        path.write_text(code)
        with engine.ticking():
            program = Program.load(path, engine, path.name)
            instance = program.opened(Settings(packed=True), QuietHost(), limits)
            given = (LINES, ROWS, self._lines) if data is None else (COLUMNS, ROWS, data)
            return best(lambda: instance.call("process-batch", given), ROWS)

    def _module(self, engine: WasmEngine, name: str, limits: Limits = LIMITS) -> dict[str, float]:
        path = self._folder / f"{name}.wasm"
        if not path.exists():
            return {}
        with engine.ticking():
            instance = Program.load(path, engine, name).opened(Settings(), QuietHost(), limits)
            given = (LINES, ROWS, self._lines)
            return {f"call.{name}": best(lambda: instance.call("process-batch", given), ROWS)}

    def _columns(self, engine: WasmEngine) -> dict[str, float]:
        path = self._folder / "column.c.wasm"
        if not path.exists():
            return {}
        with engine.ticking():
            settings = Settings(columns=(("amount", "double"),))
            instance = Program.load(path, engine, "column.c").opened(settings, QuietHost(), LIMITS)
            return {"call.column.c": best(lambda: instance.call("process-buffers", ROWS, self._buffers), ROWS)}

    def _ready(self) -> dict[str, float]:
        """Return milliseconds from a file to an opened plugin that was compiled before, in a process that has begun."""
        path, found = self._folder / "script.js", []
        path.write_text(ONE + PROCESS)
        for _ in range(TIMES):
            before = time.perf_counter_ns()
            engine = WasmEngine(fuel=False, files=CompiledFiles(usual_folder()))
            with engine.ticking():
                Program.load(path, engine, path.name).opened(Settings(), QuietHost(), LIMITS)
            found.append(time.perf_counter_ns() - before)
        return {"ready.javascript.ms": sorted(found)[len(found) // 2] / 1e6}


def nodes(folder: Path) -> dict[str, float]:
    """Return what a node costs with more and more columns, by ways."""
    found: dict[str, float] = {}
    for width in WIDTHS:
        names = [f"c{n}" for n in range(width)]
        lists = ", ".join(names)
        ways = {
            "process": f"export const input = {json.dumps(names)}; export const process = (row) => row;",
            "processColumns": f"export const input = {json.dumps(names)}; export const processColumns = (all) => all;",
            "lines": f"export const process = ({{ {lists} }}) => ({{ {lists} }});",
        }
        (folder / "node.js").write_text("")
        for way, code in ways.items():
            (folder / "node.js").write_text(code)
            found[f"node.{way}.{width}"] = node(folder / "node.js", names)
        if (folder / "identity.c.wasm").exists():
            found[f"node.buffers.{width}"] = node(folder / "identity.c.wasm", names)
    return found


def node(module: Path, names: list[str]) -> float:
    """Return nanoseconds a row of a node, of which the columns are numbers with two places."""
    schema = Schema.of(dict.fromkeys(names, "float64"))
    amounts = pa.array([n / 100 for n in range(NODE_ROWS)])
    rows = pa.Table.from_arrays([amounts] * len(names), schema=schema.to_arrow())
    runtime = LocalRuntime(lambda _: None)
    processor = WasmProcessor(WasmConfig(module=str(module)))
    processor.context = StageContext(
        runtime, "bench", "node", directory=module.parent, schemas={"0": schema}, on_error="fail", epoch_time=lambda: 0
    )
    processor.open()
    try:
        return best(lambda: list(processor.process(Batch(rows))), NODE_ROWS, 5)
    finally:
        processor.close()
        runtime.close()


def main(folder: Path) -> None:
    """Print the figures."""
    with suppress(FileExistsError):
        folder.mkdir(parents=True)
    print(json.dumps(Calls(folder).figures() | nodes(folder)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
