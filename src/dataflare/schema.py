"""The shape of rows: named, typed, tagged columns, written in words that need no library to read.

Types: `bool`, `int8`..`int64`, `uint8`..`uint64`, `float32`, `float64`, `decimal(p,s)`, `string`, `binary`, `date`,
`time`, `timestamp` (an instant: microseconds in UTC), `datetime` (microseconds without a zone), `interval`, `null`,
`json` (text that holds JSON), `list<T>`, `struct<name: T, ...>`, `map<K, V>`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from dataflare.errors import WorkflowError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import pyarrow as pa

_ALIASES = {
    "boolean": "bool",
    "tinyint": "int8",
    "smallint": "int16",
    "int": "int64",
    "integer": "int64",
    "bigint": "int64",
    "long": "int64",
    "float": "float64",
    "double": "float64",
    "real": "float32",
    "number": "float64",
    "text": "string",
    "str": "string",
    "varchar": "string",
    "bytes": "binary",
    "timestamptz": "timestamp",
}
_SIMPLE = {
    *("bool", "float32", "float64", "string", "binary", "date", "time", "timestamp", "datetime"),
    *("interval", "null", "json"),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
}
Path = tuple[str, ...]
Mark = tuple[Path, str]
Told = Literal["", "value", "key"]
"""A change may leave the value out, tells it unless it is a delete, or tells one that is the same all along."""

_TOLD: tuple[Told, ...] = ("", "value", "key")
_TOKEN = re.compile(r"\s*([A-Za-z_][\w]*|\"[^\"]+\"|\d+|[<>(),:])")


@dataclass(frozen=True, slots=True)
class Column:
    """One column; `type` is a canonical type text.

    `tags` tell what its values hold, such as `pii.email`. `places` tell where inside a nested column: pairs of the path
    of a field (a list stands for each of its items) and a tag. A tag without a place is one of the whole column.
    `told` matters where changes may leave values out as unchanged: how far this one is told all the same.
    """

    name: str
    type: str
    nullable: bool = True
    tags: tuple[str, ...] = ()
    places: tuple[tuple[Path, str], ...] = ()
    told: Told = ""

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Every tag with its path; the path of one of the whole column is empty."""
        placed = {tag for _, tag in self.places}
        return (*(((), tag) for tag in self.tags if tag not in placed), *self.places)

    def marked(self, marks: Iterable[Mark]) -> Column:
        """Return a copy with these tags and no others; what lies inside of another of the same tag is left out.

        A tag of a field that the type does not have is one of the whole column: JSON and maps are not looked into.
        """
        wanted = dict.fromkeys((p if p and field_type(self.type, p) is not None else (), tag) for p, tag in marks)
        outer = [m for m in wanted if not any(o != m and o[1] == m[1] and o[0] == m[0][: len(o[0])] for o in wanted)]
        whole = {tag for path, tag in outer if not path}
        places = tuple(m for m in outer if m[0] and m[1] not in whole)
        return replace(self, tags=tuple(dict.fromkeys(tag for _, tag in outer)), places=places)


