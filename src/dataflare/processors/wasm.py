"""The `wasm` processor: a plugin in JavaScript, TypeScript or any language that makes components, in a sandbox.

Delivery stays exactly once because a plugin changes nothing outside: its state is part of the epoch, and a run that
resumes gives it back. A call that was stopped has no effect.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
from pydantic import ValidationError

from dataflare.batch import Encoded
from dataflare.changes import OP
from dataflare.component import StageContext, processor
from dataflare.component.processor import SEGMENTED
from dataflare.errors import DataError, Place, StateError, WorkflowError
from dataflare.expression.fit import fit
from dataflare.monitoring.events import RowsRejected
from dataflare.plan_words import EdgeKind
from dataflare.processors.python_rejects import Telling
from dataflare.processors.wasm_breaker import Breaker
from dataflare.processors.wasm_buffers import BUFFERS, Arrays
from dataflare.processors.wasm_calls import Calls, Returned
from dataflare.processors.wasm_changes import ChangedRows
from dataflare.processors.wasm_host import WorkflowHost
from dataflare.processors.wasm_lines import TRIALS, PlainLines
from dataflare.processors.wasm_modules import permitted_grants, resolve_module
from dataflare.processors.wasm_planned import PlannedPlugin, WasmConfig, typed
from dataflare.processors.wasm_state import KeyedState, check_restored
from dataflare.processors.wasm_texts import Texts, decimals_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from dataflare.batch import Batch
    from dataflare.plugin.guarded import GuardedInstance
    from dataflare.plugin.loaded import LoadedPlugin, Say
    from dataflare.schema import Schema


@processor(
    "wasm",
    accepts=(EdgeKind.APPEND, EdgeKind.UPSERT),
    counts=("filtered", "dead", "expanded"),
    examples=[{"module": "rules.js"}, {"module": "rules.ts", "settings": {"rate": 1.2}, "timeout": "1s"}],
)
class WasmProcessor(PlannedPlugin):
    """Calls a plugin, which runs in WebAssembly: no network, no files but granted ones, bounded time and memory.

    A file in JavaScript or TypeScript exports `process(record)`, which returns a record, null (the row is filtered), or
    several; or `processColumns(columns)`. It may say by `input` which columns it is given, by `output` which come out,
    and by `adds` which come beside those that came in. The plugin must be deterministic: rows come again on a resume.

    State is by key (`key`), where the rows of the key are, or of its own (`exportState`), and then all rows come to one
    task. Both are part of the checkpoint.

    Of changes it is given the rows after them, and what carries changes (`_op` ...) passes it by. A delete is not shown
    to it, and keeps its key. An update that it drops goes on as a delete; the key may not be changed.

    A row on which it throws, or whose result does not fit, is handled by `on_error`: fail, skip or dead_letter. So is
    a row that makes it exceed its time or stops it otherwise: it is found by halving the batch. The output `errors` has
    the columns `error`, `node` and `row`.
    """

    tells_tags = True
    _instance: GuardedInstance | None = None
    _keyed: KeyedState | None = None
    _changes: ChangedRows | None = None
    _texts: Texts | None = None
    _lines: PlainLines | None = None

    @classmethod
    def load(
        cls,
        path: str | Path,
        settings: Mapping[str, Any] | None = None,
        *,
        instances: int = 4,
        wait_seconds: float = 30.0,
        log: Say | None = None,
        **config: Any,
    ) -> LoadedPlugin:
        """Return a plugin for a program of one's own: `load("rules.js").process(record)`. Close it.

        `path` is what `module` is in a workflow: a file, a package, or the name of an installed plugin.

        So many threads may call it at once; the others wait so long. `log` hears the level and the words of what the
        plugin logs, in the thread of the call. `config` is what a workflow would set: `timeout="1s"`, `memory="64MB"`.

        Raises WorkflowError where the plugin or its settings are wrong, UnavailableError where the file or wasmtime is
        missing.
        """
        from dataflare.plugin.loaded import LoadedPlugin, Use, require_wasmtime

        require_wasmtime()
        try:
            made = cls(WasmConfig(module=str(path), settings=dict(settings or {}), **config))
        except ValidationError as error:
            first = error.errors()[0]
            what = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            raise WorkflowError(what, hint="see: dataflare describe wasm", place=Place(str(path))) from None
        made.context = StageContext(
            cast("Any", None), "", ""
        )  # paths are those of the process; nothing is told to a run
        made._resolved = resolve_module(made.config, made.context)
        grants = permitted_grants(made.grants(), made._resolved)
        use = Use(max(1, instances), wait_seconds, log, made.config.columns, bool(made.config.key), grants)
        return LoadedPlugin(made._resolved.program, made._settings(), made._limits(), use)

    @property
    def guest_seconds(self) -> float:
        """How long the calls into the plugin have taken since it was opened."""
        return self._instance.seconds if self._instance is not None else 0.0

    # ---- running ------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Start the plugin."""
        from dataflare.plugin.guarded import GuardedInstance

        self.look()
        assert self._told is not None
        assert self._program is not None
        given = self.context.schemas["0"]
        self._given = given.to_arrow()
        self._planned_outputs = {n: s for n, s in self.outputs([given]).items() if n != "errors"}
        self._sent = self._seen(given)
        crossing = self._crossing(given)
        self._telling = Telling(self.context.node, given, self._sent)
        returned = {n: self._returned(given, n) for n in self._planned_outputs}
        form = self._form([*crossing, *(c for s in returned.values() for c in s)])
        memory = self._memory = self.context.budget.memory_bytes_max
        scripts, packs, self._rounds = self._program.code is not None, self._program.packs, self._program.rounds
        self._texts = Texts(crossing, memory, scripts=scripts, packs=packs, rounds=self._rounds)
        if self.config.key:
            self._keyed = KeyedState(given.select(self.config.key), self.config.memory, self._texts, self.context)
        stateful = self._told.stateful
        self._host = WorkflowHost(self.context, hides=self._telling.hides, stateful=stateful, keyed=self._keyed)
        columns = typed(given.select(self._sent)) if form == BUFFERS else None
        settings = replace(self._settings(), columns=columns, packed=packs, decimals=decimals_of(crossing))
        self._instance = GuardedInstance(self._program, settings, self._host, self._limits(), self.grants())
        self._instance.open(stateful=stateful)
        adding = [n for n in returned if self._passes(n) and self._made(n) is not None]
        writer = Arrays(crossing) if form == BUFFERS else self._texts
        self._calls = Calls(self._instance, writer, form, returned, dict.fromkeys(adding, self._sent))
        self._used = False
        self._breaker = Breaker(self.config.breaker, self.context, self.config.module)
        if OP in given:
            in_order = not self.config.key or self.context.parallelism == 1
            self._changes = ChangedRows(self.context.key, returned, in_order=in_order)

    def close(self) -> None:
        """Drop the plugin."""
        instance, self._instance = self._instance, None
        if instance is not None:
            instance.close()
        if self._keyed is not None:
            self._keyed.close()
        for texts in (self._texts, self._lines):
            if texts is not None:
                texts.close()

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        """Call the plugin with the rows; those that it cannot handle come out first, as `errors`."""
        del port
        self._used = True
        rows = fit(batch.rows, self._given)
        if self._keyed is not None:
            self._keyed.rows(rows)
        found = self._call(rows) if self._changes is None else self._changes.run(rows, self._call)
        yield from self._yielded(batch.replace(rows), found)

    def take(self, batch: Batch) -> tuple[int, Iterable[Batch]] | None:
        """Give the plugin JSON lines as they are, where they are as plain as their columns."""
        assert isinstance(batch.payload, Encoded)
        if self._breaker.rests:
            return None
        if self._lines is None:
            self._lines = PlainLines.given(self.context.schemas["0"], self._memory, rounds=self._rounds)
        if not self._lines.trials:
            return None
        portions = self._lines.portions(batch.payload.data)
        self._lines.trials = TRIALS if portions is not None else self._lines.trials - 1
        return (sum(count for count, _ in portions), self._taken(batch, portions)) if portions is not None else None

    def _taken(self, batch: Batch, portions: Sequence[tuple[int, str]]) -> Iterable[Batch]:
        self._used = True
        assert self._lines is not None
        for count, text in portions:
            found = self._calls.run_lines(text, count)
            if found is None:
                yield from self.process(batch.replace(self._lines.rows(text)))
                continue
            rows = self._lines.rows(text) if found.rejected else self._given.empty_table()
            yield from self._yielded(batch.replace(rows), found)

    def _yielded(self, batch: Batch, found: Returned) -> Iterable[Batch]:
        """Yield what came of the rows of a batch; where nothing passes the plugin by, it needs only those rejected."""
        rows = batch.rows
        if found.rejected:
            yield from self._reject(batch, dict(sorted(found.rejected.items())))
        for name, schema in self._planned_outputs.items():
            told = rows if self._changes is None else self._changes.told(rows, name)
            joined = self._joined(told, found, name, schema)
            if joined.num_rows or not name:
                yield batch.replace(joined, name)

    def noted(self) -> Mapping[str, int]:
        """Return what the plugin has counted."""
        return self._host.counted()

    def _call(self, rows: pa.Table) -> Returned:
        return self._calls.run(rows.select(self._sent), self._breaker, first_only=self.context.on_error == "fail")

    def snapshot(self) -> Mapping[int, bytes]:
        """Return the plugin's state: its own, whole, and of that of keys what has changed."""
        found = self._keyed.state() if self._keyed is not None else {}
        if self._told is not None and self._told.stateful and self._used and self._instance is not None:
            state = {"own": self._instance.state(), "keys": dict(self._host.state)}
            found[self.context.key_group] = json.dumps(state).encode()
        return found

    def segments(self) -> Sequence[str]:
        """Return where the state of keys is."""
        return self._keyed.segments() if self._keyed is not None else ()

    def restore(self, state: Mapping[int, bytes]) -> None:
        """Give it back."""
        assert self._instance is not None
        check_restored(state, keyed=self._keyed is not None)
        if self._keyed is not None:
            self._keyed.restore({n: data for n, data in state.items() if n == SEGMENTED})
        for data in (data for n, data in state.items() if n != SEGMENTED):
            found = json.loads(data)
            self._import(found["own"])
            self._host.restore(found["keys"])
            self._used = True

    def _import(self, state: str) -> None:
        from dataflare.plugin.failures import PluginError

        assert self._instance is not None
        try:
            self._instance.call("import-state", state)
        except PluginError as error:
            raise StateError(
                f"the plugin does not take the state of the checkpoint: {error.what}",
                hint="let importState take what the former version exported, or start anew with another "
                "runtime.state.path",
                place=Place(self.config.module),
            ) from None

    def _joined(self, rows: pa.Table, found: Returned, output: str, schema: Schema) -> pa.Table:
        """Return the plugin's rows beside the columns that pass it by."""
        arrow = schema.to_arrow()
        tables = found.rows.get(output)
        if not tables:
            return arrow.empty_table()
        made = pa.concat_tables(tables)
        passing = [n for n in arrow.names if n not in made.column_names]
        others = rows.select(passing).take(pa.chunked_array(found.sources[output], pa.int64())) if passing else made
        columns = [(made if f.name in made.column_names else others).column(f.name) for f in arrow]
        return pa.Table.from_arrays(columns, schema=arrow)

    # ---- small things -------------------------------------------------------------------------------------------

    def _reject(self, batch: Batch, rejected: Mapping[int, str]) -> Iterable[Batch]:
        context = self.context
        rejected = {number: context.hide(why) for number, why in rejected.items()}
        row, why = next(iter(rejected.items()))
        first = self._telling.reason(why, batch.rows, row)
        if context.on_error == "fail":
            raise DataError(
                f"{first} (row {row} of its batch)",
                hint="correct the plugin or the data, or set on_error: {action: dead_letter} on the node",
                place=Place(self.config.module, path=context.node),
            )
        context.emit(RowsRejected(context.workflow, context.node, len(rejected), first))
        if context.on_error == "dead_letter":
            yield batch.replace(self._telling.errors_table(batch.rows, rejected), "errors")


__all__ = ["WasmConfig", "WasmProcessor"]
