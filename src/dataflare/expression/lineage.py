"""Follows values through an expression: which columns and fields its result may tell of, and when it cannot be null."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from dataflare.expression.catalogue import TIMES, Tree, walk
from dataflare.expression.session import folded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dataflare.schema import Mark, Path, Schema

COUNTS = frozenset({"count", "count_star", "count_if", "countif", "approx_count_distinct"})
"""Aggregates that tell how many values there are, and nothing of any."""

_ALTERNATIVES_MAX = 16
_NEVER_NULL = frozenset(
    (
        *("struct_pack", "list_value", "row", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL"),
        *("COMPARE_DISTINCT_FROM", "COMPARE_NOT_DISTINCT_FROM"),
    )
)
_NULL_BY_NULL = frozenset(
    (
        *("+", "-", "*", "~~", "!~~", "~~*", "!~~*", "||", "lower", "upper", "trim", "ltrim", "rtrim", "length"),
        *("reverse", "md5", "sha256", "abs", "concat_ws", "replace", "left", "right", "floor", "ceil", "round"),
        *("greatest", "least", "contains", "starts_with", "ends_with", "suffix", "prefix", "regexp_replace", "hash"),
    )
)
"""Functions that are null for a null argument only."""

Needs = frozenset[frozenset[str]]
"""When a value is not null: if, of one of these sets, no column is."""

ALWAYS: Needs = frozenset({frozenset()})
NOBODY_KNOWS: Needs = frozenset()


@dataclass(frozen=True, slots=True)
class Origin:
    """Something of `path` in `column` is in the result, at `into`; `whole`: just as it is, with all that is inside."""

    into: Path
    column: str
    path: Path
    whole: bool


def origins(tree: Tree, named: Callable[[str], str | None]) -> tuple[Origin, ...]:
    """Return what a result is made of; `named` gives the column that a name means, None where it means none."""
    return tuple(dict.fromkeys(_origins(tree, named)))


def _origins(node: Tree, named: Callable[[str], str | None]) -> Iterator[Origin]:
    kind, name = node["class"], str(node.get("function_name", "")).lower()
    place = _place(node, named)
    if place is not None:
        yield Origin((), place[0], place[1], whole=True)
    elif name == "struct_pack":
        for argument in node["arguments"]:
            field = argument["name"] or argument["expression"]["alias"]
            for inner in _origins(argument["expression"], named):
                yield Origin((field, *inner.into), inner.column, inner.path, inner.whole)
    elif (guarded := _guarded(node, named)) is not None:
        yield from _origins(guarded, named)
    elif not (kind == "FUNCTION" and name in COUNTS):
        if kind == "FUNCTION" and (column := named(node["qualified_name"]["path"][0])) is not None:
            yield from _of_method(node, column)
        for child in _children(node):
            for inner in _origins(child, named):
                yield Origin((), inner.column, inner.path, whole=False)


def _guarded(node: Tree, named: Callable[[str], str | None]) -> Tree | None:
    """Return what an expression is unless the struct is null that it reads fields of; None: it is no such one.

    That the struct is there tells nothing of what is in it.
    """
    if node["class"] != "CASE" or len(node["case_checks"]) != 1:
        return None
    (check,), otherwise = node["case_checks"], node["else_expr"]
    when: Tree = check["when_expr"]
    null = otherwise["class"] == "CONSTANT" and otherwise["literal"]["kind"] == "NULL_LITERAL"
    place = _place(_children(when)[0], named) if when["type"] == "OPERATOR_IS_NOT_NULL" else None
    then: Tree = check["then_expr"]
    if not null or place is None or str(then.get("function_name", "")).lower() != "struct_pack":
        return None
    inside = (o.column == place[0] and len(o.path) > len(place[1]) for o in _origins(then, named))
    return then if any(inside) else None


def _of_method(node: Tree, column: str) -> Iterator[Origin]:
    path = node["qualified_name"]["path"]
    if len(path) > 1:  # column.field.upper()
        yield Origin((), column, tuple(path[1:-1]), whole=False)


def _place(node: Tree, named: Callable[[str], str | None]) -> tuple[str, Path] | None:
    """Return the column and the path that a node stands for, written as `a.b`, `(a).b` or `a['b']`."""
    if node["class"] == "COLUMN_REF":
        column = named(node["column_names"][0])
        return None if column is None else (column, tuple(node["column_names"][1:]))
    parts = _children(node)
    if node["type"] in ("STRUCT_EXTRACT", "ARRAY_EXTRACT") and len(parts) == 2:  # noqa: PLR2004 - a value and a field
        literal = parts[1].get("literal") or {}
        inner = _place(parts[0], named)
        if inner is not None and literal.get("kind") == "STRING":
            return inner[0], (*inner[1], literal["text"])
        if inner is not None and literal.get("kind") == "INTEGER":
            return inner  # one item of a list, which the path of the list stands for
    return None


def _children(node: Tree) -> list[Tree]:
    return [found for value in node.values() for found in _nearest(value)]


def _nearest(value: Any) -> Iterator[Tree]:
    if isinstance(value, dict):
        if "class" in value:
            yield value
        else:
            for inner in value.values():
                yield from _nearest(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _nearest(inner)


def marks(found: Iterable[Origin], schema: Schema) -> list[Mark]:
    """Return the tags of a result, each with its path in it."""
    return list(dict.fromkeys(mark for origin in found for mark in _marks(origin, schema)))


def _marks(origin: Origin, schema: Schema) -> Iterator[Mark]:
    read = tuple(map(folded, origin.path))
    for path, tag in schema[origin.column].marks:
        tagged = tuple(map(folded, path))
        if tagged == read[: len(tagged)]:
            yield origin.into, tag
        elif read == tagged[: len(read)]:
            yield (*origin.into, *(path[len(read) :] if origin.whole else ())), tag


def needs(tree: Tree, named: Callable[[str], str | None]) -> Needs:
    """Return when the value of an expression cannot be null."""
    kind, shape = tree["class"], tree["type"]
    if kind == "COLUMN_REF":
        found = _of_column(tree["column_names"], named)
    elif kind == "FUNCTION":
        found = _of_function(tree, named)
    elif shape == "OPERATOR_COALESCE":
        found = _any(needs(child, named) for child in _children(tree))
    elif shape in _NEVER_NULL or (kind == "CONSTANT" and tree["literal"]["kind"] != "NULL_LITERAL"):
        found = ALWAYS
    elif kind in ("COMPARISON", "CONJUNCTION", "BETWEEN") or shape in ("OPERATOR_NOT", "COMPARE_IN", "COMPARE_NOT_IN"):
        found = _all(needs(child, named) for child in _children(tree))
    elif kind == "CASE":
        results = [check["then_expr"] for check in tree["case_checks"]]
        found = _all(needs(r, named) for r in (*results, tree["else_expr"]))
    elif kind == "CAST" and not tree["try_cast"] and not _is_json(tree):
        found = needs(tree["child"], named)
    else:
        found = NOBODY_KNOWS
    return found


def _is_json(cast: Tree) -> bool:
    """Tell whether something in a cast becomes JSON, whose own null is one to a cast of it."""
    return any(str(part.get("type_name", "")).lower() == "json" for part in walk(cast["type_expr"]))


def _of_column(names: list[str], named: Callable[[str], str | None]) -> Needs:
    column = named(names[0])
    if column is None:
        return ALWAYS if len(names) == 1 and names[0].lower() in TIMES else NOBODY_KNOWS
    return frozenset({frozenset({column})}) if len(names) == 1 else NOBODY_KNOWS


def _of_function(tree: Tree, named: Callable[[str], str | None]) -> Needs:
    name = tree["function_name"].lower()
    if name in _NEVER_NULL or (name in TIMES and not tree["arguments"]):
        return ALWAYS
    if name in _NULL_BY_NULL and len(tree["qualified_name"]["path"]) == 1:
        return _all(needs(child, named) for child in _children(tree))
    return NOBODY_KNOWS


def _all(found: Iterable[Needs]) -> Needs:
    whole = ALWAYS
    for each in found:
        whole = frozenset(a | b for a, b in product(whole, each))
        if len(whole) > _ALTERNATIVES_MAX:
            return NOBODY_KNOWS
    return whole


def _any(found: Iterable[Needs]) -> Needs:
    whole = frozenset(alternative for each in found for alternative in each)
    return whole if len(whole) <= _ALTERNATIVES_MAX else NOBODY_KNOWS


def may_be_null(found: Needs, schema: Schema) -> bool:
    """Tell whether a value may be null; JSON may be, as its own null is one to whatever reads it."""
    sure = {c.name for c in schema if not c.nullable and "json" not in c.type}
    return not any(alternative <= sure for alternative in found)


__all__ = ["ALWAYS", "COUNTS", "NOBODY_KNOWS", "Needs", "Origin", "marks", "may_be_null", "needs", "origins"]
