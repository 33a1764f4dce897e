"""Finds the columns that a query looks at, by name; where in doubt it looks at all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.expression.catalogue import Tree, walk
from dataflare.expression.session import folded

if TYPE_CHECKING:
    from collections.abc import Iterable


def columns_named(node: Tree, parts: Iterable[Tree]) -> frozenset[str] | None:
    """Return the names, folded, that may be columns of an input; None: all. `parts` are what the query reads from.

    All is meant by `*`, by a position, by the name of a table that stands for its rows, by names that are given to
    columns by their places, and by NATURAL and PIVOT.
    """
    named: set[str] = set()
    tables: set[str] = set()
    for part in parts:
        if part["type"] == "PIVOT" or str(part.get("ref_type", "")).upper().startswith(("NATURAL", "POSITIONAL")):
            return None
        if part["type"] == "BASE_TABLE":
            if part.get("column_name_alias"):
                return None
            tables |= {folded(part["alias"]), folded(str(part["qualified_name"]["path"][-1]))}
        named |= {folded(str(name)) for name in part.get("using_columns") or ()}
    for expression in walk(node):
        if expression["class"] in ("STAR", "POSITIONAL_REFERENCE"):
            return None
        if expression["class"] == "COLUMN_REF":
            names = [folded(str(name)) for name in expression["column_names"]]
            if len(names) == 1 and names[0] in tables:
                return None
            named |= {*names}
        if expression["class"] == "FUNCTION" and len(expression["qualified_name"]["path"]) > 1:  # column.upper()
            named |= {folded(str(name)) for name in expression["qualified_name"]["path"][:-1]}
    return frozenset(named)


__all__ = ["columns_named"]
