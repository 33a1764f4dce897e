"""Reads a user's SELECT alone before it is run: which tables it reads, and what it must not do.

It reads the inputs of its node by their names, and nothing else: no file, no setting, no other table. It may call what
expressions may, aggregates and window functions besides. Clocks stand for the epoch's time; chance, sampling and
whatever tells of the session are refused, as in expressions.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from dataflare.expression.catalogue import TIMES, Sort, Tree, catalogue, syntax, walk
from dataflare.expression.check import REFUSALS, refusal
from dataflare.expression.explain import misread, wrong, wrong_at
from dataflare.expression.query_columns import columns_named
from dataflare.expression.session import Session, folded, quoted
from dataflare.expression.wording import spliced_text
from dataflare.schema import Column, Schema, type_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dataflare.errors import WorkflowError

_NOWHERE = 1 << 62
_TABLE_FUNCTIONS = ("range", "generate_series", "unnest", "json_each", "json_tree")
_CALLED = (Sort.PLAIN, Sort.AGGREGATE, Sort.WINDOW, Sort.ROWS, Sort.RAISES)
_OVER = (Sort.AGGREGATE, Sort.WINDOW)
_PLACES = (
    "EMPTY",
    "BASE_TABLE",
    "SUBQUERY",
    "JOIN",
    "TABLE_FUNCTION",
    "EXPRESSION_LIST",
    "PIVOT",
    "COLUMN_DATA",
    "CTE",
)
_QUERIES = ("SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE")
_SELECTS = {"select", "with", "from", "values", "table", "pivot", "pivot_wider", "unpivot", "("}
_PART = r'(?:"(?:[^"]|"")+"|[^\s.,;()"\']+)'
_NAME = re.compile(rf"{_PART}(?:\s*\.\s*{_PART})*")
_BEFORE, _BEHIND = "select * from (\n", "\n)"


@dataclass(frozen=True, slots=True)
class Query:
    """A checked SELECT. `tables` are the names that its text reads inputs by; `output` the columns that come out.

    `named` are the folded names that may be columns of an input; None: it looks at all columns.
    """

    text: str
    tables: tuple[str, ...]
    output: Schema
    clocks: tuple[tuple[int, int, str], ...] = field(default=())
    named: frozenset[str] | None = None

    def sql(self, epoch: int = 0) -> str:
        """Return the statement; `epoch` is the epoch's time in microseconds."""
        return spliced_text(self.text, [(a, b, new.format(epoch=epoch)) for a, b, new in self.clocks])


def read_query(text: str, inputs: Mapping[str, Schema]) -> Query:
    """Check a SELECT over inputs by their names; raise WorkflowError with the place in the text."""
    session = Session(None)
    try:
        return _Reading(text.strip().removesuffix(";"), inputs, session).run()
    finally:
        session.close()


