"""Makes a row of each element of a list, or of each entry of a map."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dataflare.component import Config, Field, processor
from dataflare.errors import WorkflowError
from dataflare.expression.expansion import Expansion
from dataflare.expression.session import quoted
from dataflare.plan_words import EdgeKind
from dataflare.processors.columns import free, known
from dataflare.processors.expanding import ExpandingProcessor
from dataflare.schema import Column, Schema, arrow_type, type_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


_PAIR = 2


class ExplodeConfig(Config):
    """Which lists and maps become rows."""

    columns: list[str] | dict[str, str | list[str]] = Field(
        min_length=1,
        description="The lists and maps to take apart, side by side; or their names and those of what comes out of "
        "them: {items: item}, for a map {attributes: [key, value]}. Without names, an element keeps the name of its "
        "list, and a map `m` becomes `m_key` and `m_value`.",
    )
    keep_empty: bool = Field(
        default=False, description="Whether a row whose lists are all empty or null stays, with nulls for an element."
    )
    ordinal: str = Field("", description="A column for the place of the element in its list, counted from 1.")

    def names(self) -> dict[str, list[str]]:
        """Return the names of what comes out of each column; none: those that it has by itself."""
        if isinstance(self.columns, list):
            return {name: [] for name in self.columns}
        return {name: [into] if isinstance(into, str) else list(into) for name, into in self.columns.items()}


@processor(
    "explode",
    accepts=(EdgeKind.APPEND,),
    counts=("filtered", "expanded"),
    examples=[{"columns": ["items"], "ordinal": "position"}, {"columns": {"attributes": ["key", "value"]}}],
)
class Explode(ExpandingProcessor[ExplodeConfig]):
    """Makes a row of each element of a list, or of each entry of a map.

    All other columns are repeated. Several lists are taken apart side by side: the first elements make a row, the
    second ones the next; a list that ends before the longest one gives nulls. A row whose lists are all empty or null
    is filtered out, or stays with `keep_empty`. Elements keep their order. To open structs, put a `flatten` behind.
    """

    tells_tags = True

    def outputs(self, inputs: Sequence[Schema]) -> Mapping[str, Schema]:
        """Return the columns with the elements in the place of their lists."""
        schema, config = inputs[0], self.config
        known(config.names(), schema.names, "columns")
        made: list[Column] = []
        for column in schema:
            made += self._elements(column) if column.name in config.names() else [column]
        if config.ordinal:
            made.append(Column(config.ordinal, "int64"))
        names = [column.name for column in made]
        for name in dict.fromkeys(n for n in names if names.count(n) > 1):
            raise WorkflowError(f"two columns would be called {name!r}", hint="name what comes out: {items: item}")
        return {"": Schema(tuple(made))}

    def _elements(self, column: Column) -> list[Column]:
        import pyarrow as pa

        kind = arrow_type(column.type)
        into = self.config.names()[column.name]
        if pa.types.is_map(kind):
            names = into or [f"{column.name}_key", f"{column.name}_value"]
            kinds = [kind.key_type, kind.item_type]
        elif pa.types.is_list(kind):
            names, kinds = into or [column.name], [kind.value_type]
        else:
            hint = "read JSON text with a `parse` node first" if column.type in ("json", "string") else ""
            raise WorkflowError(f"columns: {column.name!r} is of type {column.type}, not a list or a map", hint=hint)
        if len(names) != len(kinds):
            what = "a map needs two names, [key, value]" if len(kinds) == _PAIR else "a list needs one name"
            raise WorkflowError(f"columns: {column.name!r}: {what}", hint=f"{len(names)} are given")
        return [replace(column, name=n, type=type_text(k), nullable=True) for n, k in zip(names, kinds, strict=True)]

    def open(self) -> None:
        """Prepare the statement."""
        schema = self.context.schemas["0"]
        after = self.outputs([schema])[""]
        reads = list(self.config.names())
        count, place = free("__count", reads), free("__place", reads)
        made: list[tuple[str, str]] = []
        lengths = []
        for name in reads:
            sql = quoted(name)
            into = [c.name for c in self._elements(schema[name])]
            if len(into) == _PAIR:
                lengths.append(f"cast(coalesce(cardinality({sql}), 0) as bigint)")
                made += [(into[0], f"unnest(map_keys({sql}))"), (into[1], f"unnest(map_values({sql}))")]
            else:
                lengths.append(f"coalesce(len({sql}), 0)")
                made.append((into[0], f"unnest({sql})"))
        longest = f"greatest(0, {', '.join(lengths)})"
        numbers = f"range(1, {quoted(count)} + 1)"
        if self.config.keep_empty:
            numbers = f"case when {quoted(count)} = 0 then [null] else {numbers} end"
        made.append((self.config.ordinal or place, f"unnest({numbers})"))
        self.expansion = Expansion(schema.to_arrow(), after.to_arrow(), reads, made, given=[(count, longest)])
        self.expansion.open(self.context.budget)


__all__ = ["Explode", "ExplodeConfig"]
