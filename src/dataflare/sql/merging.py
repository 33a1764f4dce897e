"""Applies changes to a table by key: the net effect of all that is staged, in a few statements."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dataflare.changes import OP, TX, UNCHANGED, Op
from dataflare.sql.applying import LEFT, WHAT, Applying

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dataflare.sql.staged_rows import StagedRows, Truncation

_LAST, _PUT, _GONE, _FROM = "_dataflare_last", "_dataflare_put", "_dataflare_gone", "_dataflare_from_"
"""Numbers of a key's changes: the last one, the last that puts a row, the last delete, the last with a value."""
_PLACE = "_dataflare_place"


@dataclass(frozen=True, slots=True)
class Merge(Applying):
    """The table becomes what the source's is.

    `kept`: columns that keep reserved ones, with their expressions; `deleted_at` with its expression where deletes are
    soft. `place`: the column that keeps where in the log a row was changed; changes from before it are left out.
    """

    kept: Mapping[str, str] = field(default_factory=dict)
    deleted_at: tuple[str, str] | None = None
    place: str = ""

    @property
    def forgets(self) -> bool:
        """Unless marks or later rows stay."""
        return self.deleted_at is None and not self.place

    def span(self, rows: StagedRows, condition: str, operations: set[str], unchanged: Sequence[str]) -> None:
        """Collapse, delete or mark, upsert."""
        if self.forgets and not unchanged:
            newest = _Newest(self, rows, condition)
            if Op.DELETE in operations:
                rows.run(newest.delete())
            rows.run(newest.upsert())
            return
        span = _Span(self, rows, condition, unchanged)
        if unchanged:
            self.refuse(rows.run(span.unknown()), unchanged)
        if Op.DELETE in operations:
            rows.run(span.mark() if self.deleted_at is not None else span.delete())
        rows.run(span.upsert())

    def truncate(self, rows: StagedRows, truncation: Truncation) -> None:
        """Delete or mark all rows."""
        dialect = self.dialect
        table, n = dialect.reference(self.table), truncation.number
        row = f"{rows.relation} where {dialect.ordinal} = {n}"
        late = ""
        if self.place:
            where = f"(select {dialect.quote(TX)} from {row})"  # noqa: S608
            late = f"not coalesce({dialect.quote(self.place)}{dialect.bytewise} > {where}, false)"
        if self.deleted_at is None:
            rows.run(f"delete from {table}{' where ' if late else ''}{late}")  # noqa: S608
            return
        told = {**self.kept, self.deleted_at[0]: self.deleted_at[1]}
        sets = ", ".join(f"{dialect.quote(c)} = (select {value} from {row})" for c, value in told.items())  # noqa: S608
        there = f"{dialect.quote(self.deleted_at[0])} is null"
        rows.run(f"update {table} set {sets} where {there}{' and ' if late else ''}{late}")  # noqa: S608

    def later(self, there: str, place: str) -> str:
        """Return the condition that a row of the table was changed later than a place in the log."""
        bytewise = self.dialect.bytewise
        return f"coalesce({there}{bytewise} > {place}{bytewise}, false)"

    def insertion(self, columns: Sequence[str], query: str, head: str) -> str:
        """Return the statement that inserts the rows of a query, or updates those whose key is there already."""
        others, late = [c for c in columns if c not in self.key], self.later if self.place else None
        conflict = self.dialect.conflict(self.table, self.key, others, self.place, late)
        return self.dialect.insertion(self.table, columns, query, head=head, conflict=conflict)