class _Reading:
    """One walk through the tree of a query."""

    def __init__(self, text: str, inputs: Mapping[str, Schema], session: Session) -> None:
        self._text, self._inputs, self._session = text, inputs, session
        self._known = {folded(name): number for number, name in enumerate(inputs)}
        self._columns = {folded(c) for schema in inputs.values() for c in schema.names}
        self._with: set[str] = set()
        self._tables: set[int] = set()
        self._clocks: dict[tuple[int, int], str] = {}
        self._named: dict[tuple[int, int], str] = {}

    def run(self) -> Query:
        """Check everything, then ask for the columns."""
        node = self._parsed()
        self._with = {folded(entry["key"]) for part in _parts(node) for entry in _withs(part)}
        shadowed = [name for name in self._inputs if folded(name) in self._with]
        if shadowed:
            raise wrong(self._text, f"WITH takes the name of the input {shadowed[0]!r}", "choose another name")
        for part in _parts(node):
            self._part(part)
        for expression in walk(node):
            self._expression(expression)
        renamed = [(a, b, new) for (a, b), new in self._named.items()]
        shift = {start: len(new.encode()) - (end - start) for start, end, new in renamed}
        clocks = [
            (a + sum(by for at, by in shift.items() if at < a), b + sum(by for at, by in shift.items() if at < a), new)
            for (a, b), new in self._clocks.items()
        ]
        text = spliced_text(self._text, renamed)
        tables = tuple(_table(name, number) for number, name in enumerate(self._inputs))
        query = Query(text, tables, Schema(), tuple(clocks))
        return replace(query, output=self._output(query, node), named=columns_named(node, _parts(node)))

    def _parsed(self) -> Tree:
        tree = syntax(self._session, self._text)
        if tree["error"]:
            what = str(tree.get("error_message", "this is no query")).splitlines()[0]
            if tree.get("error_type") == "not implemented" or "Only SELECT" in what:
                raise self._no_select()
            position = int(tree.get("position") or 0)
            raise wrong_at(
                self._text, min(position, len(self._text.encode())), what, "write one SELECT over the inputs"
            )
        if len(tree["statements"]) != 1:
            raise wrong_at(self._text, self._statements()[1][0], "this is more than one statement", "write one SELECT")
        found: Tree = tree["statements"][0]["node"]
        return found

    def _tokens(self) -> list[tuple[int, str]]:
        """Return the places of all words and signs, in bytes, with what they are if they are short."""
        import duckdb

        raw = self._text.encode()
        found = [(start, raw[start : start + 16].decode(errors="ignore")) for start, _ in duckdb.tokenize(self._text)]
        words = (
            (start, re.match(r"\w+|.", text, re.DOTALL)) for start, text in found if not text.startswith(("--", "/*"))
        )
        return [(start, word[0].lower()) for start, word in words if word is not None]

    def _statements(self) -> list[tuple[int, str]]:
        """Return the first words of all statements."""
        tokens = [(0, ";"), *self._tokens()]
        return [token for (_, before), token in pairwise(tokens) if before == ";" and token[1] != ";"]

    def _no_select(self, *words: str) -> WorkflowError:
        """Return the error at the first of these words, or at the first statement that is something else."""
        pivots = [at for at, word in self._tokens() if word in ("pivot", "pivot_wider")]
        if pivots and not words and len(self._statements()) == 1:
            what = "PIVOT has to name its values, so that the columns are known"
            return wrong_at(self._text, pivots[0], what, "write pivot ... on column in ('a', 'b') using ...")
        lowered = {word.lower() for word in words}
        at = [t for t, word in self._tokens() if word in lowered] if words else []
        at += [t for t, word in self._statements() if word not in _SELECTS] or [0]
        return wrong_at(self._text, at[0], "this is no SELECT", "write one SELECT over the inputs")

    def _part(self, part: Tree) -> None:
        """Check what a FROM reads."""
        kind = part["type"]
        if part.get("sample") is not None:
            hint = "take the rows by a condition, such as hash(id) % 10 = 0"
            raise self._refused(part, "a sample is drawn by chance, so a repeated epoch would differ", hint)
        if "query_location" not in part:
            if kind not in _QUERIES:
                raise self._no_select(kind.partition("_")[0])
            return
        if part.get("at_clause"):
            raise self._refused(part, "an input has no versions", "leave out AT")
        if kind == "BASE_TABLE":
            self._reference(part)
        elif kind == "TABLE_FUNCTION":
            self._tables.add(id(part["function"]))
            name = str(part["function"]["function_name"]).lower()
            if name not in _TABLE_FUNCTIONS:
                hint = f"read it with a source and name that in inputs; allowed are {', '.join(_TABLE_FUNCTIONS)}"
                raise self._refused(part, f"{name}() reads something that is no input", hint)
        elif kind not in _PLACES:
            raise self._no_select("DESCRIBE", "SHOW", "SUMMARIZE")

    def _reference(self, part: Tree) -> None:
        path = [str(p) for p in part["qualified_name"]["path"]]
        name = ".".join(path)
        if len(path) == 1 and folded(name) in self._with:
            return
        number = self._known.get(folded(name))
        if number is None:
            known = list(self._inputs)
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"its inputs are {', '.join(map(_shown, known))}"
            if int(part["query_location"]) >= _NOWHERE:  # TABLE name
                raise wrong_at(self._text, self._text.encode().find(name.encode()), f"there is no input {name!r}", hint)
            raise self._refused(part, f"there is no input {name!r}", hint)
        if int(part["query_location"]) >= _NOWHERE and len(path) > 1:
            raise wrong(self._text, f"TABLE takes no output of a node, such as {name!r}", f"write from {_shown(name)}")
        start = int(part["query_location"])
        found = _NAME.match(self._text.encode()[start:].decode(errors="ignore"))
        if len(path) > 1 and found is not None:
            alias = "" if part["alias"] else f" as {quoted(path[-1])}"
            self._named[start, start + len(found[0].encode())] = f"{_table(name, number)}{alias}"

    def _expression(self, node: Tree) -> None:
        kind = node["class"]
        if kind == "PARAMETER":
            raise self._refused(node, "parameters have no meaning here", "write the value itself")
        if kind == "COLUMN_REF" and len(node["column_names"]) == 1:
            name = folded(node["column_names"][0])
            if name in self._columns:
                return
            if name in TIMES:
                self._clock(node, name)
            elif catalogue(self._session).sort(name, self._session) is Sort.SESSION:
                what, hint = REFUSALS[Sort.SESSION]
                raise self._refused(node, what.format(name), hint)
        elif kind == "WINDOW":
            self._call(node, node["function_name"].lower(), _OVER)
        elif kind == "FUNCTION" and not node["is_operator"] and id(node) not in self._tables:
            self._function(node, node["function_name"].lower())

    def _function(self, node: Tree, name: str) -> None:
        sort = catalogue(self._session).sort(name, self._session)
        if sort is Sort.TIME and name in TIMES and not node["arguments"]:
            self._clock(node, name)
        elif name == "age" and len(node["arguments"]) == 1:
            raise self._refused(node, "age() of one time reads the clock by itself", "write age(current_date, time)")
        else:
            self._call(node, name, _CALLED)

    def _call(self, node: Tree, name: str, sorts: Sequence[Sort]) -> None:
        """Check that a function is of one of these sorts."""
        sort = catalogue(self._session).sort(name, self._session)
        if sort in sorts:
            return
        if sort in _CALLED:
            raise self._refused(node, f"{name}() looks at no other rows", "write it without OVER")
        raise self._refused(node, *refusal(sort, name))

    def _clock(self, node: Tree, name: str) -> None:
        start = int(node["query_location"])
        self._clocks[start, start + int(node["query_location_length"])] = TIMES[name]

    def _output(self, query: Query, node: Tree) -> Schema:
        """Ask for the columns, over inputs without rows."""
        import duckdb

        for name, schema in zip(query.tables, self._inputs.values(), strict=True):
            self._session.register(schema.to_arrow().empty_table(), name)
        try:
            described = self._session.execute(f"describe {query.sql()}")
            found = self._session.fetch(f"{_BEFORE}{query.sql()}{_BEHIND} limit 0").schema
        except duckdb.Error as error:
            try:
                self._session.execute(f"describe {_BEFORE}{query.sql()}{_BEHIND}")
            except duckdb.Error as placed:
                raise misread(placed, query.sql()) from None
            raise misread(error, query.sql()) from None
        names = [str(row[0]) for row in described]
        seen: set[str] = set()
        for name in names:
            if folded(name) in seen:
                raise wrong(self._text, f"two columns are called {name!r}", "give one another name: ... as NAME")
            seen.add(folded(name))
        columns = (Column(n, type_text(f.type)) for n, f in zip(names, found, strict=True))
        return Schema(tuple(columns)).tagged(_tags(node, names, self._inputs, self._with))

    def _refused(self, node: Tree, what: str, hint: str) -> WorkflowError:
        if int(node.get("query_location", _NOWHERE)) >= _NOWHERE:
            return wrong(self._text, what, hint)
        return wrong_at(self._text, int(node["query_location"]), what, hint)


