"""Reads texts that hold fields between delimiters, and pairs of keys and values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dataflare.processors.parsing.reading import TEXT, Reading
from dataflare.sql.quoting import literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.processors.parsing.reading import Wanted

_ESCAPED, _ITSELF = literal(r"\\(.)"), literal(r"\1")


def csv_reading(wanted: Sequence[Wanted], delimiter: str, quote: str) -> Reading:
    """Return how the fields of a line are read, in the order of the columns.

    A field within quotes may hold delimiters, line ends, and quotes that stand there twice. An empty field without
    quotes is null. Every field has a column.
    """
    end, mark = re.escape(delimiter), re.escape(quote)
    field = rf"{mark}(?:[^{mark}]|{mark}{mark})*{mark}|[^{mark}{end}]*" if quote else f"[^{end}]*"
    whole = f"(?s)(?:{field})(?:{end}(?:{field}))*"
    each = f"(?s)({field}){end}"
    valid = f"regexp_full_match({TEXT}, {literal(whole)})"
    fields = f"case when __valid then regexp_extract_all({TEXT} || {literal(delimiter)}, {literal(each)}, 1) end"
    texts = {w.name: _unquoted(f"__fields[{n}]", quote) for n, w in enumerate(wanted, 1)}
    faults = (
        ("not __valid", "the quotes of the text are not closed, or stand inside a field"),
        (f"len(__fields) <> {len(wanted)}", f"the text has another number of fields than {len(wanted)}"),
    )
    return Reading(((("__valid", valid),), (("__fields", fields),)), texts, faults)


def _unquoted(field: str, quote: str) -> str:
    if not quote:
        return f"nullif({field}, '')"
    mark = literal(quote)
    inner = f"replace({field}[2:-2], {literal(quote * 2)}, {mark})"
    return f"case when starts_with({field}, {mark}) then {inner} else nullif({field}, '') end"


def pairs_reading(wanted: Sequence[Wanted], separator: str, sign: str, every: str) -> Reading:
    """Return how `key=value` pairs are read: each column by its key, and all as a map `every` where it is named.

    A value may stand in double quotes, in which a backslash takes the meaning of the next character away. Of a key
    that is there twice the first counts; a word without a value is `true`.
    """
    end, equals = re.escape(separator), re.escape(sign)
    blank = r"\s" if not separator.strip() else end
    key = rf"[^{blank}{equals}\"\s]+"
    value = rf'"(?:[^"\\]|\\.)*"|[^{blank}"][^{blank}]*|'
    pair = f"(?s)({key})(?:\\s*{equals}\\s*({value}))?" if separator.strip() else f"(?s)({key})(?:{equals}({value}))?"
    found = f"regexp_extract_all({TEXT}, {literal(pair)}, "
    levels = (
        (("__keys", f"{found}1)"), ("__wholes", f"{found}0)"), ("__raw", f"{found}2)")),
        (
            ("__told", f"list_transform(__wholes, lambda w: contains(w, {literal(sign)}))"),
            ("__plain", f"list_transform(__raw, lambda v: {_plain('v')})"),
        ),
        (("__values", "list_transform(__plain, lambda v, i: case when __told[i] then v else 'true' end)"),),
    )
    texts = {w.name: f"__values[list_position(__keys, {literal(w.name)})]" for w in wanted if w.name != every}
    faults = (("not list_contains(__told, true)", "the text holds no pair of a key and a value"),)
    if not every:
        return Reading(levels, texts, faults)
    firsts = "list_filter(__keys, lambda k, i: list_position(__keys, k) = i)"
    picked = f"list_transform({firsts}, lambda k: __values[list_position(__keys, k)])"
    texts[every] = f"case when list_contains(__told, true) then map({firsts}, {picked}) end"
    return Reading(levels, texts, faults, frozenset({every}))


def _plain(value: str) -> str:
    inner = f"regexp_replace({value}[2:-2], {_ESCAPED}, {_ITSELF}, 'gs')"
    return f"case when starts_with({value}, '\"') then {inner} else trim({value}) end"


__all__ = ["csv_reading", "pairs_reading"]