@dataclass(frozen=True, slots=True)
class Schema:
    """Columns in order; names are unique."""

    columns: tuple[Column, ...] = ()

    @classmethod
    def of(cls, types: Mapping[str, str] | Iterable[tuple[str, str]]) -> Self:
        """Build from names and type texts, aliases allowed; raise WorkflowError on an unknown type."""
        pairs = types.items() if hasattr(types, "items") else types
        return cls(tuple(Column(name, canonical(text)) for name, text in pairs))

    @property
    def names(self) -> list[str]:
        """The names in order."""
        return [c.name for c in self.columns]

    def __iter__(self) -> Iterator[Column]:
        """Yield the columns in order."""
        return iter(self.columns)

    def __contains__(self, name: str) -> bool:
        """Tell whether there is a column of that name."""
        return any(c.name == name for c in self.columns)

    def __getitem__(self, name: str) -> Column:
        """Return the column of that name, or raise KeyError."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def select(self, names: Iterable[str]) -> Schema:
        """Return these columns in this order."""
        return Schema(tuple(self[n] for n in names))

    def tagged(self, tags: Mapping[str, Iterable[str]]) -> Schema:
        """Return a copy whose named columns carry these tags too, as a whole."""
        marked = (c.marked([*c.marks, *(((), t) for t in tags[c.name])]) if c.name in tags else c for c in self.columns)
        return Schema(tuple(marked))

    def beside(self, others: Iterable[Schema]) -> Schema:
        """Return a copy for rows that come by several inputs: a column has the tags that it has in any of them.

        Where all have the same columns, one is nullable if it is in any.
        """
        others = [o for o in others if o is not self]
        alike = all([(c.name, c.type) for c in o] == [(c.name, c.type) for c in self] for o in others)
        return Schema(tuple(_beside(c, [o[c.name] for o in others if c.name in o], alike=alike) for c in self.columns))

    def to_json(self) -> list[dict[str, Any]]:
        """Return a list of plain objects."""
        return [
            {"name": c.name, "type": c.type, "nullable": c.nullable, "tags": list(c.tags)}
            | ({"places": [[list(path), tag] for path, tag in c.places]} if c.places else {})
            | ({"told": c.told} if c.told else {})
            for c in self.columns
        ]

    @classmethod
    def from_json(cls, value: Iterable[Mapping[str, Any]]) -> Self:
        """Read what `to_json` wrote."""
        return cls(tuple(_column(c) for c in value))

    def to_arrow(self) -> pa.Schema:
        """Return the Arrow schema of batches of this shape."""
        import pyarrow as pa

        return pa.schema([pa.field(c.name, arrow_type(c.type), c.nullable) for c in self.columns])

    @classmethod
    def from_arrow(cls, schema: pa.Schema) -> Self:
        """Read an Arrow schema; raise WorkflowError for a type that DataFlare does not carry."""
        return cls(tuple(Column(f.name, type_text(f.type), f.nullable) for f in schema))

    def __str__(self) -> str:
        """Render as `name type, name type`."""
        return ", ".join(f"{c.name} {c.type}" for c in self.columns)


@dataclass(frozen=True, slots=True)
class _Type:
    """A parsed type: its word, its numbers, its inner types and their names."""

    word: str
    numbers: tuple[int, ...] = ()
    inner: tuple[_Type, ...] = ()
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.word == "decimal":
            return f"decimal({self.numbers[0]},{self.numbers[1]})"
        if self.word == "struct":
            return f"struct<{', '.join(f'{_quoted(n)}: {t}' for n, t in zip(self.names, self.inner, strict=True))}>"
        return f"{self.word}<{', '.join(map(str, self.inner))}>" if self.inner else self.word


def _column(value: Mapping[str, Any]) -> Column:
    places = tuple((tuple(path), tag) for path, tag in value.get("places", ()))
    tags = tuple(value.get("tags", ()))
    return Column(value["name"], value["type"], value.get("nullable", True), tags, places, value.get("told", ""))


def _beside(column: Column, others: list[Column], *, alike: bool) -> Column:
    nullable = column.nullable or (alike and any(o.nullable for o in others))
    told = min((c.told for c in (column, *others)), key=_TOLD.index)
    return replace(column, nullable=nullable, told=told).marked([*column.marks, *(m for o in others for m in o.marks)])


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_]\w*", name) else f'"{name}"'


def canonical(text: str) -> str:
    """Return the canonical text of a type; raise WorkflowError when it is not one."""
    return str(_parse(text))


def field_type(text: str, path: Path) -> str | None:
    """Return the type of a field inside a type, None where there is none; a list stands for each of its items."""
    found = _inner(_parse(text), path)
    return None if found is None else str(found)


def with_field_type(text: str, path: Path, kind: str) -> str:
    """Return a type whose field at `path` is of type `kind`; the field must be there."""
    return str(_changed(_parse(text), path, _parse(kind)))


def _inner(kind: _Type, path: Path) -> _Type | None:
    if not path:
        return kind
    if kind.word == "list":
        return _inner(kind.inner[0], path)
    if kind.word != "struct" or path[0] not in kind.names:
        return None
    return _inner(kind.inner[kind.names.index(path[0])], path[1:])


def _changed(kind: _Type, path: Path, new: _Type) -> _Type:
    if not path:
        return new
    at, rest = (0, path) if kind.word == "list" else (kind.names.index(path[0]), path[1:])
    inner = tuple(_changed(t, rest, new) if n == at else t for n, t in enumerate(kind.inner))
    return replace(kind, inner=inner)


def _parse(text: str) -> _Type:
    tokens = _TOKEN.findall(text)
    if "".join(tokens).replace(" ", "") != re.sub(r"\s+", "", text):
        raise _unknown(text)
    found, rest = _parse_tokens(tokens, text)
    if rest:
        raise _unknown(text)
    return found


def _parse_tokens(tokens: list[str], text: str) -> tuple[_Type, list[str]]:
    if not tokens:
        raise _unknown(text)
    word, rest = tokens[0].lower(), tokens[1:]
    word = _ALIASES.get(word, word)
    if word in ("decimal", "numeric"):
        if rest[:1] == ["("] and len(rest) >= 5 and rest[2] == "," and rest[4] == ")":  # noqa: PLR2004
            return _Type("decimal", (int(rest[1]), int(rest[3]))), rest[5:]
        return _Type("decimal", (38, 9)), rest
    if word in _SIMPLE:
        return _Type(word), rest
    if word not in ("list", "struct", "map") or rest[:1] != ["<"]:
        raise _unknown(text)
    inner, names, rest = [], [], rest[1:]
    while rest and rest[0] != ">":
        if word == "struct":
            if rest[1:2] != [":"]:
                raise _unknown(text)
            names.append(rest[0].strip('"'))
            rest = rest[2:]
        child, rest = _parse_tokens(rest, text)
        inner.append(child)
        rest = rest[1:] if rest[:1] == [","] else rest
    if not rest or len(inner) != {"list": 1, "map": 2}.get(word, len(inner)):
        raise _unknown(text)
    return _Type(word, (), tuple(inner), tuple(names)), rest[1:]


def _unknown(text: str) -> WorkflowError:
    return WorkflowError(
        f"{text!r} is not a type",
        hint="such as int64, float64, decimal(12,2), string, bool, date, timestamp, list<string>",
    )


def arrow_type(text: str) -> pa.DataType:
    """Return the Arrow type of a type text."""
    return _arrow(_parse(text))


def _arrow(kind: _Type) -> pa.DataType:
    import pyarrow as pa

    if kind.word == "decimal":
        return pa.decimal128(*kind.numbers)
    if kind.word == "list":
        return pa.list_(_arrow(kind.inner[0]))
    if kind.word == "map":
        return pa.map_(_arrow(kind.inner[0]), _arrow(kind.inner[1]))
    if kind.word == "struct":
        return pa.struct([pa.field(n, _arrow(t)) for n, t in zip(kind.names, kind.inner, strict=True)])
    special = {
        "bool": pa.bool_,
        "date": pa.date32,
        "time": lambda: pa.time64("us"),
        "timestamp": lambda: pa.timestamp("us", "UTC"),
        "datetime": lambda: pa.timestamp("us"),
        "interval": pa.month_day_nano_interval,
        "json": pa.string,
    }
    make = special.get(kind.word) or getattr(pa, kind.word)
    made: pa.DataType = make()
    return made


def type_text(kind: pa.DataType) -> str:
    """Return the type text of an Arrow type, its nearest canonical one where several are alike."""
    import pyarrow as pa

    t = pa.types
    if t.is_dictionary(kind):
        return type_text(kind.value_type)
    if t.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if t.is_timestamp(kind):
        return "timestamp" if kind.tz else "datetime"
    return _nested_text(kind) if t.is_nested(kind) else _simple_text(kind)


def _nested_text(kind: pa.DataType) -> str:
    import pyarrow as pa

    if pa.types.is_map(kind):
        if pa.types.is_null(kind.key_type):
            raise WorkflowError("a map of nothing has no type for its keys", hint="such as map([''], [1])")
        return f"map<{type_text(kind.key_type)}, {type_text(kind.item_type)}>"
    if pa.types.is_struct(kind):
        return f"struct<{', '.join(f'{_quoted(f.name)}: {type_text(f.type)}' for f in kind)}>"
    if hasattr(kind, "value_type"):
        return f"list<{type_text(kind.value_type)}>"
    raise WorkflowError(f"columns of the Arrow type {kind} are not carried")


def _simple_text(kind: pa.DataType) -> str:
    import pyarrow as pa

    t = pa.types
    checks = (
        (t.is_boolean, "bool"),
        (t.is_string, "string"),
        (t.is_large_string, "string"),
        (t.is_string_view, "string"),
        (t.is_binary, "binary"),
        (t.is_large_binary, "binary"),
        (t.is_fixed_size_binary, "binary"),
        (t.is_date, "date"),
        (t.is_time, "time"),
        (t.is_duration, "interval"),
        (t.is_interval, "interval"),
        (t.is_float16, "float32"),
        (t.is_float32, "float32"),
        (t.is_float64, "float64"),
        (t.is_integer, str(kind)),
        (t.is_null, "null"),
    )
    for check, text in checks:
        if check(kind):
            return text
    raise WorkflowError(f"columns of the Arrow type {kind} are not carried")


REJECTED = Schema(
    (
        Column("error", "string"),
        Column("node", "string"),
        Column("row", "string"),
        Column("file", "string"),
        Column("line", "int64"),
        Column("code", "string"),
        Column("input", "string"),
        Column("workflow", "string"),
        Column("epoch", "int64"),
        Column("attempt", "int64"),
        Column("split", "string"),
        Column("position", "string"),
        Column("time", "timestamp"),
        Column("id", "string"),
        Column("replays", "int64"),
    )
)
"""The output `errors` of every node.

`error` is the reason and `code` its kind; `row` is the row as it came (text, or JSON), which came by `input` (an
output of a node; null for rows of a source) and stood in `file` at `line`, as far as that is known. `split` is the part
of the source that was read, `position` where it went on behind the batch. `time` is that of the epoch; `id` tells
rejected rows of a workflow apart; `replays` is how often the row was replayed before.
"""