def _tags(node: Tree, names: Sequence[str], inputs: Mapping[str, Schema], withs: set[str]) -> dict[str, list[str]]:
    """Return the tags of what comes out: of each column those that its expression reads; all of them, where in doubt.

    In doubt are queries that read what a part of them makes, and columns whose expression has no name.
    """
    carried: dict[str, list[str]] = {}
    for column in (c for schema in inputs.values() for c in schema):
        carried.setdefault(folded(column.name), []).extend(column.tags)
    every = list(dict.fromkeys(tag for tags in carried.values() for tag in tags))
    if not every:
        return {}
    plain = node["type"] == "SELECT_NODE" and not withs
    plain = plain and all(p["type"] in ("BASE_TABLE", "JOIN") for p in _parts(node["from_table"]))
    if not plain:
        return dict.fromkeys(names, every)
    items = node["select_list"]
    made = [_read_by(item, carried, every) for item in items]
    if len(items) == len(names) and None not in made:
        return {name: tags or [] for name, tags in zip(names, made, strict=True)}
    named = {folded(_name_of(i)): tags for i, tags in zip(items, made, strict=True) if tags is not None and _name_of(i)}
    return {name: named.get(folded(name), carried.get(folded(name), every)) for name in names}


def _read_by(item: Tree, carried: Mapping[str, list[str]], every: list[str]) -> list[str] | None:
    """Return the tags of all columns that an item of a SELECT reads; None for a `*`, whose columns keep their names."""
    if item["class"] == "STAR" and not (item["columns"] or item["replace_list"] or item.get("rename_list")):
        return None
    inner = list(walk(item))
    if any(n["class"] in ("STAR", "POSITIONAL_REFERENCE") for n in inner):
        return every
    named = [[folded(part) for part in n["column_names"]] for n in inner if n["class"] == "COLUMN_REF"]
    if any(carried.keys().isdisjoint(parts) for parts in named):
        return every  # a row as a whole, or what another item made
    return list(dict.fromkeys(tag for parts in named for part in parts for tag in carried.get(part, ())))


def _name_of(item: Tree) -> str:
    return str(item["alias"] or (item["column_names"][-1] if item["class"] == "COLUMN_REF" else ""))


def _table(name: str, number: int) -> str:
    """Return the name that an input is registered by: its own, unless it has two parts."""
    return f"__input{number}" if "." in name else name


def _shown(name: str) -> str:
    """Return a name as a query writes it."""
    plain = re.fullmatch(r"\w+(\.\w+)*", name)
    return name if plain else ".".join(quoted(part) for part in name.split("."))


def _parts(tree: Any) -> Iterator[Tree]:
    """Yield every node of a tree that is no expression: queries, and what they read from."""
    if isinstance(tree, dict):
        if (
            isinstance(tree.get("type"), str)
            and "class" not in tree
            and ("query_location" in tree or "cte_map" in tree)
        ):
            yield tree
        for child in tree.values():
            yield from _parts(child)
    elif isinstance(tree, list):
        for child in tree:
            yield from _parts(child)


def _withs(part: Tree) -> list[Tree]:
    entries: list[Tree] = (part.get("cte_map") or {}).get("map") or []
    return entries


__all__ = ["Query", "read_query"]
