"""The `wasm` processor: a plugin in JavaScript, TypeScript or any language that makes components, in a sandbox.

Delivery stays exactly once because a plugin changes nothing outside: its state is part of the epoch, and a run that
resumes gives it back. A call that was stopped has no effect.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import ValidationError, field_validator

from dataflare.changes import OP
from dataflare.component import Duration, Field, Size, processor
from dataflare.component.processor import SEGMENTED, Port
from dataflare.errors import DataError, Place, WorkflowError
from dataflare.expression.fit import fit
from dataflare.monitoring.events import RowsRejected
from dataflare.plan_words import EdgeKind
from dataflare.processors.python_lines import is_plain
from dataflare.processors.python_rejects import Telling
from dataflare.processors.wasm_buffers import BUFFERS, Arrays, refuse_others
from dataflare.processors.wasm_calls import Calls, Returned
from dataflare.processors.wasm_changes import ChangedRows, changing, check_state_key, shown
from dataflare.processors.wasm_grants import GrantedConfig, GrantedProcessor
from dataflare.processors.wasm_host import WorkflowHost
from dataflare.processors.wasm_modules import limits_of, resolve_module
from dataflare.processors.wasm_state import KeyedState, check_key, check_restored
from dataflare.processors.wasm_texts import COLUMNS, LINES, Texts
from dataflare.schema import REJECTED, Schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from dataflare.batch import Batch
    from dataflare.plugin.guarded import GuardedInstance
    from dataflare.plugin.limits import Limits
    from dataflare.plugin.loaded import LoadedPlugin, Say
    from dataflare.plugin.manager import ResolvedPlugin
    from dataflare.plugin.program import Described, Program
    from dataflare.schema import Column


class WasmConfig(GrantedConfig):
    """A file, and what its code is told and allowed."""

    module: str = Field(
        description="A file in JavaScript (.js) or TypeScript (.ts), a module or component (.wasm), or a package "
        "(.dfp), relative to the workflow file; or an installed plugin, as price or price@1.2.0."
    )
    settings: dict[str, Any] = Field({}, description="What the plugin is opened with.")
    columns: tuple[str, ...] | None = Field(
        None, min_length=1, description="Columns that it is given; default: those that it asks for."
    )
    output: dict[str, str] | None = Field(
        None, description="Columns that come out, with their types; default: what it says, or those that came in."
    )
    key: list[str] = Field(
        [], description="Columns by which it keeps state: rows that are equal in them come to one task."
    )
    timeout: Duration = Field(5.0, gt=0, description="The longest time that a call may take: some thousand rows.")
    memory: Size = Field(
        128 << 20, ge=1 << 20, description="Most memory that an instance may use, and as much for its state by key."
    )
    fuel: int | None = Field(
        None, ge=1, description="Most instructions of a call; to count them takes a third more time."
    )

    @field_validator("output")
    @classmethod
    def _typed(cls, value: dict[str, str] | None) -> dict[str, str] | None:
        try:
            Schema.of(value or {})
        except WorkflowError as error:
            raise ValueError(str(error)) from error
        return value


@processor(
    "wasm",
    accepts=(EdgeKind.APPEND, EdgeKind.UPSERT),
    counts=("filtered", "dead", "expanded"),
    examples=[{"module": "rules.js"}, {"module": "rules.ts", "settings": {"rate": 1.2}, "timeout": "1s"}],
)
class WasmProcessor(GrantedProcessor[WasmConfig]):
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
    _told: Described | None = None
    _program: Program | None = None
    _resolved: ResolvedPlugin | None = None
    _bound: dict[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]

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
        use = Use(max(1, instances), wait_seconds, log, made.config.columns)
        return LoadedPlugin.load(Path(path), made._settings(), made._limits(), use)

    # ---- planning -----------------------------------------------------------------------------------------------

    def declared(self) -> bool:
        """What comes out is what the plugin says."""
        return self._told is not None

    def look(self) -> None:
        """Load the plugin and ask it."""
        self._bound = {}
        self._resolved = resolve_module(self.config, self.context)
        self._program = self._resolved.program
        with self._program.engine.ticking():
            host, limits, grants = WorkflowHost(self.context), self._limits(), self.grants()
            self._told = self._program.described(self._settings(), host, limits, grants)

    def outputs(self, inputs: Sequence[Schema]) -> Mapping[str, Schema]:
        """Return what the plugin says, unless the settings do, and the schema of the rejected rows."""
        (given,) = inputs[:1]
        if self._told is None:
            raise WorkflowError("what a plugin returns is known once it is loaded")
        check_key(given, self.config.key, self._seen(given))
        check_state_key(given, self.config.key, self.context.key)
        return {n: self._planned(given, n) for n in {"", *self._told.outputs}} | {"errors": REJECTED}

    def ports(self, count: int) -> Sequence[Port]:
        """State of its own is in one place, state by key where the rows of the key are."""
        together = self._told is not None and self._told.stateful
        return [Port(together=True) if together else Port(tuple(self.config.key))] * count

    def reads(
        self, inputs: Sequence[Schema], wanted: AbstractSet[str] | None
    ) -> Sequence[AbstractSet[str] | None] | None:
        """Return the columns that it is given, and those that pass it by."""
        if self._told is None or (self._told.input is None and self.config.columns is None) or OP in inputs[0]:
            return None
        seen = set(self._seen(inputs[0]))
        passing = {n for n in {"", *self._told.outputs} if self._passes(n)}
        if not passing:
            return [seen]
        return None if wanted is None or passing != {""} else [seen | (set(wanted) & set(inputs[0].names))]

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
        memory = self.context.budget.memory_bytes_max
        scripts, packs = self._program.code is not None, self._program.packs
        self._texts = Texts(crossing, memory, scripts=scripts, packs=packs)
        if self.config.key:
            self._keyed = KeyedState(given.select(self.config.key), self.config.memory, self._texts, self.context)
        stateful = self._told.stateful
        self._host = WorkflowHost(self.context, hides=self._telling.hides, stateful=stateful, keyed=self._keyed)
        columns = _typed(given.select(self._sent)) if form == BUFFERS else None
        settings = replace(self._settings(), columns=columns, packed=packs)
        self._instance = GuardedInstance(self._program, settings, self._host, self._limits(), self.grants())
        self._instance.open(stateful=stateful)
        adding = [n for n in returned if self._passes(n) and self._made(n) is not None]
        writer = Arrays(crossing) if form == BUFFERS else self._texts
        self._calls = Calls(self._instance, writer, form, returned, dict.fromkeys(adding, self._sent))
        self._used = False
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
        if self._texts is not None:
            self._texts.close()

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        """Call the plugin with the rows; those that it cannot handle come out first, as `errors`."""
        del port
        self._used = True
        rows = fit(batch.rows, self._given)
        if self._keyed is not None:
            self._keyed.rows(rows)
        found = self._call(rows) if self._changes is None else self._changes.run(rows, self._call)
        if found.rejected:
            yield from self._reject(batch.replace(rows), dict(sorted(found.rejected.items())))
        for name, schema in self._planned_outputs.items():
            told = rows if self._changes is None else self._changes.told(rows, name)
            joined = self._joined(told, found, name, schema)
            if joined.num_rows or not name:
                yield batch.replace(joined, name)

    def noted(self) -> Mapping[str, int]:
        """Return what the plugin has counted."""
        return self._host.counted()

    def _call(self, rows: pa.Table) -> Returned:
        return self._calls.run(rows.select(self._sent), first_only=self.context.on_error == "fail")

    def snapshot(self) -> Mapping[int, bytes]:
        """Return the plugin's state: its own, whole, and of that of keys what has changed."""
        found = self._keyed.state() if self._keyed is not None else {}
        if self._told is not None and self._told.stateful and self._used and self._instance is not None:
            state = {"own": self._instance.call("export-state"), "keys": dict(self._host.state)}
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
            self._instance.call("import-state", found["own"])
            self._host.restore(found["keys"])
            self._used = True

    # ---- schemas ------------------------------------------------------------------------------------------------

    def _seen(self, given: Schema) -> list[str]:
        assert self._told is not None
        return shown(given.names, self.config.columns or self._told.input)

    def _made(self, output: str) -> tuple[tuple[str, str], ...] | None:
        """Return the columns that the plugin makes for an output; None: those that it is given."""
        assert self._told is not None
        if not output and self.config.output is not None:
            return tuple(self.config.output.items())
        found = self._told.outputs.get(output)
        return found.columns if found is not None else None

    def _passes(self, output: str) -> bool:
        """Tell whether columns pass the plugin by on the way to an output."""
        assert self._told is not None
        if not output and self.config.output is not None:
            return False
        found = self._told.outputs.get(output)
        return found is None or found.columns is None or found.adds

    def _returned(self, given: Schema, output: str) -> Schema:
        """Return the columns that the plugin returns for an output."""
        made = self._made(output)
        if made is None:
            return self._crossing(given)
        if self._told is not None and self._told.buffers:
            refuse_others(Schema.of(dict(made)), self.config.module)
        return Schema.of(dict(made))

    def _crossing(self, given: Schema) -> Schema:
        """Return the columns that the plugin is given, in the types in which they cross."""
        seen = given.select(self._seen(given))
        assert self._told is not None
        if not self._told.buffers:
            return seen
        assert self._program is not None
        refuse_others(seen, self.config.module)
        key = _typed(seen)
        if key not in self._bound:
            settings, host = replace(self._settings(), columns=key), WorkflowHost(self.context)
            with self._program.engine.ticking():
                self._bound[key] = self._program.bound(settings, host, self._limits(), self.grants())
        wanted = Schema.of(dict(self._bound[key]))
        if wanted.names != seen.names:
            raise WorkflowError("the plugin binds other columns than it is given", place=Place(self.config.module))
        return Schema(tuple(replace(c, type=wanted[c.name].type) for c in seen))

    def _form(self, columns: Sequence[Column]) -> str:
        """Return how rows cross, by the columns that cross there and back."""
        assert self._told is not None
        if self._told.buffers:
            return BUFFERS
        return COLUMNS if self._told.format == COLUMNS and all(map(is_plain, columns)) else LINES

    def _planned(self, given: Schema, output: str) -> Schema:
        """Return the columns of an output; what the plugin returns may be made of all that it is given."""
        seen = given.select(self._seen(given))
        spread = tuple(dict.fromkeys(tag for column in seen for tag in column.tags))
        returned = {c.name: replace(c, tags=spread) for c in self._returned(given, output)}
        made, passes = self._made(output), self._passes(output)
        kept = [returned.pop(c.name, c) for c in given] if passes else []
        planned = Schema((*kept, *returned.values()))
        return changing(planned, given, self.context.key, [name for name, _ in made or ()], passes=passes)

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

    def _settings(self) -> Any:
        from dataflare.plugin.program import Settings

        return Settings(self.config.settings, self.config.output)

    def _limits(self) -> Limits:
        return limits_of(self.config, self._resolved.manifest if self._resolved is not None else None)

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


def _typed(columns: Schema) -> tuple[tuple[str, str], ...]:
    return tuple((column.name, column.type) for column in columns)


__all__ = ["WasmConfig", "WasmProcessor"]
