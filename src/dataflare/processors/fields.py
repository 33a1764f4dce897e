"""Columns and the fields of their structs as one tree of SQL, to set, rename, drop and keep by dotted paths."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dataflare.errors import WorkflowError
from dataflare.expression.session import quoted
from dataflare.processors.columns import missing
from dataflare.schema import Schema, arrow_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pyarrow as pa

    from dataflare.schema import Column


@dataclass(slots=True)
class Value:
    """An expression; `kind` is its type where it is a column or a field that comes in."""

    sql: str
    kind: pa.DataType | None = None


@dataclass(slots=True)
class Struct:
    """Fields by name. `before` is the SQL of the struct that came in, if one did; with `made` a field was set in it."""

    before: str = ""
    fields: dict[str, Node] = field(default_factory=dict)
    made: bool = False


Node = Value | Struct


class Fields:
    """The columns of a node, in order.

    A name is that of a column if there is one of it, dots or not; else its parts are those of a path. Errors begin
    with the setting that names the path.
    """

    def __init__(self, schema: Schema) -> None:
        """Begin with the columns that come in."""
        self._top = Struct(fields={c.name: Value(quoted(c.name), arrow_type(c.type)) for c in schema})

    @classmethod
    def within(cls, column: Column) -> Fields:
        """Begin with the fields of a struct that comes in."""
        whole = quoted(column.name)
        fields: dict[str, Node] = {f.name: Value(f"{whole}.{quoted(f.name)}", f.type) for f in arrow_type(column.type)}
        found = cls(Schema())
        found._top = Struct(whole, fields)
        return found

    def packed(self) -> str:
        """Return the SQL of a struct of the columns, null where that of `within` is."""
        return _sql(self._top)

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return list(self._top.fields)

    def columns(self) -> dict[str, str]:
        """Return the SQL of each column."""
        return {name: _sql(node) for name, node in self._top.fields.items()}

    def put(self, values: Iterable[tuple[str, Node]], setting: str) -> None:
        """Set columns and fields by path; structs that are not there are made."""
        taken: dict[tuple[str, ...], str] = {}
        for path, node in values:
            parts = self._parts(path)
            if not all(parts):
                raise WorkflowError(f"{setting}: {path!r} has an empty part", hint="write a name between the dots")
            for end in range(1, len(parts)):
                taken.setdefault(parts[:end], "struct")
            if taken.setdefault(parts, "value") != "value" or "value" in map(taken.get, _above(parts)):
                what = f"{setting}: {path!r} makes {parts[-1]!r} both a value and a struct"
                raise WorkflowError(what, hint="give one of them another name")
            inner = self._top
            for end, part in enumerate(parts[:-1], 1):
                if part not in inner.fields:
                    inner.fields[part] = Struct()
                inner = self._opened(inner, part, ".".join(parts[:end]), setting)
                inner.made = True
            inner.fields[parts[-1]] = node

    def rename(self, names: Mapping[str, str]) -> None:
        """Give columns and fields other names or places, all at once; one that stays in its struct keeps its place."""
        new_ones = self._new_ones(names)
        holders: dict[int, Struct] = {}
        staying: dict[tuple[int, str], str] = {}
        moved: dict[tuple[int, str], tuple[str, Node]] = {}
        for (old, new), after in zip(names.items(), new_ones, strict=True):
            before = self._parts(old)
            holder = self._holder(before, "rename")
            holders[id(holder)], key = holder, (id(holder), before[-1])
            if before[:-1] == after[:-1]:
                staying[key] = after[-1]
            else:
                moved[key] = new, holder.fields[before[-1]]
        for number, holder in holders.items():
            renamed: dict[str, Node] = {}
            for name, node in holder.fields.items():
                if (number, name) in moved:
                    continue
                new = staying.get((number, name), name)
                if new in renamed:
                    raise _taken(new)
                renamed[new] = node
            holder.fields = renamed
        for new, node in moved.values():
            if self._is_there(self._parts(new)):
                raise _taken(new)
            self.put([(new, node)], "rename")

    def _new_ones(self, names: Mapping[str, str]) -> list[tuple[str, ...]]:
        """Return the paths of new names, which must differ."""
        paths = [self._parts(new) for new in names.values()]
        for new, parts in zip(names.values(), paths, strict=True):
            if paths.count(parts) > 1:
                what = f"rename: two columns would be called {new!r}"
                raise WorkflowError(what, hint="give one of them another name")
        return paths

    def drop(self, path: str) -> None:
        """Leave a column or a field out."""
        parts = self._parts(path)
        del self._holder(parts, "drop").fields[parts[-1]]

    def keep(self, paths: Iterable[str]) -> None:
        """Leave all others out; columns and fields get the order of the paths."""
        kept = Struct(self._top.before)
        for path in paths:
            parts = self._parts(path)
            node = self._holder(parts, "keep").fields[parts[-1]]
            new, old = kept, self._top
            for part in parts[:-1]:
                inner = old.fields[part]
                assert isinstance(inner, Struct)
                held = new.fields.setdefault(part, Struct(inner.before, made=inner.made))
                if isinstance(held, Value):
                    break  # the whole of it is kept
                new, old = held, inner
            else:
                new.fields[parts[-1]] = node
        self._top = kept

    def find(self, path: str, setting: str) -> None:
        """Raise WorkflowError where there is no such column or field."""
        self._holder(self._parts(path), setting)

    def _parts(self, path: str) -> tuple[str, ...]:
        return (path,) if path in self._top.fields else tuple(path.split("."))

    def _is_there(self, parts: tuple[str, ...]) -> bool:
        """Tell whether there is such a column or field."""
        import pyarrow as pa

        inner = self._top
        for end, part in enumerate(parts[:-1], 1):
            node = inner.fields.get(part)
            if node is None or (isinstance(node, Value) and not (node.kind and pa.types.is_struct(node.kind))):
                return False
            inner = self._opened(inner, part, ".".join(parts[:end]), "rename")
        return parts[-1] in inner.fields

    def _holder(self, parts: tuple[str, ...], setting: str) -> Struct:
        """Return the struct whose field a path is; raise WorkflowError where there is none."""
        inner = self._top
        for end, part in enumerate(parts, 1):
            if part not in inner.fields:
                what = f"column {part!r}" if end == 1 else f"field {part!r} in {'.'.join(parts[: end - 1])!r}"
                raise missing(f"{setting}: there is no {what}", part, inner.fields, ".".join(parts))
            if end < len(parts):
                inner = self._opened(inner, part, ".".join(parts[:end]), setting)
        return inner

    @staticmethod
    def _opened(inner: Struct, part: str, path: str, setting: str) -> Struct:
        """Return a field as a struct; it may be one that comes in and was not looked into yet."""
        import pyarrow as pa

        node = inner.fields[part]
        if isinstance(node, Struct):
            return node
        if node.kind is None:
            what = f"{setting}: {path!r} is made by an expression of this node"
            raise WorkflowError(what, hint="change its fields in a mapping behind this one")
        if not pa.types.is_struct(node.kind):
            hint = "explode the list first" if pa.types.is_list(node.kind) else "choose another name"
            raise WorkflowError(f"{setting}: {path!r} is of type {node.kind}, not a struct", hint=hint)
        fields: dict[str, Node] = {f.name: Value(f"{node.sql}.{quoted(f.name)}", f.type) for f in node.kind}
        opened = inner.fields[part] = Struct(node.sql, fields)
        return opened


def _above(parts: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [parts[:end] for end in range(1, len(parts))]


def _struct(node: Node) -> Struct:
    assert isinstance(node, Struct)
    return node


def _taken(name: str) -> WorkflowError:
    return WorkflowError(f"rename: there is a column {name!r} already", hint=f"drop {name!r} in a node before")


def _sql(node: Node) -> str:
    """Return the SQL of a value; a struct that came in and only lost or renamed fields stays null where it is."""
    if isinstance(node, Value):
        return node.sql
    fields = ", ".join(f"{quoted(name)} := {_sql(inner)}" for name, inner in node.fields.items())
    if not fields:
        raise WorkflowError("a struct would have no fields", hint="drop the whole of it")
    packed = f"struct_pack({fields})"
    return f"case when {node.before} is not null then {packed} end" if node.before and not node.made else packed


__all__ = ["Fields", "Value"]
