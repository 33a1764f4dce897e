"""Changes a value deep inside nested rows: a field of a struct, of each struct in a list, and so on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from dataflare.schema import Path


@dataclass(frozen=True, slots=True)
class Leaves:
    """Values somewhere inside a column: `rows` are the numbers of their rows, None where there is one for each row."""

    values: pa.Array
    rows: pa.Array | None = None


def changed(column: pa.Array, path: Path, change: Callable[[Leaves], pa.Array]) -> pa.Array:
    """Return the column with what `change` makes of the values at `path`; a list stands for each of its items.

    What is null above the field stays null. Raises KeyError where there is no such field.
    """
    return _changed(Leaves(column), path, change)


def has_field(kind: pa.DataType, path: Path) -> bool:
    """Tell whether there is a field at `path` inside a type."""
    import pyarrow as pa

    if not path:
        return True
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return has_field(kind.value_type, path)
    if not pa.types.is_struct(kind) or kind.get_field_index(path[0]) < 0:
        return False
    return has_field(kind.field(path[0]).type, path[1:])


def _changed(leaves: Leaves, path: Path, change: Callable[[Leaves], pa.Array]) -> pa.Array:
    import pyarrow as pa

    if not path:
        return change(leaves)
    kind = leaves.values.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _in_list(leaves, path, change)
    if not pa.types.is_struct(kind) or kind.get_field_index(path[0]) < 0:
        raise KeyError(".".join(path))
    return _in_struct(leaves, path, change)


def _in_struct(leaves: Leaves, path: Path, change: Callable[[Leaves], pa.Array]) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    values = leaves.values
    arrays, fields = [], []
    for number, field in enumerate(values.type):
        inner = pc.struct_field(values, [number])
        if field.name == path[0]:
            inner = _changed(Leaves(inner, leaves.rows), path[1:], change)
        arrays.append(inner)
        fields.append(pa.field(field.name, inner.type))
    return pa.StructArray.from_arrays(arrays, fields=fields, mask=values.is_null())


def _in_list(leaves: Leaves, path: Path, change: Callable[[Leaves], pa.Array]) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    values = leaves.values
    parents = pc.list_parent_indices(values).cast(pa.int64())
    rows = parents if leaves.rows is None else leaves.rows.take(parents)
    inner = _changed(Leaves(values.flatten(), rows), path, change)
    lengths = pc.fill_null(pc.list_value_length(values), 0).cast(pa.int32())
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths)])
    return pa.ListArray.from_arrays(offsets, inner, mask=values.is_null())


__all__ = ["Leaves", "changed", "has_field"]
