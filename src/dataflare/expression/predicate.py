"""Writes a condition down in a form that a database can be asked for, where every part of it is simple enough.

A form is made of lists: ["and", A, B], ["or", A, B], ["not", A], ["null", COLUMN], ["=", COLUMN, VALUE], with `<>`,
`<`, `<=`, `>`, `>=` likewise, ["between", COLUMN, LOW, HIGH], ["in", COLUMN, VALUE ...], ["like", COLUMN, VALUE]; a
COLUMN is ["column", its name, its type], a VALUE ["value", its text]. Values are of the type of their column, and none
of these parts can fail. All or nothing: the rest of a condition might fail on a row that its first part leaves out.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any

from dataflare.expression.session import folded

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataflare.expression.catalogue import Tree
    from dataflare.schema import Column, Schema

Form = list[Any]

_COMPARED = {
    "COMPARE_EQUAL": ("=", "="),
    "COMPARE_NOTEQUAL": ("<>", "<>"),
    "COMPARE_LESSTHAN": ("<", ">"),
    "COMPARE_LESSTHANOREQUALTO": ("<=", ">="),
    "COMPARE_GREATERTHAN": (">", "<"),
    "COMPARE_GREATERTHANOREQUALTO": (">=", "<="),
}
"""What stands between a column and a value, and what between a value and a column."""
_DECIMAL = re.compile(r"decimal\((\d+),(\d+)\)")
_DIGITS_MAX = 18
"""A number of more digits may be compared in a type that does not hold every value of the column."""
_TIME = r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d:\d\d)(\.\d{1,6})?%s)?"
_TIMES = {
    "date": (re.compile(r"(\d{4}-\d\d-\d\d)()()"), ("date",)),
    "datetime": (re.compile(_TIME % ""), ("timestamp", "datetime")),
    "timestamp": (re.compile(_TIME % r"(?:Z|\+00(?::00)?)?"), ("timestamptz", "timestamp with time zone")),
}


def predicate_of(tree: Tree, schema: Schema, takes: Callable[[Column, str], bool]) -> Form | None:
    """Return the form of a condition over rows of a schema; None where it has none.

    `takes` tells whether a column can be compared by a sign as we do it.
    """
    return _Forming(schema, takes).form(tree)


class _Forming:
    def __init__(self, schema: Schema, takes: Callable[[Column, str], bool]) -> None:
        self._schema, self._takes = schema, takes

    def form(self, node: Tree) -> Form | None:
        kind, sort = node["type"], node["class"]
        if sort == "CONJUNCTION":
            parts = [self.form(child) for child in node["children"]]
            return None if None in parts else ["and" if kind == "CONJUNCTION_AND" else "or", *parts]
        if sort == "COMPARISON":
            return self._compared(node)
        if sort == "BETWEEN":
            return self._of_column("between", node["input"], [node["lower"], node["upper"]])
        if sort == "FUNCTION" and node["function_name"] in ("~~", "!~~") and node["is_operator"]:
            text, pattern = (a["expression"] for a in node["arguments"])
            like = self._of_column("like", text, [pattern])
            return ["not", like] if like and node["function_name"] == "!~~" else like
        if sort == "COLUMN_REF":
            column = self._column(node, "=")
            return ["=", column, ["value", "true"]] if column and column[2] == "bool" else None
        return self._operator(node) if sort == "OPERATOR" else None

    def _operator(self, node: Tree) -> Form | None:
        kind, (first, *rest) = node["type"], node["children"]
        if kind == "OPERATOR_NOT":
            inner = self.form(first)
            return inner and ["not", inner]
        if kind in ("OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL"):
            column = self._column(first, "null")
            null: Form | None = ["null", column] if column else None
            return ["not", null] if null and kind == "OPERATOR_IS_NOT_NULL" else null
        return self._of_column("in", first, rest) if kind == "COMPARE_IN" and rest else None

    def _compared(self, node: Tree) -> Form | None:
        if node["type"] not in _COMPARED:
            return None
        sign, turned = _COMPARED[node["type"]]
        if node["left"]["class"] == "COLUMN_REF":
            return self._of_column(sign, node["left"], [node["right"]])
        return self._of_column(turned, node["right"], [node["left"]])

    def _of_column(self, sign: str, left: Tree, right: list[Tree]) -> Form | None:
        column = self._column(left, sign)
        if column is None:
            return None
        values = [_value(node, column[2], pattern=sign == "like") for node in right]
        return None if None in values else [sign, column, *(["value", v] for v in values)]

    def _column(self, node: Tree, sign: str) -> Form | None:
        if node["class"] != "COLUMN_REF" or len(node["column_names"]) != 1:
            return None
        (name,) = node["column_names"]
        found = [c for c in self._schema if c.name == name] or [
            c for c in self._schema if folded(c.name) == folded(name)
        ]
        if len(found) != 1 or not self._takes(found[0], sign):
            return None
        return ["column", found[0].name, found[0].type]


def _value(node: Tree, kind: str, *, pattern: bool) -> str | None:
    """Return the text of a literal that is exactly a value of a type."""
    named = ""
    if node["class"] == "CAST" and not node["try_cast"]:
        named, node = node["type_expr"].get("type_name", "?").lower(), node["child"]
    if node["class"] != "CONSTANT":
        return None
    text, sort = str(node["literal"]["text"]), node["literal"]["kind"]
    if kind in _TIMES:
        form, names = _TIMES[kind]
        return _time(text, form) if sort == "STRING" and named in ("", *names) else None
    if named or (pattern and kind != "string"):
        return None
    if kind == "string":
        plain = sort == "STRING" and "\0" not in text
        return text if plain and not (pattern and re.search(r"[_\\]", text)) else None
    if kind == "bool":
        return text.lower() if sort == "BOOLEAN" else None
    return _number(text, kind) if sort in ("INTEGER", "NUMERIC") else None


def _number(text: str, kind: str) -> str | None:
    found = re.fullmatch(r"-?(\d+)(?:\.(\d+))?", text)
    if found is None:
        return None
    if decimal := _DECIMAL.fullmatch(kind):
        precision, scale = int(decimal[1]), int(decimal[2])
        fits = precision <= _DIGITS_MAX and len(found[1]) <= precision - scale and len(found[2] or "") <= scale
        return text if fits else None
    whole = kind in ("int16", "int32", "int64") and found[2] is None and len(found[1]) <= _DIGITS_MAX
    return text if whole else None


def _time(text: str, form: re.Pattern[str]) -> str | None:
    found = form.fullmatch(text)
    if found is None:
        return None
    day, clock, fraction = found.groups()
    try:
        dt.datetime.fromisoformat(f"{day}T{clock or '00:00:00'}")
    except ValueError:
        return None
    return f"{day} {clock}{fraction or ''}" if clock else day


__all__ = ["Form", "predicate_of"]
