"""Dotted destinations: makes nested structs of paths such as `user.address.city`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.errors import WorkflowError
from dataflare.expression.session import quoted
from dataflare.schema import arrow_type

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

    from dataflare.schema import Schema

Tree = dict[str, "Tree | str"]
"""Fields by name: an expression, or the fields of a struct."""


def nested(paths: Iterable[tuple[str, str]], schema: Schema) -> dict[str, str]:
    """Return expressions by column from (dotted path, expression) pairs, in order.

    Fields of a struct column that is there already stay, unless a path replaces them.
    """
    tree: Tree = {}
    for path, expression in paths:
        fields, parts = tree, path.split(".")
        for part in parts[:-1]:
            inner = fields.setdefault(part, {})
            if isinstance(inner, str):
                raise _conflict(path, part)
            fields = inner
        if isinstance(fields.get(parts[-1]), dict) or not all(parts):
            raise _conflict(path, parts[-1])
        fields[parts[-1]] = expression
    return {name: _column(name, value, schema) for name, value in tree.items()}


def _conflict(path: str, part: str) -> WorkflowError:
    return WorkflowError(
        f"the destination {path!r} makes {part!r} both a value and a struct", hint="give one of them another name"
    )


def _column(name: str, value: Tree | str, schema: Schema) -> str:
    if isinstance(value, str):
        return value
    present = arrow_type(schema[name].type) if name in schema else None
    return _packed(value, quoted(name), present, name)


def _packed(fields: Tree, before: str, present: pa.DataType | None, path: str) -> str:
    """Return the SQL of a struct; `before` is the SQL of the one that is there, `present` its type."""
    import pyarrow as pa

    if present is not None and not pa.types.is_struct(present):
        raise WorkflowError(f"{path!r} is a column of type {present}, not a struct", hint="choose another destination")
    types = {f.name: f.type for f in present} if present is not None else {}
    values = {name: f"{before}.{quoted(name)}" for name in types}
    for name, value in fields.items():
        inner = f"{before}.{quoted(name)}"
        values[name] = value if isinstance(value, str) else _packed(value, inner, types.get(name), f"{path}.{name}")
    return f"struct_pack({', '.join(f'{quoted(n)} := {sql}' for n, sql in values.items())})"


__all__ = ["nested"]
