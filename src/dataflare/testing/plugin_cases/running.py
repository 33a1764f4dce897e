"""Runs one test of a plugin: its rows go through the processor of workflows, in the sandbox."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import ValidationError

from dataflare.batch import Batch
from dataflare.errors import DataFlareError, Place, WorkflowError
from dataflare.executor.runtime import LocalRuntime
from dataflare.formats.jsonl.encode import JsonTexts
from dataflare.monitoring.events import Noticed
from dataflare.plugin.settings_schema import misfits
from dataflare.processors.wasm import WasmConfig, WasmProcessor
from dataflare.testing.plugin_cases.cases import NODE, SETTINGS
from dataflare.testing.stage import staged

if TYPE_CHECKING:
    from pathlib import Path

    from dataflare.clock import Clock
    from dataflare.plugin.manifest import Manifest
    from dataflare.schema import Schema
    from dataflare.testing.plugin_cases.cases import Case, Row

BATCH_ROWS = 8192
EPOCH_MICROSECONDS = 1_767_225_600_000_000
"""What `now` answers in tests: the beginning of 2026."""


@dataclass(slots=True)
class Ran:
    """What came of the rows of a test: by output the columns, and the rows as the values of JSON.

    `errors` are those of rows that failed, with the reason. `failed` is why the plugin could not go on. `said` is what
    it logged. `guest_seconds` of `seconds` were spent in the plugin itself.
    """

    schemas: dict[str, Schema] = field(default_factory=dict)
    rows: dict[str, list[Row]] = field(default_factory=dict)
    errors: list[Row] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    failed: DataFlareError | None = None
    rows_in: int = 0
    seconds: float = 0.0
    guest_seconds: float = 0.0

    @property
    def rows_out(self) -> int:
        """How many rows came out, of all outputs."""
        return sum(map(len, self.rows.values()))


def run_case(folder: Path, manifest: Manifest, case: Case, clock: Clock) -> Ran:
    """Run a test; raise DataFlareError where the plugin cannot be loaded or refuses its settings."""
    if wrong := list(misfits(manifest.settings, dict(case.settings))):
        what, hint = "; ".join(wrong), "they do not fit what [settings] of plugin.toml says"
        raise WorkflowError(what, hint=hint, place=Place(str(case.folder / SETTINGS)))
    limits: dict[str, Any] = {}
    if manifest.memory_bytes_max is not None:
        limits["memory"] = manifest.memory_bytes_max
    if manifest.seconds_max is not None:
        limits["timeout"] = manifest.seconds_max
    events: list[Any] = []
    node = staged(
        WasmProcessor(_config(case, {**limits, **case.node, "module": manifest.entry, "settings": case.settings})),
        folder,
        events,
        schemas={"0": case.schema},
        on_error="dead_letter",
        epoch_time=lambda: EPOCH_MICROSECONDS,
    )
    ran = Ran(rows_in=case.rows.num_rows)
    try:
        node.open()
        ran.schemas = {n: s for n, s in node.outputs([case.schema]).items() if n != "errors"}
        _process(node, case.rows, ran, clock)
    finally:
        node.close()
        runtime = node.context.runtime
        if isinstance(runtime, LocalRuntime):
            runtime.close()
    ran.said = [e.message for e in events if isinstance(e, Noticed)]
    return ran


def _config(case: Case, settings: dict[str, Any]) -> WasmConfig:
    try:
        return WasmConfig(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        what = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise WorkflowError(what, hint="see: dataflare describe wasm", place=Place(str(case.folder / NODE))) from None


def _process(node: WasmProcessor, rows: pa.Table, ran: Ran, clock: Clock) -> None:
    found: dict[str, list[pa.Table]] = {name: [] for name in ran.schemas}
    start = clock.monotonic()
    try:
        for at in range(0, rows.num_rows, BATCH_ROWS):
            for batch in node.process(Batch(rows.slice(at, BATCH_ROWS), position={"row": at})):
                found.setdefault(batch.stream, []).append(batch.rows)
    except DataFlareError as error:
        ran.failed = error
    ran.seconds, ran.guest_seconds = clock.monotonic() - start, node.guest_seconds
    for name, schema in ran.schemas.items():
        arrow = schema.to_arrow()
        ran.rows[name] = as_json(pa.concat_tables([arrow.empty_table(), *found[name]]), schema)
    for table in found.get("errors", ()):
        for row in table.to_pylist():
            ran.errors.append({"error": row["error"], "row": json.loads(row["row"])})


def as_json(rows: pa.Table, schema: Schema) -> list[Row]:
    """Return rows as the values of JSON that files of JSON lines have for them."""
    texts = JsonTexts()
    try:
        lines = texts.lines(rows, [c.name for c in schema if c.type == "json"])
        return [json.loads(line) for line in lines.to_pylist()]
    finally:
        texts.close()


__all__ = ["Ran", "as_json", "run_case"]
