"""What DuckDB's functions are to an expression: plain, an aggregate, a clock, chance, or something of the session."""

from __future__ import annotations

import json
import threading
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dataflare.expression.session import Session

Tree = dict[str, Any]
"""A node of DuckDB's syntax tree, as its JSON says it."""

EPOCH = "make_timestamptz({epoch})"
TIMES = {
    **dict.fromkeys(("now", "current_timestamp", "get_current_timestamp", "transaction_timestamp"), EPOCH),
    **dict.fromkeys(("today", "current_date"), f"cast({EPOCH} as date)"),
    **dict.fromkeys(("current_time", "get_current_time"), f"cast({EPOCH} as timetz)"),
    **dict.fromkeys(("localtime", "current_localtime"), f"cast(cast({EPOCH} as timestamp) as time)"),
    **dict.fromkeys(("localtimestamp", "current_localtimestamp"), f"cast({EPOCH} as timestamp)"),
}
"""What stands for each clock: the epoch's time, so that a replay sees the same."""

_SESSION_WORDS = ("current_user", "user", "session_user", "current_role", "current_schema", "current_catalog")
_NAMES = """
select function_name, function_type, stability, macro_definition from duckdb_functions()
where function_type in ('aggregate', 'window', 'macro') or stability <> 'CONSISTENT'
"""


class Sort(Enum):
    """What a function does that matters here."""

    PLAIN = "plain"
    AGGREGATE = "aggregate"
    WINDOW = "window"
    TIME = "time"
    CHANCE = "chance"
    SESSION = "session"
    ROWS = "rows"
    RAISES = "raises"


class Catalogue:
    """The functions that are not plain; macros are what they are made of, found out when one is used."""

    def __init__(self, sorts: dict[str, Sort], macros: Mapping[str, str]) -> None:
        """Take sorts by lower-case name and the definitions of macros."""
        self._sorts, self.macros = sorts, macros

    def sort(self, name: str, session: Session) -> Sort:
        """Return what a function is."""
        name = name.lower()
        if name not in self._sorts and name in self.macros:
            self._sorts[name] = self._macro(name, session, ())
        return self._sorts.get(name, Sort.PLAIN)

    def _macro(self, name: str, session: Session, within: tuple[str, ...]) -> Sort:
        if name in self._sorts or name not in self.macros or name in within:
            return self._sorts.get(name, Sort.PLAIN)
        found = Sort.PLAIN
        for node in walk(syntax(session, f"select {self.macros[name]}")):
            kind = node["class"]
            if kind == "SUBQUERY":
                found = Sort.SESSION
            elif kind == "WINDOW":
                found = Sort.WINDOW
            elif kind == "COLUMN_REF" and node["column_names"][-1].lower() in TIMES:
                found = Sort.TIME
            elif kind == "FUNCTION" and not node["is_operator"]:
                inner = self._macro(node["function_name"].lower(), session, (*within, name))
                found = found if inner is Sort.PLAIN else inner
        return found


_loaded: list[Catalogue] = []
_loading = threading.Lock()


def catalogue(session: Session) -> Catalogue:
    """Return the catalogue; it is read once in a process."""
    with _loading:
        if not _loaded:
            _loaded.append(_read(session))
        return _loaded[0]


def _read(session: Session) -> Catalogue:
    sorts = dict.fromkeys(("unnest", "generate_subscripts", "unlist", "regexp_split_to_table"), Sort.ROWS)
    sorts |= dict.fromkeys(_SESSION_WORDS, Sort.SESSION)
    macros: dict[str, str] = {}
    for name, kind, stability, definition in session.execute(_NAMES):
        if kind == "macro":
            macros.setdefault(name, definition)
        elif kind == "aggregate":
            sorts[name] = Sort.AGGREGATE
        elif kind == "window":
            sorts.setdefault(name, Sort.WINDOW)
        else:
            sorts[name] = Sort.CHANCE if stability == "VOLATILE" else Sort.SESSION
    return Catalogue(sorts | dict.fromkeys(TIMES, Sort.TIME) | {"error": Sort.RAISES}, macros)


def syntax(session: Session, sql: str) -> Tree:
    """Return the syntax tree of a SELECT statement, or `{"error": true, ...}`."""
    tree: Tree = json.loads(session.execute("select json_serialize_sql($1)", [sql])[0][0])
    return tree


def walk(tree: Any) -> Iterator[Tree]:
    """Yield every node of a tree that is an expression, the outer ones first."""
    if isinstance(tree, dict):
        if "class" in tree:
            yield tree
        for child in tree.values():
            yield from walk(child)
    elif isinstance(tree, list):
        for child in tree:
            yield from walk(child)
