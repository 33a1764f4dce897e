"""What a plugin is told and allowed, and which columns it is given and returns, as far as they can be planned."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import field_validator

from dataflare.changes import OP
from dataflare.component import Duration, Field, Size
from dataflare.component.processor import Port
from dataflare.errors import DataFlareError, Place, WorkflowError
from dataflare.processors.python_lines import is_plain
from dataflare.processors.wasm_breaker import BreakerConfig
from dataflare.processors.wasm_buffers import BUFFERS, refuse_others
from dataflare.processors.wasm_changes import changing, check_state_key, shown
from dataflare.processors.wasm_grants import GrantedConfig, GrantedProcessor, GrantsConfig
from dataflare.processors.wasm_host import WorkflowHost
from dataflare.processors.wasm_lines import takes_lines
from dataflare.processors.wasm_modules import granted_by, limits_of, permitted_grants, resolve_module
from dataflare.processors.wasm_reload import hash_of, planned_module
from dataflare.processors.wasm_state import check_key
from dataflare.processors.wasm_texts import COLUMNS, LINES
from dataflare.schema import REJECTED, Schema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from dataflare.plugin.limits import Limits
    from dataflare.plugin.manager import ResolvedPlugin
    from dataflare.plugin.program import Described, Program
    from dataflare.schema import Column


class WasmConfig(GrantedConfig):
    """A file, and what its code is told and allowed."""

    module: str = Field(
        description="A file in JavaScript (.js), TypeScript (.ts) or Python (.py), a module or component (.wasm), or a "
        "package (.dfp), relative to the workflow file; or an installed plugin, as price or price@1.2.0."
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

    breaker: BreakerConfig = Field(
        BreakerConfig(), description="When a plugin that has to be stopped again and again is called no more."
    )
    reload: bool = Field(
        default=False,
        description="Whether a run takes the file in as it is then, between two epochs, whenever it has changed.",
    )

    @field_validator("output")
    @classmethod
    def _typed(cls, value: dict[str, str] | None) -> dict[str, str] | None:
        try:
            Schema.of(value or {})
        except WorkflowError as error:
            raise ValueError(str(error)) from error
        return value


class PlannedPlugin(GrantedProcessor[WasmConfig]):
    """The half of the processor that is asked before rows come."""

    _told: Described | None = None
    _program: Program | None = None
    _code = ""
    _resolved: ResolvedPlugin | None = None
    _bound: dict[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]

    def declared(self) -> bool:
        """What comes out is what the plugin says."""
        return self._told is not None

    def look(self) -> None:
        """Load the plugin and ask it."""
        self._bound = {}
        if self.config.reload:
            self._code, self._resolved = planned_module(self.config, self.context)
        else:
            self._resolved = resolve_module(self.config, self.context)
        self._program = self._resolved.program
        with self._program.engine.ticking():
            host, limits = WorkflowHost(self.context), self._limits()
            grants = permitted_grants(self.grants(), self._resolved)
            self._told = self._program.described(self._settings(), host, limits, grants)

    def check(self) -> None:
        """Load the plugin, and ask it, where that was not done yet."""
        if self._told is None:
            self.look()

    def given(self) -> GrantsConfig:
        """Return what the workflow grants, else what an install has granted."""
        return granted_by(self.config)

    def code(self) -> str:
        """Return the hash of the file, if it may change; what is wrong with it `look` tells."""
        if not self.config.reload or self._code:
            return self._code
        try:
            return hash_of(self.config, self.context)
        except DataFlareError:
            return ""

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

    def unjudged(self, schema: Schema) -> Sequence[str]:
        """Take JSON lines where the plugin is given whole records of plain types, and nothing passes it by."""
        if self._told is None or self.config.key or OP in schema or not takes_lines(schema, self._seen(schema)):
            return ()
        returned = {name: self._returned(schema, name) for name in {"", *self._told.outputs}}
        passing = any(self._passes(n) and set(schema.names) - set(r.names) for n, r in returned.items())
        columns = [*self._crossing(schema), *(c for one in returned.values() for c in one)]
        return ("jsonl",) if not passing and self._form(columns) == LINES else ()

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
        key = typed(seen)
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
        quicker = self._told.format == COLUMNS or (self._program is not None and self._program.packs)
        return COLUMNS if quicker and all(map(is_plain, columns)) else LINES

    def _planned(self, given: Schema, output: str) -> Schema:
        """Return the columns of an output; what the plugin returns may be made of all that it is given."""
        seen = given.select(self._seen(given))
        spread = tuple(dict.fromkeys(tag for column in seen for tag in column.tags))
        returned = {c.name: replace(c, tags=spread) for c in self._returned(given, output)}
        made, passes = self._made(output), self._passes(output)
        kept = [returned.pop(c.name, c) for c in given] if passes else []
        planned = Schema((*kept, *returned.values()))
        return changing(planned, given, self.context.key, [name for name, _ in made or ()], passes=passes)

    def _settings(self) -> Any:
        from dataflare.plugin.program import Settings

        return Settings(self.config.settings, self.config.output)

    def _limits(self) -> Limits:
        return limits_of(self.config, self._resolved.manifest if self._resolved is not None else None)


def typed(columns: Schema) -> tuple[tuple[str, str], ...]:
    """Return the names of columns with their types."""
    return tuple((column.name, column.type) for column in columns)


__all__ = ["PlannedPlugin", "WasmConfig", "typed"]