@dataclass(frozen=True, slots=True)
class _Newest:
    """The statements where the last change of a key says all: rows are whole, and nothing else stays of the others.

    They take half the time of those of `_Span` (PostgreSQL, 140,000 changes), which look for several changes of a key.
    """

    merge: Merge
    rows: StagedRows
    condition: str

    def upsert(self) -> str:
        """Return the statement that puts the rows that are there in the end."""
        merge = self.merge
        columns = [*merge.values, *merge.kept]
        query = f"select {merge.dialect.listed(columns)} from l where l.{WHAT} <> '{Op.DELETE}'"  # noqa: S608
        return merge.insertion(columns, query, self._net())

    def delete(self) -> str:
        """Return the statement that removes the rows that are gone in the end."""
        merge = self.merge
        keys = merge.dialect.listed(merge.key)
        gone = f"select {keys} from l where l.{WHAT} = '{Op.DELETE}'"  # noqa: S608
        return merge.dialect.deletion(merge.table, merge.key, gone, self._net())

    def _net(self) -> str:
        """Return the head of a statement, in which `l` has the last change of each key."""
        merge, dialect = self.merge, self.merge.dialect
        listed = [f"{dialect.quote(OP)} as {WHAT}"]
        listed += [f"{expression} as {dialect.quote(c)}" for c, expression in {**merge.values, **merge.kept}.items()]
        if self.rows.told.unique:
            staged = f"{self.rows.relation} where {merge.applied(self.condition)}"
            return f"with l as (select {', '.join(listed)} from {staged})"  # noqa: S608
        order = f"partition by {', '.join(merge.values[k] for k in merge.key)} order by {dialect.ordinal} desc"
        numbered = (
            f"select {', '.join(listed)}, row_number() over ({order}) as _dataflare_row "  # noqa: S608
            f"from {self.rows.relation} where {merge.applied(self.condition)}"
        )
        return f"with l as (select * from ({numbered}) n where _dataflare_row = 1)"  # noqa: S608


