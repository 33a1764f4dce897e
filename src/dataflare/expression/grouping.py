"""Reads what an aggregate node asks for: its keys, its results, and the parts of state that they are made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from dataflare.errors import Finding, InvalidWorkflowError, Place, WorkflowError
from dataflare.expression.calls import Part, column, two_phases
from dataflare.expression.explain import misread, wrong
from dataflare.expression.pieces import CallText, call_text
from dataflare.expression.session import INPUT, folded, quoted, select
from dataflare.expression.wording import spliced_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    import pyarrow as pa

    from dataflare.expression.check import Call, Checker, Expression
    from dataflare.schema import Schema

P = ParamSpec("P")
T = TypeVar("T")

EPOCH_MARK = "__epoch_in_microseconds__"
"""What stands in the text of parts where the epoch's time belongs."""

_WIDE = {"HUGEINT": "BIGINT", "UHUGEINT": "UBIGINT"}


_GROUPS, _GROUP, _VALUE = "__groups", "__group", "__value"


@dataclass(frozen=True, slots=True)
class Final:
    """The value of an aggregate over partial rows; or over the values of part `values`, if there is any of them."""

    sql: str
    values: int | None = None
    nothing: str = "null"


@dataclass(frozen=True, slots=True)
class Result:
    """One result: its checked text, its aggregates and what they are made of, its type in DuckDB's words."""

    name: str
    expression: Expression
    finals: tuple[Final, ...]
    kind: str

    def sql(self, number: int, epoch: int) -> str:
        """Return its value over the aggregates `_a{number}_{n}`; sums of integers are int64 (or fail)."""
        expression = self.expression
        places = [(c.start, c.end, quoted(f"_a{number}_{n}")) for n, c in enumerate(expression.calls)]
        clocks = [(a, b, new.format(epoch=epoch)) for a, b, new in expression.clocks if not _inside(a, expression)]
        text = f"(\n{spliced_text(expression.text, [*places, *clocks])}\n)"
        return f"cast({text} as {_WIDE[self.kind]})" if self.kind in _WIDE else text


