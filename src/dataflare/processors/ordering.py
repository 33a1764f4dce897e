"""The order of rows, as `sort` and `top_n` are told it: columns or their fields, each with a direction."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, model_validator

from dataflare.component import Config, Field
from dataflare.errors import WorkflowError
from dataflare.expression.session import quoted
from dataflare.processors.columns import near
from dataflare.schema import field_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa

    from dataflare.schema import Schema

_WORDS = re.compile(r"(?P<column>.+?)(\s+(?P<order>asc|desc))?(\s+nulls\s+(?P<nulls>first|last))?", re.IGNORECASE)


class OrderKey(Config):
    """One column to order by; `amount desc nulls first` says it in a line."""

    model_config = ConfigDict(json_schema_extra={"x-short": ["string"]})

    column: str = Field(description="A column, or a field of one: customer.name.")
    order: Literal["asc", "desc"] = Field("asc", description="The least first, or the greatest.")
    nulls: Literal["first", "last"] = Field("last", description="Where rows go that have no value, in either order.")

    @model_validator(mode="before")
    @classmethod
    def _in_words(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        found = _WORDS.fullmatch(value.strip())
        if found is None:
            return {"column": value}
        words = {name: word for name, word in found.groupdict().items() if word is not None}
        return {name: word if name == "column" else word.lower() for name, word in words.items()}


def order_by(keys: Sequence[OrderKey], schema: Schema, names: Sequence[str], setting: str = "by") -> list[str]:
    """Return the terms of an ORDER BY over columns that are called `names` there; raise WorkflowError.

    Texts are compared by code point, NaN is greater than all numbers.
    """
    places = places_of(keys, schema, names, setting)
    return [f"{place} {key.order} nulls {key.nulls}" for place, key in zip(places, keys, strict=True)]


def ordered(keys: Sequence[OrderKey], schema: Schema) -> set[str]:
    """Return the columns that rows are ordered by."""
    return {n for n in schema.names for key in keys if key.column == n or key.column.startswith(f"{n}.")}


def places_of(keys: Sequence[OrderKey], schema: Schema, names: Sequence[str], setting: str = "by") -> list[str]:
    """Return what is ordered by, as SQL over columns that are called `names`; raise WorkflowError."""
    return [_place(key, schema, names, setting) for key in keys]


def _place(key: OrderKey, schema: Schema, names: Sequence[str], setting: str) -> str:
    if key.column in schema:
        return quoted(names[schema.names.index(key.column)])
    column, *path = key.column.split(".")
    if not path or column not in schema:
        raise WorkflowError(f"{setting}: there is no column {key.column!r}", hint=near(key.column, schema.names))
    kind = field_type(schema[column].type, tuple(path))
    if kind is None or "list<" in schema[column].type:
        raise WorkflowError(
            f"{setting}: {column!r} has no field {'.'.join(path)!r} to order by",
            hint=f"{column} is {schema[column].type}",
        )
    return ".".join([quoted(names[schema.names.index(column)]), *map(quoted, path)])


NUMBER = "n"
"""The column that tells in which order rows came; no other one has the name, as these are called otherwise."""


def numbered(schema: pa.Schema, names: Sequence[str]) -> pa.Schema:
    """Return the schema of rows that are numbered, its columns called `names`."""
    import pyarrow as pa

    plain = [field.with_name(name) for field, name in zip(schema, names, strict=True)]
    return pa.schema([*plain, pa.field(NUMBER, pa.int64())])


def with_numbers(tables: Iterable[pa.Table], schema: pa.Schema, at: int = 0) -> Iterator[pa.Table]:
    """Yield tables with the number of each row behind its columns, from `at` on."""
    import pyarrow as pa

    for table in tables:
        yield pa.Table.from_arrays([*table.columns, pa.arange(at, at + table.num_rows)], schema=schema)
        at += table.num_rows


__all__ = ["NUMBER", "OrderKey", "numbered", "order_by", "places_of", "with_numbers"]
