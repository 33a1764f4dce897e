"""Reads Avro with unions of several types: each is a struct with a field for each type, of which one has the value.

The library that makes columns of blocks reads no such unions; these files are read row by row by another one.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.errors import DataError, UnavailableError

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Sequence

_PLAIN: dict[str, tuple[pa.DataType, type]] = {
    "null": (pa.null(), type(None)),
    "boolean": (pa.bool_(), bool),
    "int": (pa.int32(), int),
    "long": (pa.int64(), int),
    "float": (pa.float32(), float),
    "double": (pa.float64(), float),
    "bytes": (pa.binary(), bytes),
    "string": (pa.string(), str),
}
_INSTANT, _READING = pa.timestamp("us", "UTC"), pa.timestamp("us")
_WIDER = {"int": "long", "float": "double"}


@dataclass(frozen=True, slots=True)
class _Shape:
    """How values of a type arrive and leave; `word` names its branch in a union, `arrives` is the class of a value."""

    word: str
    kind: pa.DataType
    arrives: Any
    turned: Callable[[Any], Any] | None = None

    def of(self, value: Any) -> Any:
        return value if self.turned is None or value is None else self.turned(value)


class UnionReader:
    """Reads blocks of files of one schema."""

    def __init__(self, schema: dict[str, Any]) -> None:
        """Take a schema that was judged; raise DataError for a union whose types cannot be told apart."""
        self._named: dict[str, _Shape] = {}
        self._shapes = {str(f["name"]): self._shape(f["type"], str(f["name"])) for f in schema["fields"]}
        self.schema = pa.schema([(name, shape.kind) for name, shape in self._shapes.items()])

    def decoded(self, raw: io.BytesIO, columns: Sequence[str]) -> pa.Table:
        """Return these columns of a file in memory; raise DataError where it is damaged."""
        try:
            import fastavro
        except ImportError as error:
            hint = "pip install 'dataflare[avro]'"
            raise UnavailableError("unions of several types need the package fastavro", hint=hint) from error
        try:
            rows: list[Any] = list(fastavro.reader(raw, return_named_type=True))
        except (ValueError, EOFError, KeyError, IndexError, TypeError, OverflowError, OSError) as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise DataError(f"not a sound Avro file: {reason}", hint="was it copied in part?") from error
        made = [pa.array([self._shapes[n].of(r[n]) for r in rows], self._shapes[n].kind) for n in columns]
        return pa.Table.from_arrays(made, names=list(columns))

    def _shape(self, kind: Any, path: str) -> _Shape:
        if isinstance(kind, list):
            return self._union(kind, path)
        if isinstance(kind, str):
            if kind in _PLAIN:
                return _Shape(kind, *_PLAIN[kind])
            return self._named.get(kind) or self._named[kind.rpartition(".")[2]]
        word = kind["type"]
        if not isinstance(word, str):
            return self._shape(word, path)
        if (logical := _logical(kind)) is not None:
            return logical
        return self._nested(kind, word, path)

    def _nested(self, kind: dict[str, Any], word: str, path: str) -> _Shape:
        name = str(kind.get("name", word)).rpartition(".")[2]
        if word in ("record", "error"):
            inner = {str(f["name"]): self._shape(f["type"], f"{path}.{f['name']}") for f in kind["fields"]}
            struct = pa.struct([(n, s.kind) for n, s in inner.items()])
            made = _Shape(name, struct, name, lambda v: {n: s.of(v[n]) for n, s in inner.items()})
        elif word in ("enum", "fixed"):
            made = _Shape(name, pa.string() if word == "enum" else pa.binary(), name)
        elif word == "array":
            items = self._shape(kind["items"], path)
            return _Shape("array", pa.list_(items.kind), list, lambda v: [items.of(i) for i in v])
        elif word == "map":
            values = self._shape(kind["values"], path)
            pairs = pa.map_(pa.string(), values.kind)
            return _Shape("map", pairs, dict, lambda v: [(k, values.of(i)) for k, i in v.items()])
        else:
            return self._shape(word, path)
        self._named[name] = made
        return made

    def _union(self, kinds: list[Any], path: str) -> _Shape:
        found = [self._shape(k, path) for k in kinds if k != "null"]
        words = {s.word for s in found}
        branches = [s for s in found if _WIDER.get(s.word) not in words]
        by_class = {s.arrives: s for s in branches}
        if len(by_class) < len(branches):
            told = ", ".join(s.word for s in branches)
            raise DataError(f"the Avro field {path!r} is a union of {told}, whose values cannot be told apart")
        if len(branches) == 1:
            (only,) = branches
            return _Shape(only.word, only.kind, only.arrives, lambda v: only.of(_bare(v)[1]))

        def turned(value: Any) -> Any:
            name, bare = _bare(value)
            branch = by_class[name if name is not None else _class_of(bare)]
            return {branch.word: branch.of(bare)}

        return _Shape("union", pa.struct([(s.word, s.kind) for s in branches]), None, turned)


def _bare(value: Any) -> tuple[str | None, Any]:
    """Return the name of a named type and its value; of any other value there is no name."""
    return (value[0].rpartition(".")[2], value[1]) if isinstance(value, tuple) else (None, value)


def _class_of(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return _INSTANT if value.tzinfo is not None else _READING
    return type(value)


def _logical(kind: dict[str, Any]) -> _Shape | None:
    word = str(kind.get("logicalType", ""))
    if word == "decimal":
        return _Shape("decimal", pa.decimal128(kind["precision"], kind.get("scale", 0)), Decimal)
    if word == "date":
        return _Shape("date", pa.date32(), dt.date)
    if word.startswith("time-"):
        return _Shape("time", pa.time64("us"), dt.time)
    if word.startswith("timestamp-"):
        return _Shape("timestamp", _INSTANT, _INSTANT)
    return _Shape("datetime", _READING, _READING) if word.startswith("local-timestamp-") else None


__all__ = ["UnionReader"]