@dataclass(frozen=True, slots=True)
class Grouping:
    """Keys by name, results, and the distinct parts of state in order; `calls` are the aggregates as text."""

    keys: tuple[tuple[str, Expression], ...]
    results: tuple[Result, ...]
    parts: tuple[Part, ...]
    calls: tuple[CallText, ...]

    @property
    def reads(self) -> list[str]:
        """The input columns that are read."""
        expressions = [e for _, e in self.keys] + [r.expression for r in self.results]
        return list(dict.fromkeys(n for e in expressions for n in e.reads))

    @property
    def has_states(self) -> bool:
        """Whether a part is an exported state, which only a table of DuckDB's can take back."""
        return any(p.is_state for p in self.parts)

    @property
    def values(self) -> list[int]:
        """The numbers of the parts that are lists of values."""
        return [n for n, p in enumerate(self.parts) if p.is_values]

    def result_of(self, part: int) -> str:
        """Return the name of the first result that is made of a part."""
        name = column(part)
        return next(r.name for r in self.results if any(f.values == part or name in f.sql for f in r.finals))

    def partial_sql(self, epoch: int, thinned: Collection[int] = ()) -> str:
        """Return the query from rows to partial rows.

        The epoch's time is in microseconds; lists of values hold none twice in the parts `thinned`.
        """
        keys = [f"{e.sql(epoch)} as {quoted(n)}" for n, e in self.keys]
        texts = [p.repeated if p.is_values and n not in thinned else p.partial for n, p in enumerate(self.parts)]
        parts = [f"{text.replace(EPOCH_MARK, str(epoch))} as {column(n)}" for n, text in enumerate(texts)]
        return select([*keys, *parts], INPUT, self._by_key())

    def merge_sql(self, kinds: Sequence[str], source: str) -> str:
        """Return the query from partial rows to one a group; `kinds` are the types of the parts in DuckDB's words."""
        merged = {}
        for n, (part, kind) in enumerate(zip(self.parts, kinds, strict=True)):
            sql = part.merge.format(_VALUE if part.is_values else column(n))
            merged[column(n)] = Final(sql if part.is_state else f"cast({sql} as {kind})", n if part.is_values else None)
        return self._regrouped(merged, source)

    def final_sql(self, source: str, epoch: int, values: str = "") -> str:
        """Return the query from partial rows to results, sorted by key; without keys, lists may come from elsewhere."""
        keys = [quoted(n) for n, _ in self.keys]
        finals = {
            quoted(f"_a{number}_{n}"): final
            for number, result in enumerate(self.results)
            for n, final in enumerate(result.finals)
        }
        results = [f"{r.sql(n, epoch)} as {quoted(r.name)}" for n, r in enumerate(self.results)]
        return select([*keys, *results], f"({self._regrouped(finals, source, values)})", self._in_order())

    def sorted_sql(self) -> str:
        """Return the query that sorts results by key."""
        return select(["*"], INPUT, self._in_order())

    def _regrouped(self, finals: Mapping[str, Final], source: str, values: str = "") -> str:
        """Return the query from partial rows to the keys and `finals`, a row a group.

        Values are told apart by the number of their group, which is far cheaper to hash than its keys.
        """
        keys = [quoted(n) for n, _ in self.keys]
        own = [f"{final.sql} as {name}" for name, final in finals.items() if final.values is None]
        if len(own) == len(finals):
            return select([*keys, *own], source, self._by_key())
        if not keys:
            return self._of_one_group(finals, own, source, values or source)
        groups = select([*keys, *own], source, self._by_key())
        groups = select(["*", f"row_number() over () as {_GROUP}"], f"({groups})")
        tables, joined = [f"{_GROUPS} as materialized ({groups})"], _GROUPS
        same = " and ".join(f"r.{k} is not distinct from g.{k}" for k in keys)
        for part in dict.fromkeys(f.values for f in finals.values() if f.values is not None):
            name = f"__values{part}"
            rows = select(
                [f"g.{_GROUP}", f"unnest(r.{column(part)}) as {_VALUE}"], f"{source} as r join {_GROUPS} as g on {same}"
            )
            rows = select([_GROUP, _VALUE], f"({rows})", f"group by {_GROUP}, {_VALUE}")
            these = [f"{final.sql} as {n}" for n, final in finals.items() if final.values == part]
            tables.append(f"{name} as ({select([_GROUP, *these], f'({rows})', f'group by {_GROUP}')})")
            joined += f" left join {name} using ({_GROUP})"
        answer = [n if f.values is None else f"coalesce({n}, {f.nothing}) as {n}" for n, f in finals.items()]
        return f"with {', '.join(tables)} {select([*keys, *answer], joined)}"

    @staticmethod
    def _of_one_group(finals: Mapping[str, Final], own: Sequence[str], source: str, values: str) -> str:
        """Return the query from the partial rows of the only group to `finals`: each part of values by itself.

        Nothing but the different values is held while it runs.
        """
        tables = [f"({select(own, source)}) as {_GROUPS}"] if own else []
        for part in dict.fromkeys(f.values for f in finals.values() if f.values is not None):
            rows = select([f"unnest({column(part)}) as {_VALUE}"], values)
            rows = select([_VALUE], f"({rows})", f"group by {_VALUE}")
            these = [f"{final.sql} as {n}" for n, final in finals.items() if final.values == part]
            tables.append(f"({select(these, f'({rows})')}) as __values{part}")
        answer = [n if f.values is None else f"coalesce({n}, {f.nothing}) as {n}" for n, f in finals.items()]
        return select(answer, ", ".join(tables))

    def _in_order(self) -> str:
        return f"order by {', '.join(str(n + 1) for n in range(len(self.keys)))}" if self.keys else ""

    def _by_key(self) -> str:
        return f"group by {', '.join(str(n + 1) for n in range(len(self.keys)))}" if self.keys else ""


