"""What an enrichment makes of two schemas: how keys are compared, what is taken, and which columns come out."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dataflare.batch import RESERVED
from dataflare.changes import OP, Op, value_in
from dataflare.errors import DataError, WorkflowError
from dataflare.expression.chain import Chain
from dataflare.expression.fit import fit
from dataflare.expression.session import quoted
from dataflare.expression.step import Step
from dataflare.expression.typed import typed
from dataflare.processors.fields import Fields, Value
from dataflare.processors.matching import KeyIndex, as_key, shared_type
from dataflare.schema import Column, Schema, arrow_type, type_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa

    from dataflare.component import StageContext
    from dataflare.processors.enrichment_settings import EnrichmentConfig

_TAKEN, _FOUND = "__taken{}", "__found"


@dataclass(frozen=True, slots=True)
class Key:
    """A pair of columns that must be equal, and the type in which they are compared."""

    path: tuple[str, ...]
    column: tuple[str, ...]
    kind: pa.DataType


@dataclass(frozen=True, slots=True)
class Known:
    """Rows of a lookup: their index, and what is taken of each."""

    index: KeyIndex
    taken: pa.Table


class EnrichmentPlan:
    """The meaning of the settings for rows of `main` and a lookup of `side`; WorkflowError where there is none."""

    def __init__(self, config: EnrichmentConfig, main: Schema, side: Schema, context: StageContext) -> None:
        """Check everything; prepare nothing."""
        named = list(config.keys.values())
        for column in (c for c in named if named.count(c) > 1):
            raise WorkflowError(f"keys: {column!r} of the lookup is named twice", hint="name each column once")
        self.config, self.main, self.side, self._context = config, main, side, context
        self.keys = [_key(path, column, main, side) for path, column in config.keys.items()]
        self._step = Step(context.node, tuple(self._taken().items()))
        (self.taken,), problems = typed([self._step], side)
        if problems:
            raise problems[0].error
        self.output = self._output()
        self._arrow = self.output.to_arrow()
        self.defaults = {n: _default(n, v, self.taken) for n, v in config.defaults.items()}
        self._chain: Chain | None = None
        self._nesting: Chain | None = None

    def key_columns(self, rows: pa.Table) -> list[pa.ChunkedArray]:
        """Return the keys of rows that come in."""
        return [as_key(_walked(rows, k.path), k.kind) for k in self.keys]

    def lookup_keys(self, rows: pa.Table) -> list[pa.ChunkedArray]:
        """Return the keys of rows of the lookup."""
        return [as_key(_walked(rows, k.column), k.kind) for k in self.keys]

    def fitted(self, rows: pa.Table) -> pa.Table:
        """Return rows of the lookup in its planned columns; raise DataError where it changed since."""
        return fit(rows, self.side.to_arrow())

    def newest(self, rows: pa.Table) -> pa.Table:
        """Return the last row of each key, without those that are deletions, and without all before a truncation."""
        import pyarrow.compute as pc

        if OP in self.side:
            truncations = pc.indices_nonzero(pc.equal(rows[OP], Op.TRUNCATE.value))
            rows = rows.slice(truncations[-1].as_py() + 1) if len(truncations) else rows
        rows = rows.take(KeyIndex(self.lookup_keys(rows)).last_rows())
        return rows.filter(pc.not_equal(rows[OP], Op.DELETE.value)) if OP in self.side else rows

    def known(self, rows: pa.Table) -> Known:
        """Index rows of the lookup; raise DataError where keys come again that may not."""
        index = KeyIndex(self.lookup_keys(rows))
        if index.repeated and self.config.multiple == "last":
            rows = rows.take(index.last_rows())
            index = KeyIndex(self.lookup_keys(rows))
        if index.repeated and self.config.multiple == "error":
            named = ", ".join(self.config.keys.values())
            raise DataError(
                f"{index.repeated:,} keys of the lookup ({named}) have several rows",
                hint="say what that means: multiple: first, last or all",
            )
        return Known(index, self._take(rows))

    def assembled(self, rows: pa.Table, taken: pa.Table, found: pa.Array) -> pa.Table:
        """Return rows as they come out: with what is taken of the lookup, nulls or defaults where nothing was found."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if self.config.into:
            rows = self._nested().run(_flat(rows, taken, found)).rows
            columns = list(rows.columns)
        else:
            columns = [*rows.columns, *taken.columns]
            for name, value in self.defaults.items():
                at = rows.num_columns + taken.schema.get_field_index(name)
                columns[at] = pc.if_else(found, columns[at], value)
        if self.config.matched:
            columns.append(found)
        return pa.Table.from_arrays(columns, schema=self._arrow)

    def close(self) -> None:
        """Free the statements."""
        for chain in (self._chain, self._nesting):
            if chain is not None:
                chain.close()

    def _take(self, rows: pa.Table) -> pa.Table:
        if self._chain is None:
            context = self._context
            self._chain = Chain([self._step], self.side, budget=context.budget, epoch_time=context.epoch_time)
        return self._chain.run(rows).rows.combine_chunks()

    def _taken(self) -> dict[str, str]:
        """Return the expressions of the taken columns by their names."""
        config, side = self.config, self.side
        if isinstance(config.take, dict):
            pairs = dict(config.take)
        else:
            names = config.take or [n for n in side.names if n not in config.keys.values() and n not in RESERVED]
            for name in names:
                if name not in side:
                    raise WorkflowError(f"take: the lookup has no column {name!r}", hint=_near(name, side.names))
            pairs = {name: quoted(name) for name in names}
        if not pairs:
            raise WorkflowError(
                "nothing is taken: the lookup has no columns but its keys",
                hint="name one: take: [id], or let matched: found tell whether there is a row",
            )
        return {f"{config.prefix}{name}": text for name, text in pairs.items()}

    def _output(self) -> Schema:
        config, main = self.config, self.main
        told = value_in(main)
        columns = [replace(c, nullable=True, told=told) for c in self.taken]
        if config.into:
            made = typed([self._nesting_step()], self._flat_schema())
            if made[1]:
                raise made[1][0].error
            columns, main = [], made[0][0]
        if config.matched:
            columns.append(Column(config.matched, "bool", nullable=False, told=told))
        for name in (c.name for c in columns):
            if name in main or [c.name for c in columns].count(name) > 1:
                raise WorkflowError(
                    f"there is a column {name!r} already",
                    hint=f"give it another name, such as take: {{lookup_{name}: {name}}}, or set prefix",
                )
        return Schema((*main, *columns))

    def _flat_schema(self) -> Schema:
        told = value_in(self.main)
        taken = (replace(c, name=_TAKEN.format(n), nullable=True, told=told) for n, c in enumerate(self.taken))
        return Schema((*self.main, *taken, Column(_FOUND, "bool", nullable=False, told=told)))

    def _nesting_step(self) -> Step:
        fields = ", ".join(f"{quoted(c.name)} := {quoted(_TAKEN.format(n))}" for n, c in enumerate(self.taken))
        whole = f"case when {_FOUND} then struct_pack({fields}) end"
        columns = Fields(self.main)
        columns.put([(self.config.into, Value(whole))], "into")
        return Step(self._context.node, tuple(columns.columns().items()))

    def _nested(self) -> Chain:
        if self._nesting is None:
            context = self._context
            self._nesting = Chain([self._nesting_step()], self._flat_schema(), budget=context.budget)
        return self._nesting