@dataclass(frozen=True, slots=True)
class _Span:
    """The statements for the changes between two truncations. In them `s` is what is staged, `l` a row for each key."""

    merge: Merge
    rows: StagedRows
    condition: str
    unchanged: Sequence[str]

    def upsert(self) -> str:
        """Return the statement that puts the rows that are there in the end."""
        merge, quote = self.merge, self.merge.dialect.quote
        soft = merge.deleted_at
        columns = {c: self._value(c) for c in merge.values}
        columns |= {c: f"m.{quote(c)}" for c in merge.kept}
        if soft is not None:
            columns[soft[0]] = f"case when l.{_PUT} = l.{_LAST} then null else m.{quote(soft[0])} end"
        n = merge.dialect.ordinal
        joins = [f"join s on s.{n} = l.{_PUT}", f"join s m on m.{n} = l.{_LAST}"]
        joins += [f"left join s f{i} on f{i}.{n} = l.{_FROM}{i}" for i, _ in enumerate(self.unchanged)]
        joins += [f"left join {self._table} t on {self.merge.same('t', 'l')}"] if self.unchanged else []
        query = f"select {', '.join(columns.values())} from l {' '.join(joins)} where {self._puts}"  # noqa: S608
        return merge.insertion(list(columns), query, self._net())

    def delete(self) -> str:
        """Return the statement that removes the rows that are gone in the end."""
        merge, n = self.merge, self.merge.dialect.ordinal
        keys = ", ".join(f"l.{merge.dialect.quote(k)}" for k in merge.key)
        joins, late = "", ""
        if merge.place:
            joins = f" join s m on m.{n} = l.{_LAST} join {self._table} t on {self.merge.same('t', 'l')}"
            late = f" and not {merge.later(f't.{merge.dialect.quote(merge.place)}', f'm.{_PLACE}')}"
        gone = f"select {keys} from l{joins} where l.{_GONE} = l.{_LAST}{late}"  # noqa: S608
        return merge.dialect.deletion(merge.table, merge.key, gone, self._net())

    def mark(self) -> str:
        """Return the statement that marks rows of which nothing else is staged than that they are gone."""
        merge, quote = self.merge, self.merge.dialect.quote
        assert merge.deleted_at is not None
        told, n = [*merge.kept, merge.deleted_at[0]], merge.dialect.ordinal
        taken = [*(f"l.{quote(k)}" for k in merge.key), *(f"m.{quote(c)}" for c in told), f"m.{_PLACE}"]
        query = f"select {', '.join(taken)} from l join s m on m.{n} = l.{_LAST} where l.{_PUT} is null"  # noqa: S608
        late = f" and not {merge.later(f't.{quote(merge.place)}', f'u.{_PLACE}')}" if merge.place else ""
        sets = {c: f"u.{quote(c)}" for c in told}
        return merge.dialect.update(merge.table, sets, query, f"{merge.same('t', 'u')}{late}", self._net())

    def unknown(self) -> str:
        """Return the query for the key of a row that wants a value which is neither staged nor in the table."""
        keys = ", ".join(f"l.{self.merge.dialect.quote(k)}" for k in self.merge.key)
        absent = f"(l.{_GONE} is not null or t.{self.merge.dialect.quote(self.merge.key[0])} is null)"
        wanted = " or ".join(f"not {self._staged(i)}" for i, _ in enumerate(self.unchanged))
        return (
            f"{self._net()} select {keys} from l left join {self._table} t on {self.merge.same('t', 'l')} "  # noqa: S608
            f"where {self._puts} and {absent} and ({wanted}) limit 1"
        )

    # ---- parts --------------------------------------------------------------------------------------------------

    @property
    def _table(self) -> str:
        return self.merge.dialect.reference(self.merge.table)

    @property
    def _puts(self) -> str:
        """The condition that a row is there in the end; a soft delete leaves it there as well."""
        return f"l.{_PUT} = l.{_LAST}" if self.merge.deleted_at is None else f"l.{_PUT} is not null"

    def _net(self) -> str:
        """Return the head of a statement, which tells what `s` and `l` are."""
        merge, dialect = self.merge, self.merge.dialect
        quote, n = dialect.quote, dialect.ordinal
        own = {**merge.values, **merge.kept, **dict([merge.deleted_at] if merge.deleted_at else [])}
        listed = [n, f"{quote(OP)} as {WHAT}", f"{quote(TX)} as {_PLACE}"]
        listed += [f"{quote(UNCHANGED)} as {LEFT}"] if self.unchanged else []
        listed += [f"{expression} as {quote(c)}" for c, expression in own.items()]
        staged = f"select {', '.join(listed)} from {self.rows.relation} where {merge.applied(self.condition)}"  # noqa: S608
        if merge.place:
            staged = self._in_order(staged)
        puts = f"{WHAT} <> '{Op.DELETE}'"
        gone = f"{WHAT} = '{Op.DELETE}'" if merge.deleted_at is None else "1 = 0"
        keys = dialect.listed(merge.key)
        numbers = [f"max({n}) as {_LAST}"]
        numbers += [f"max(case when {c} then {n} end) as {name}" for c, name in ((puts, _PUT), (gone, _GONE))]
        numbers += [f"max(case when {merge.sends(c)} then {n} end) as {_FROM}{i}" for i, c in enumerate(self.unchanged)]
        head = f"with s as {dialect.materialized(once=bool(merge.place))}({staged})"
        return f"{head}, l as (select {keys}, {', '.join(numbers)} from s group by {keys})"  # noqa: S608

    def _in_order(self, staged: str) -> str:
        """Leave out what comes behind a later change of its key."""
        dialect = self.merge.dialect
        window = f"partition by {dialect.listed(self.merge.key)} order by {dialect.ordinal}"
        newest = f"max({_PLACE}{dialect.bytewise}) over ({window}) as _dataflare_newest"
        late = f"coalesce({_PLACE}{dialect.bytewise} < _dataflare_newest{dialect.bytewise}, false)"
        return f"select * from (select *, {newest} from ({staged}) a) b where not {late}"  # noqa: S608

    def _staged(self, i: int) -> str:
        """Return the condition that the value of an unchanged column is staged, and the row was not deleted since."""
        return f"coalesce(l.{_FROM}{i} > coalesce(l.{_GONE}, -1), false)"

    def _value(self, column: str) -> str:
        name = self.merge.dialect.quote(column)
        if column not in self.unchanged:
            return f"s.{name}"
        i = self.unchanged.index(column)
        return f"case when {self._staged(i)} then f{i}.{name} else t.{name} end"


__all__ = ["Merge"]