def grouping(
    keys: Sequence[tuple[str, str]], aggregations: Sequence[tuple[str, str]], schema: Schema, checker: Checker
) -> Grouping:
    """Read keys and aggregations, both (name, expression), over rows of `schema`; raise WorkflowError."""
    names = [n for n, _ in (*keys, *aggregations)]
    for name in dict.fromkeys(n for n in names if [folded(o) for o in names].count(folded(n)) > 1):
        raise WorkflowError(f"column {name!r} is made twice", hint="give the key or the aggregation another name")
    mistakes = _Mistakes()
    read_keys = tuple((n, e) for n, t in keys if (e := mistakes.of(n, checker.read, t, schema.names)) is not None)
    arrow = schema.to_arrow()
    for name, expression in read_keys:
        mistakes.of(name, checker.types, [expression], arrow)
    reading = _Reading(read_keys, arrow, checker)
    results = []
    for name, text in aggregations:
        found = mistakes.of(name, partial(checker.read, aggregates=True), text, schema.names)
        if found is not None and len(read_keys) == len(keys):
            results.append(mistakes.of(name, reading.result, name, found))
    mistakes.tell()
    made = tuple(result for result in results if result is not None)
    return Grouping(read_keys, made, tuple(reading.parts), tuple(reading.calls))


class _Mistakes:
    """All that is wrong with keys and aggregations, each with its name as its place."""

    def __init__(self) -> None:
        self._errors: list[tuple[str, WorkflowError]] = []

    def of(self, name: str, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Return what is read; None where it is wrong."""
        try:
            return read(*args, **kwargs)
        except WorkflowError as error:
            self._errors.append((name, error))
            return None

    def tell(self) -> None:
        """Raise what is wrong: nothing, the one error, or one that carries all of them."""
        if len(self._errors) == 1:
            raise self._errors[0][1]
        if self._errors:
            found = [Finding("error", e.code, e.what, e.hint, Place(path=name)) for name, e in self._errors]
            raise InvalidWorkflowError(found)


class _Reading:
    """Collects the parts of all aggregates; equal parts are kept once."""

    def __init__(self, keys: tuple[tuple[str, Expression], ...], arrow: pa.Schema, checker: Checker) -> None:
        self._keys, self._arrow, self._checker = keys, arrow, checker
        self.parts: dict[Part, int] = {}
        self.calls: list[CallText] = []

    def result(self, name: str, expression: Expression) -> Result:
        if not expression.calls:
            hint = "write an aggregate, such as sum(amount); the columns of group_by are in the output anyway"
            raise wrong(expression.written or expression.text, f"{name!r} aggregates nothing", hint)
        texts = [call_text(c.name, _text_of(c, expression)) for c in expression.calls]
        self.calls += texts
        kinds = self._kinds([expression.sql(), *map(str, texts)], expression)
        finals = []
        for text, kind in zip(texts, kinds[1:], strict=True):
            phases = two_phases(text, kind, self._sum_kind(text))
            numbers = [self.parts.setdefault(p, len(self.parts)) for p in phases.parts]
            if phases.parts[0].is_values:
                finals.append(Final(phases.final.format(_VALUE), numbers[0], phases.nothing))
            else:
                finals.append(Final(phases.final.format(*map(column, numbers))))
        return Result(name, expression, tuple(finals), kinds[0])

    def _kinds(self, columns: Sequence[str], expression: Expression) -> list[str]:
        """Return DuckDB's names of the types of results over the groups; the first is that of the expression."""
        import duckdb

        keys = [e.sql() for _, e in self._keys]
        by = f"group by {', '.join(str(len(columns) + n + 1) for n in range(len(keys)))}" if keys else ""
        query = select([*columns, *keys], INPUT, by).replace(EPOCH_MARK, "0")
        try:
            return self._checker.described(query, self._arrow)[: len(columns)]
        except duckdb.Error as error:
            raise misread(error, expression.text, expression.written) from None

    def _sum_kind(self, call: CallText) -> str:
        import duckdb

        if call.name not in ("avg", "mean"):
            return ""
        try:
            query = select([f"sum({call.arguments[0]}\n)"]).replace(EPOCH_MARK, "0")
            return self._checker.described(query, self._arrow)[0]
        except duckdb.Error:
            return ""


def _inside(place: int, expression: Expression) -> bool:
    return any(c.start <= place < c.end for c in expression.calls)


def _text_of(call: Call, expression: Expression) -> str:
    """Return the text of a call, with a mark where the epoch's time belongs."""
    raw = expression.text.encode()[call.start : call.end].decode()
    clocks = [
        (a - call.start, b - call.start, new.format(epoch=EPOCH_MARK))
        for a, b, new in expression.clocks
        if call.start <= a < call.end
    ]
    return spliced_text(raw, clocks)


__all__ = ["EPOCH_MARK", "Grouping", "Result", "grouping"]
