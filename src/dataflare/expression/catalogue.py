"""What DuckDB's functions are to an expression: plain, an aggregate, a clock, chance, or something of the session.

Only those may be called that `functions.txt` beside this file offers, in words of ours: what a new version of the
engine brings along is offered when somebody has looked at it.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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
select lower(function_name), function_type, stability, macro_definition from duckdb_functions()
order by function_type in ('table', 'table_macro', 'pragma') desc
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
    TABLE = "table"
    NOT_OFFERED = "not offered"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Offer:
    """A function that expressions may call, by any of its names; without a meaning it stands for syntax."""

    group: str
    names: tuple[str, ...]
    meaning: str
    example: str


@cache
def offers() -> tuple[Offer, ...]:
    """Return what is offered, in the order in which it is told."""
    found, group = [], ""
    for line in Path(__file__).with_name("functions.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("== "):
            group = line.removeprefix("== ")
        elif line and not line.startswith("#"):
            names, _, rest = line.partition(" |")
            meaning, _, example = rest.strip().partition(" |")
            found.append(Offer(group, tuple(names.split()), meaning, example.strip()))
    return tuple(found)


@cache
def offered() -> frozenset[str]:
    """Return all names that may be called, in lower case."""
    return frozenset(name.lower() for offer in offers() for name in offer.names)


class Catalogue:
    """The functions that are not plain; macros are what they are made of, found out when one is used."""

    def __init__(self, sorts: dict[str, Sort], macros: Mapping[str, str], plain: frozenset[str]) -> None:
        """Take sorts by lower-case name, the definitions of macros, and the other functions that there are."""
        self._sorts, self.macros, self._plain = sorts, macros, plain

    def sort(self, name: str, session: Session) -> Sort:
        """Return what a function is."""
        name = name.lower()
        if name not in self._sorts and name in self.macros:
            self._sorts[name] = self._macro(name, session, ())
        found = self._sorts.get(name, Sort.PLAIN)
        if name in offered() or found not in (Sort.PLAIN, Sort.AGGREGATE) or self._is_sum(name, found):
            return found
        there = name in self._sorts or name in self._plain or name in self.macros
        return Sort.NOT_OFFERED if there else Sort.UNKNOWN

    def _is_sum(self, name: str, found: Sort) -> bool:
        """Tell whether a function is a macro of aggregates, which is written out instead."""
        return found is Sort.AGGREGATE and name in self.macros

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
    plain: set[str] = set()
    for name, kind, stability, definition in session.execute(_NAMES):
        if kind in ("table", "table_macro", "pragma"):
            sorts.setdefault(name, Sort.TABLE)
            continue
        if sorts.get(name) is Sort.TABLE:
            del sorts[name]  # there is one of a row besides
        if kind == "macro":
            macros.setdefault(name, definition)
        elif kind == "aggregate":
            sorts[name] = Sort.AGGREGATE
        elif kind == "window":
            sorts.setdefault(name, Sort.WINDOW)
        elif stability == "CONSISTENT":
            plain.add(name)
        else:
            sorts[name] = Sort.CHANCE if stability == "VOLATILE" else Sort.SESSION
    sorts |= {**dict.fromkeys(TIMES, Sort.TIME), "error": Sort.RAISES}
    return Catalogue(sorts, macros, frozenset(plain))


class Foreseen:
    """Syntax trees of statements that will be asked for, parsed all at once: an eighth of what they cost one by one."""

    def __init__(self) -> None:
        """Begin with none."""
        self._trees: dict[str, str] = {}

    def parse(self, session: Session, statements: Sequence[str]) -> None:
        """Keep the trees of these, and of no others; trees are forgotten when they are taken."""
        rows = session.execute(_SERIALIZE_ALL, [list(dict.fromkeys(statements))])
        self._trees = dict(rows[:FORESEEN_MAX])

    def take(self, sql: str) -> str | None:
        """Return the tree as JSON, once."""
        return self._trees.pop(sql, None)


FORESEEN_MAX = 20_000
_SERIALIZE_ALL = "select sql, json_serialize_sql(sql) from (select unnest($1::varchar[]) as sql)"
foreseen = Foreseen()


def syntax(session: Session, sql: str) -> Tree:
    """Return the syntax tree of a SELECT statement, or `{"error": true, ...}`."""
    text = foreseen.take(sql) or session.execute("select json_serialize_sql($1)", [sql])[0][0]
    tree: Tree = json.loads(text)
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