def _flat(rows: pa.Table, taken: pa.Table, found: pa.Array) -> pa.Table:
    for number, column in enumerate(taken.columns):
        rows = rows.append_column(_TAKEN.format(number), column)
    return rows.append_column(_FOUND, found)


def _key(path: str, column: str, main: Schema, side: Schema) -> Key:
    left, right = _resolved(path, main, "the rows have"), _resolved(column, side, "the lookup has")
    kinds = _kind_at(left, main), _kind_at(right, side)
    kind = shared_type(*kinds)
    if kind is None:
        raise WorkflowError(
            f"keys: {path} is {kinds[0]} and {column} is {kinds[1]}, which cannot be compared exactly",
            hint="cast one of them in a mapping before, such as cast(id as bigint)",
        )
    return Key(left, right, kind)


def _resolved(text: str, schema: Schema, whose: str) -> tuple[str, ...]:
    """Return the column, and the fields within it, that a name or a dotted path means."""
    if text in schema:
        return (text,)
    first, *rest = text.split(".")
    if first not in schema or not rest:
        raise WorkflowError(f"keys: {whose} no column {text!r}", hint=_near(text, schema.names))
    return (first, *rest)


def _kind_at(path: Sequence[str], schema: Schema) -> str:
    import pyarrow as pa

    kind = arrow_type(schema[path[0]].type)
    for name in path[1:]:
        if not pa.types.is_struct(kind) or kind.get_field_index(name) < 0:
            raise WorkflowError(f"keys: there is no {'.'.join(path)}", hint=f"{path[0]} is {schema[path[0]].type}")
        kind = kind.field(name).type
    return schema[path[0]].type if len(path) == 1 else type_text(kind)


def _walked(rows: pa.Table, path: Sequence[str]) -> pa.ChunkedArray:
    import pyarrow.compute as pc

    column = rows.column(path[0])
    return pc.struct_field(column, list(path[1:])) if len(path) > 1 else column


def _default(name: str, value: Any, taken: Schema) -> pa.Scalar:
    """Return a default in the type of its column."""
    import pyarrow as pa

    if name not in taken:
        raise WorkflowError(f"defaults: {name!r} is not taken", hint=_near(name, taken.names))
    kind = arrow_type(taken[name].type)
    try:
        plain = str(value) if pa.types.is_decimal(kind) and isinstance(value, int | float) else value
        return pa.array([plain]).cast(kind)[0] if not pa.types.is_nested(kind) else pa.scalar(value, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        raise WorkflowError(
            f"defaults: the value for {name!r} is no {taken[name].type}", hint="write it as the column holds it"
        ) from None


def _near(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"


__all__ = ["EnrichmentPlan", "Known"]
