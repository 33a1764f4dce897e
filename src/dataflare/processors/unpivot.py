"""Turns columns into rows of names and values."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from dataflare.batch import RESERVED
from dataflare.component import Config, Field, processor
from dataflare.errors import WorkflowError
from dataflare.expression.expansion import Expansion
from dataflare.expression.session import quoted
from dataflare.plan_words import EdgeKind
from dataflare.processors.columns import known, near
from dataflare.processors.expanding import ExpandingProcessor
from dataflare.processors.union import wider
from dataflare.schema import Column, Schema, canonical
from dataflare.sql.quoting import literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class UnpivotConfig(Config):
    """Which columns become rows."""

    columns: list[str] | dict[str, str] = Field(
        min_length=1,
        description='The columns, or patterns such as "q*"; or columns and the names to write for them: {q1: Q1}.',
    )
    name: str = Field("name", description="The column that holds the names.")
    value: str = Field("value", description="The column that holds the values.")
    type: str = Field(
        "", description="The type of the values; empty: the one type that holds all. `string` always may."
    )
    nulls: Literal["drop", "keep"] = Field("drop", description="Whether a null makes a row.")


@processor(
    "unpivot",
    accepts=(EdgeKind.APPEND,),
    counts=("filtered", "expanded"),
    examples=[{"columns": ["q1", "q2"], "name": "quarter", "value": "sales"}, {"columns": ["temp_*"], "nulls": "keep"}],
)
class Unpivot(ExpandingProcessor[UnpivotConfig]):
    """Turns columns into rows of names and values.

    A row becomes one for each of the columns, in the order of the table; the columns that are not named are repeated.
    Nulls make no row, unless `nulls: keep` says so. Columns of different types need a `type` that holds them all.
    """

    tells_tags = True

    def _columns(self, schema: Schema) -> dict[str, str]:
        """Return the columns and what is written for each."""
        wanted = self.config.columns
        if isinstance(wanted, dict):
            known(wanted, schema.names, "columns")
            return dict(wanted)
        found: dict[str, str] = {}
        for pattern in wanted:
            hit = [n for n in schema.names if n == pattern] or [
                n for n in schema.names if fnmatchcase(n, pattern) and n not in RESERVED
            ]
            if not hit:
                raise WorkflowError(f"columns: no column is {pattern!r}", hint=near(pattern, schema.names))
            found |= {n: n for n in hit}
        return {n: n for n in schema.names if n in found}

    def outputs(self, inputs: Sequence[Schema]) -> Mapping[str, Schema]:
        """Return the columns that stay, the name and the value."""
        schema = inputs[0]
        columns = self._columns(schema)
        stay = [c for c in schema if c.name not in columns]
        for name in (self.config.name, self.config.value):
            if any(c.name == name for c in stay) or self.config.name == self.config.value:
                raise WorkflowError(f"two columns would be called {name!r}", hint="set `name` and `value`")
        tags = tuple(dict.fromkeys(t for n in columns for t in schema[n].tags))
        nullable = self.config.nulls == "keep"
        value = Column(self.config.value, self._type(schema, list(columns)), nullable=nullable, tags=tags)
        return {"": Schema((*stay, Column(self.config.name, "string", nullable=False), value))}

    def _type(self, schema: Schema, names: Sequence[str]) -> str:
        kinds = [schema[n].type for n in names]
        if not self.config.type:
            one: str | None = "null"
            for kind in kinds:
                one = one and wider(one, kind)
            if not one:
                listed = ", ".join(f"{n} {t}" for n, t in zip(names, kinds, strict=True))
                raise WorkflowError(
                    f"the columns are of different types: {listed}", hint="set type: string, or cast them"
                )
            return one
        wanted = canonical(self.config.type)
        for name, kind in zip(names, kinds, strict=True):
            if wanted != "string" and wider(kind, wanted) != wanted:
                raise WorkflowError(
                    f"type: {name!r} is of type {kind}, whose values need not be {wanted}",
                    hint="cast it in a mapping before, where a value that does not fit follows on_error",
                )
        return wanted

    def open(self) -> None:
        """Prepare the statement."""
        schema = self.context.schemas["0"]
        after = self.outputs([schema])[""]
        columns = self._columns(schema)
        text = after[self.config.value].type == "string"
        values = ", ".join(_as_text(schema[n]) if text else quoted(n) for n in columns)
        names = ", ".join(literal(word) for word in columns.values())
        made = [(self.config.name, f"unnest([{names}])"), (self.config.value, f"unnest([{values}])")]
        where = f"{quoted(self.config.value)} is not null" if self.config.nulls == "drop" else ""
        self.expansion = Expansion(schema.to_arrow(), after.to_arrow(), list(columns), made, where=where)
        self.expansion.open(self.context.budget)


def _as_text(column: Column) -> str:
    name = quoted(column.name)
    nested = column.type.startswith(("list", "struct", "map"))
    return (
        f"case when {name} is not null then cast(to_json({name}) as varchar) end"
        if nested
        else f"cast({name} as varchar)"
    )


__all__ = ["Unpivot", "UnpivotConfig"]
