"""Reads JSON objects in texts: members become columns, and one of another type is a fault of its row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.expression.session import quoted
from dataflare.processors.parsing.reading import TEXT, Reading, converted, mismatch, types_in_sql
from dataflare.schema import arrow_type, type_text
from dataflare.sql.quoting import literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from dataflare.processors.parsing.reading import Wanted

_NESTED = ("list", "struct", "map")


def json_reading(wanted: Sequence[Wanted], paths: Mapping[str, str]) -> Reading:
    """Return how members of an object are read, each by its own name or by its path.

    A member that is not there, or is null, is null. An object or a list is no scalar, and the other way round.
    """
    pointers = ", ".join(literal(_pointer(paths.get(w.name), w.name)) for w in wanted)
    texts: dict[str, str] = {}
    values: list[str] = []
    faults = [("__kind is null", "the text is no JSON"), ("__kind <> 'OBJECT'", "the JSON is no object")]
    for n, column in enumerate(wanted, 1):
        found = f"__values[{n}]"
        if column.type.startswith(_NESTED):
            kind = arrow_type(column.type)
            doubt = f"coalesce({_doubt(found, kind, 0)}, false)"
            texts[column.name] = f"case when not {doubt} then {_value(found, kind, 0)} end"
            values.append(column.name)
            faults.append((doubt, mismatch(column)))
        elif column.type == "json":
            texts[column.name] = f"case when __kinds[{n}] <> 'NULL' then cast({found} as varchar) end"
        else:
            texts[column.name] = f"case when __kinds[{n}] not in ('OBJECT', 'ARRAY') then __texts[{n}] end"
            faults.append((f"__kinds[{n}] in ('OBJECT', 'ARRAY')", mismatch(column)))
    extracted = [
        ("__kind", "json_type(__json)"),
        ("__kinds", f"json_type(__json, [{pointers}])"),
        ("__texts", f"json_extract_string(__json, [{pointers}])"),
    ]
    if values or any(w.type == "json" for w in wanted):
        extracted.append(("__values", f"json_extract(__json, [{pointers}])"))
    valid = ("__json", f"case when json_valid({TEXT}) then {TEXT} end")
    return Reading(((valid,), tuple(extracted)), texts, tuple(faults), frozenset(values))


def _value(json: str, kind: pa.DataType, depth: int) -> str:
    """Return the SQL of the value of a JSON value, null where it has none of this type."""
    import pyarrow as pa

    each = f"__e{depth}"
    if pa.types.is_struct(kind):
        fields = (f"{quoted(f.name)} := {_value(_member(json, f.name), f.type, depth)}" for f in kind)
        return f"case json_type({json}) when 'OBJECT' then struct_pack({', '.join(fields)}) end"
    if pa.types.is_map(kind):
        entries = f"try_cast({json} as map(varchar, json))"
        inner = f"list_transform(map_values({entries}), lambda {each}: {_value(each, kind.item_type, depth + 1)})"
        (keys,) = types_in_sql([type_text(kind.key_type)])
        names = f"list_transform(map_keys({entries}), lambda {each}: try_cast({each} as {keys}))"
        return f"case json_type({json}) when 'OBJECT' then map({names}, {inner}) end"
    if pa.types.is_list(kind):
        elements = f"try_cast({json} as json[])"
        inner = f"list_transform({elements}, lambda {each}: {_value(each, kind.value_type, depth + 1)})"
        return f"case json_type({json}) when 'ARRAY' then {inner} end"
    (name,) = types_in_sql([type_text(kind)])
    scalar = converted(f"json_extract_string({json}, '$')", type_text(kind), name)
    return f"case when json_type({json}) not in ('OBJECT', 'ARRAY') then {scalar} end"


def _doubt(json: str, kind: pa.DataType, depth: int) -> str:
    """Return the condition that a JSON value, or a value in it, is not of this type; it may be null for no."""
    import pyarrow as pa

    each = f"__e{depth}"
    what = f"json_type({json})"
    if pa.types.is_struct(kind):
        inner = [_doubt(_member(json, f.name), f.type, depth) for f in kind]
        return " or ".join([f"({what} not in ('OBJECT', 'NULL'))", *inner])
    if pa.types.is_map(kind):
        entries = f"try_cast({json} as map(varchar, json))"
        bad = f"list_filter(map_values({entries}), lambda {each}: {_doubt(each, kind.item_type, depth + 1)})"
        return f"({what} not in ('OBJECT', 'NULL')) or ({what} = 'OBJECT' and {entries} is null) or (len({bad}) > 0)"
    if pa.types.is_list(kind):
        bad = f"list_filter(try_cast({json} as json[]), lambda {each}: {_doubt(each, kind.value_type, depth + 1)})"
        return f"({what} not in ('ARRAY', 'NULL')) or (len({bad}) > 0)"
    return f"({what} <> 'NULL' and {_value(json, kind, depth)} is null)"


def _member(json: str, name: str) -> str:
    return f"json_extract({json}, {literal(_pointer(None, name))})"


def _pointer(path: str | None, name: str) -> str:
    """Return the JSON pointer of a member, or of a dotted path; pointers and paths of JSONPath stay as they are."""
    if path is not None and path.startswith(("$", "/")):
        return path
    parts = [name] if path is None else path.split(".")
    return "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in parts)


__all__ = ["json_reading"]
