"""Reads a user's expression alone before it becomes part of a statement: what it reads, and what it must not do.

An expression is one SQL expression in DuckDB's dialect over the columns of a node's input. `==` and `&&` are read as
`=` and `and`; `||` joins texts, as in SQL. Clocks (`now()`, `current_date` ...) stand for the epoch's time. Refused,
each with its cure: aggregates, window functions, subqueries, `*`, parameters, chance (`random()`, `uuid()`), and
whatever tells of the session.
"""

from __future__ import annotations

import difflib
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from dataflare.component import Budget
from dataflare.expression.catalogue import TIMES, Sort, Tree, catalogue, foreseen, offered, syntax, walk
from dataflare.expression.explain import is_about_rows, misread, points_at_literal, wrong, wrong_at
from dataflare.expression.lineage import NOBODY_KNOWS, Needs, Origin, needs, origins
from dataflare.expression.memory import Memory
from dataflare.expression.session import INPUT, Session, folded, quoted, select
from dataflare.expression.wording import in_sql, place_as_written, spliced_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa

    from dataflare.errors import WorkflowError

DEFAULT = Budget()
_TOGETHER = 16
"""So many steps are typed by one query."""

_OPEN, _CLOSE = "(\n", "\n)"
_BEFORE = len(f"select {_OPEN}")
_NOWHERE = 1 << 62
_BARE = re.compile(r'\s*(?:([^\W\d]\w*)|"((?:[^"]|"")+)")\s*')
_CLASSES = {
    "SUBQUERY": ("a subquery looks at other rows", "use a `sql` node for it, or an `enrichment` node for lookups"),
    "WINDOW": ("a window function looks at other rows", "use a `sql` node for it"),
    "STAR": ("`*` and COLUMNS(...) name no single value", "name the columns one by one"),
    "PARAMETER": ("parameters have no meaning here", "write the value itself, or ${VARIABLE} in the workflow file"),
    "POSITIONAL_REFERENCE": ("columns are read by name, not by number", "write the column's name"),
    "DEFAULT": ("DEFAULT has no meaning here", "write the value itself"),
}
REFUSALS = {
    Sort.AGGREGATE: ("{} looks at many rows", "use an `aggregate` node for it"),
    Sort.WINDOW: ("{} looks at other rows", "use a `sql` node for it"),
    Sort.CHANCE: (
        "{} gives another answer at every try, so a repeated epoch would differ",
        "derive the value from the row, such as md5(concat_ws('/', id, ts))",
    ),
    Sort.SESSION: ("{} tells of the session, not of the row", "write the value itself"),
    Sort.ROWS: ("{} makes several rows of one", "use a `sql` node for it"),
    Sort.RAISES: (
        "{} fails a whole batch, so that its row cannot be told from the others",
        "let the value itself fail, such as cast(amount as decimal(12,2)), or filter such rows out",
    ),
    Sort.TIME: ("{} reads the clock by itself", "write it out with now(), which is the epoch's time"),
    Sort.TABLE: ("{} reads tables or files, not the row", "use a source, or an `enrichment` node for lookups"),
    Sort.NOT_OFFERED: ("{} is a function of the engine that expressions may not call", ""),
    Sort.UNKNOWN: ("there is no function {}", ""),
}


def refusal(sort: Sort, name: str) -> tuple[str, str]:
    """Return why a function of this sort is refused, and the cure."""
    what, hint = REFUSALS[sort]
    if not hint:
        near = difflib.get_close_matches(name, sorted(offered()), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "see the functions in docs/reference/functions.md"
    return what.format(name if what.endswith("{}") else f"{name}()"), hint


@dataclass(frozen=True, slots=True)
class Call:
    """An aggregate in an expression: its name and its place, in bytes of the UTF-8 text."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression.

    `reads` are the columns that it reads, by their names in the schema; `column` is set when it is nothing but one.
    `clocks` are the places of clocks in the UTF-8 text and what stands for them. `origins` tell what the result is made
    of, `needs` when it is not null. `text` is SQL; `written` is what the user wrote.
    """

    text: str
    reads: tuple[str, ...] = ()
    column: str | None = None
    clocks: tuple[tuple[int, int, str], ...] = ()
    calls: tuple[Call, ...] = ()
    origins: tuple[Origin, ...] = ()
    needs: Needs = NOBODY_KNOWS
    written: str = ""

    @classmethod
    def of_column(cls, name: str, text: str) -> Self:
        """Return the expression that is nothing but a column."""
        needs = frozenset({frozenset({name})})
        return cls(text, (name,), name, origins=(Origin((), name, (), whole=True),), needs=needs)

    def sql(self, epoch: int = 0) -> str:
        """Return the SQL to put into a statement; `epoch` is the epoch's time in microseconds."""
        if self.column is not None:
            return quoted(self.column)
        spliced = spliced_text(self.text, [(a, b, new.format(epoch=epoch)) for a, b, new in self.clocks])
        return f"{_OPEN}{spliced}{_CLOSE}"


_read: Memory[tuple[str, tuple[str, ...], bool], Expression] = Memory()
_typed: Memory[tuple[str, pa.Schema], list[pa.DataType]] = Memory()
_described: Memory[tuple[str, pa.Schema], list[str]] = Memory()


class Checker:
    """Checks expressions and finds their types, touching nothing but its own empty table.

    The planner and all tasks of a process ask the same questions: what is right is remembered, what is wrong is not.
    """

    def __init__(self) -> None:
        """Open nothing yet."""
        self._opened: Session | None = None
        self._nulls: Memory[tuple[int, pa.Schema], str] = Memory()

    @property
    def _session(self) -> Session:
        """The session, which ends with the checker's last reference."""
        self._opened = self._opened or Session(None)
        return self._opened

    def foresee(self, texts: Iterable[str]) -> None:
        """Parse texts that will be read, all at once; what is none of SQL is told when it is read."""
        import duckdb

        statements = [s for text in texts if not _BARE.fullmatch(text) for s in _whole(in_sql(text))]
        with suppress(duckdb.Error):  # then each is parsed when its turn comes
            foreseen.parse(self._session, statements)

    def read(self, text: str, names: Sequence[str], *, aggregates: bool = False) -> Expression:
        """Check an expression over columns of these names; raise WorkflowError."""
        key = text, tuple(names), aggregates
        return _read.get(key) or _read.keep(key, self._read(text, names, aggregates=aggregates))

    def _read(self, text: str, names: Sequence[str], *, aggregates: bool) -> Expression:
        bare = _BARE.fullmatch(text)
        if bare and (name := bare[1] or bare[2].replace('""', '"')) in names:
            return Expression.of_column(name, text)
        if not text.strip():
            raise wrong(text, "the expression is empty", "write an SQL expression, such as upper(name)")
        return _Reading(text, names, self._session, aggregates=aggregates).run(self.tree(text, names))

    def tree(self, written: str, names: Sequence[str]) -> Tree:
        """Parse the text, both within parentheses and without: only a whole expression passes both."""
        text = in_sql(written)
        alone, within = (syntax(self._session, statement) for statement in _whole(text))
        for tree, before in ((within, _BEFORE), (alone, len("select \n"))):
            if tree["error"]:
                position = int(tree.get("position") or before)
                what = str(tree.get("error_message", "this is no expression")).splitlines()[0]
                at = place_as_written(written, min(position - before, len(text.encode())))
                raise wrong_at(written, at, what, _advice(text, names))
        if not (_is_one(alone) and _is_one(within)):
            raise wrong(
                written, "this is more than one expression", "write one SQL expression, without clauses around it"
            )
        found: Tree = within["statements"][0]["node"]["select_list"][0]
        return found

    def types(self, expressions: Sequence[Expression], schema: pa.Schema) -> list[pa.DataType]:
        """Return the types of expressions over rows of this schema; raise the WorkflowError of the first wrong one."""
        import duckdb

        try:
            return self._types(expressions, schema)
        except duckdb.Error:
            for expression in expressions:
                try:
                    self._types([expression], schema)
                except duckdb.Error as error:
                    raise misread(error, expression.text, expression.written) from None
            raise

    def _types(self, expressions: Sequence[Expression], schema: pa.Schema) -> list[pa.DataType]:
        """Try a row of nulls, which finds literals that do not fit what they are compared to, and other misreadings."""
        import duckdb

        key, columns = _question(expressions, schema)
        fields = key[1]
        if (known := _typed.get(key)) is not None:
            return list(known)
        for rows in (1, 0):
            query = select(columns, self._rows_of_nulls(rows, fields))
            try:
                return list(_typed.keep(key, self._session.fetch(query).schema.types))
            except duckdb.Error as error:
                if not rows or not is_about_rows(error) or points_at_literal(error):
                    raise
        return []

    def foresee_types(self, asked: Sequence[tuple[Sequence[Expression], pa.Schema]]) -> None:
        """Find types that will be asked for, of many steps by one query; each in its turn where that fails."""
        import duckdb

        for start in range(0, len(asked), _TOGETHER):
            keys, parts = [], []
            for number, (expressions, schema) in enumerate(asked[start : start + _TOGETHER]):
                key, columns = _question(expressions, schema)
                if key not in _typed:
                    keys.append((key, len(columns)))
                    parts.append(f"({select(columns, self._rows_of_nulls(1, key[1]))}) as q{number}")
            if not parts:
                continue
            try:
                types = self._session.fetch(select(["*"], " positional join ".join(parts))).schema.types
            except duckdb.Error:
                continue  # who asks hears what is wrong
            for key, count in keys:
                _typed.keep(key, types[:count])
                types = types[count:]

    def _rows_of_nulls(self, rows: int, fields: pa.Schema) -> str:
        """Return the name of a table of nulls; many steps of a workflow read columns of the same names and types."""
        import pyarrow as pa

        name = self._nulls.get((rows, fields))
        if name is None:
            name = f"{INPUT}{len(self._nulls)}"
            table = pa.Table.from_arrays([pa.nulls(rows, f.type) for f in fields], fields.names)
            self._session.register(table, name)
            self._nulls.keep((rows, fields), name)
        return name

    def described(self, sql: str, schema: pa.Schema) -> list[str]:
        """Return DuckDB's names of the types of a query over rows of this schema; raise duckdb.Error."""
        if (known := _described.get((sql, schema))) is None:
            self._session.register(schema.empty_table())
            rows = self._session.execute(f"describe {sql}")
            known = _described.keep((sql, schema), [str(row[1]) for row in rows])
        return list(known)


def _whole(text: str) -> list[str]:
    """Return the statements of which only a whole expression passes both."""
    return [f"select {before}{text}{after}" for before, after in (("\n", "\n"), (_OPEN, _CLOSE))]


def _advice(text: str, names: Sequence[str]) -> str:
    """Return the cure of a syntax error."""
    import duckdb

    raw = text.encode()
    for start, kind in duckdb.tokenize(text):
        for name in names:
            if kind.name == "keyword" and re.match(rf"{re.escape(name)}\b".encode(), raw[start:]):
                return f"{name!r} is a word of SQL: write the column as {quoted(name)}"
    return "|| joins texts: write `or` between conditions" if "||" in text else "write one SQL expression"


def _question(expressions: Sequence[Expression], schema: pa.Schema) -> tuple[tuple[str, pa.Schema], list[str]]:
    """Return by what the types of expressions are remembered, and what is selected to find them."""
    import pyarrow as pa

    fields = pa.schema([schema.field(n) for n in _read_by(expressions)] or [pa.field("_", pa.bool_())])
    columns = [f"{e.sql()} as c{n}" for n, e in enumerate(expressions)]
    return (select(columns), fields), columns


def _read_by(expressions: Sequence[Expression]) -> list[str]:
    return list(dict.fromkeys(name for e in expressions for name in e.reads))


def _is_one(tree: Tree) -> bool:
    """Tell whether a tree is one SELECT of one expression, with nothing around it."""
    node = tree["statements"][0]["node"]
    if len(tree["statements"]) != 1 or node["type"] != "SELECT_NODE" or len(node["select_list"]) != 1:
        return False
    clauses = ("modifiers", "where_clause", "group_expressions", "group_sets", "having", "sample", "qualify")
    return node["from_table"]["type"] == "EMPTY" and not any((node["cte_map"]["map"], *(node[c] for c in clauses)))


class _Reading:
    """One walk through the tree of an expression."""

    def __init__(self, written: str, names: Sequence[str], session: Session, *, aggregates: bool) -> None:
        self._written, self._names, self._session, self._aggregates = written, names, session, aggregates
        self._text = in_sql(written)
        self._reads: dict[str, None] = {}
        self._clocks: dict[tuple[int, int], str] = {}
        self._calls: list[Call] = []
        self._parameters: set[str] = set()

    def run(self, tree: Tree) -> Expression:
        nodes = list(walk(tree))
        for node in nodes:
            if node["class"] == "LAMBDA":
                self._parameters |= {n["column_names"][0].lower() for n in walk(node["lhs"]) if "column_names" in n}
        for node in nodes:
            self._node(node)
        clocks = tuple((a, b, new) for (a, b), new in self._clocks.items())
        only = self._reads if tree["class"] == "COLUMN_REF" and len(tree["column_names"]) == 1 else {}
        if only:
            return Expression.of_column(next(iter(only)), self._text)
        made = origins(tree, self._column_of), needs(tree, self._column_of)
        return Expression(self._text, tuple(self._reads), None, clocks, tuple(self._calls), *made, self._written)

    def _node(self, node: Tree) -> None:
        kind = node["class"]
        if kind in _CLASSES:
            raise self._refused(node, *_CLASSES[kind])
        if kind == "COLUMN_REF":
            self._column(node, node["column_names"][0], alone=len(node["column_names"]) == 1)
        elif kind == "FUNCTION" and not node["is_operator"]:
            self._function(node)

    def _column(self, node: Tree, name: str, *, alone: bool) -> None:
        found = self._named(node, name)
        if found is not None:
            self._reads[found] = None
        elif name.lower() in self._parameters:
            return
        elif alone and name.lower() in TIMES:
            self._clock(node, name)
        else:
            raise self._unknown(node, name)

    def _column_of(self, name: str) -> str | None:
        """Return the column that a name means, which is known to mean one at most."""
        return name if name in self._reads else next((n for n in self._reads if folded(n) == folded(name)), None)

    def _named(self, node: Tree, name: str) -> str | None:
        if name in self._names:
            return name
        alike = [n for n in self._names if folded(n) == folded(name)]
        if len(alike) > 1:
            raise self._refused(node, f"{name!r} may be {' or '.join(map(repr, alike))}", "write it as the column is")
        return alike[0] if alike else None

    def _function(self, node: Tree) -> None:
        name, path = node["function_name"].lower(), node["qualified_name"]["path"]
        if len(path) > 1:  # column.upper()
            self._column(node, path[0], alone=False)
        sort = catalogue(self._session).sort(name, self._session)
        if sort is Sort.AGGREGATE and self._aggregates and name not in catalogue(self._session).macros:
            self._call(node, name, path)
        elif sort is Sort.TIME and name in TIMES and not node["arguments"]:
            self._clock(node, name)
        elif sort is not Sort.PLAIN:
            what, hint = refusal(sort, name)
            macro = catalogue(self._session).macros.get(name)
            aside = f"write it out: {macro}" if macro and sort is Sort.AGGREGATE and self._aggregates else hint
            raise self._refused(node, what, aside)
        elif name == "age" and len(node["arguments"]) == 1:
            raise self._refused(node, "age() of one time reads the clock by itself", "write age(current_date, time)")

    def _call(self, node: Tree, name: str, path: Sequence[str]) -> None:
        start, end = self._span(node)
        if any(c.start <= start < c.end for c in self._calls):
            raise self._refused(node, f"{name}() stands inside another aggregate", "use a second `aggregate` node")
        if len(path) > 1:
            raise self._refused(node, f"{name} is written as a method", f"write {name}({path[0]})")
        self._calls.append(Call(name, start, end))

    def _clock(self, node: Tree, name: str) -> None:
        self._clocks[self._span(node)] = TIMES[name.lower()]

    def _span(self, node: Tree) -> tuple[int, int]:
        start = int(node["query_location"]) - _BEFORE
        return start, start + int(node["query_location_length"])

    def _unknown(self, node: Tree, name: str) -> WorkflowError:
        near = difflib.get_close_matches(name.lower(), [n.lower() for n in self._names], n=1)
        meant = [n for n in self._names if near and n.lower() == near[0]]
        hint = f"did you mean {meant[0]!r}?" if meant else f"columns: {', '.join(self._names)}"
        if f'"{name}"' in self._written:
            hint += "; text is written in single quotes"
        return self._refused(node, f"there is no column {name!r}", hint)

    def _refused(self, node: Tree, what: str, hint: str) -> WorkflowError:
        if node["query_location"] > _NOWHERE:
            return wrong(self._written, what, hint)
        return wrong_at(self._written, place_as_written(self._written, self._span(node)[0]), what, hint)


__all__ = ["REFUSALS", "Call", "Checker", "Expression", "refusal"]
