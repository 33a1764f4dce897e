"""Keeps the versions of rows (`scd2`): a row that changes closes its current version and opens another.

Of what is staged only those changes matter that differ from the version before them, or that end it; they are gathered
in a temporary table of events, since the version that they follow is changed by them. A version begins where the one
before it ends, and never before that one began.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dataflare.changes import OP, UNCHANGED, Op
from dataflare.sql.applying import LEFT, WHAT, Applying

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dataflare.sql.staged_rows import StagedRows, Truncation

_EVENTS = "_dataflare_events"
_AT, _FROM, _GONE = "_dataflare_at", "_dataflare_from_", "_dataflare_gone"


@dataclass(frozen=True, slots=True)
class History(Applying):
    """The table has a row for each version of a row.

    `valid_from`, `valid_to`, `is_current`: its columns for that; `at`: the expression of the time of a change.
    `compared`: by column what follows its name where two values are compared. `last_only`: of several rows of a key
    that are staged only the last counts.
    """

    valid_from: str = ""
    valid_to: str = ""
    is_current: str = ""
    at: str = ""
    compared: Mapping[str, str] = field(default_factory=dict)
    last_only: bool = False

    @property
    def forgets(self) -> bool:
        """Versions are there to stay."""
        return False

    def span(self, rows: StagedRows, condition: str, operations: set[str], unchanged: Sequence[str]) -> None:
        """Gather the events, close the versions that they end, open those that they begin."""
        del operations
        span = _Span(self, rows, condition, unchanged)
        if unchanged:
            self.refuse(rows.run(span.unknown()), unchanged)
        rows.run(span.events())
        rows.run(self._close())
        rows.run(self._open())
        rows.run(self.dialect.drop_temporary(_EVENTS))

    def truncate(self, rows: StagedRows, truncation: Truncation) -> None:
        """Close all versions."""
        quote = self.dialect.quote
        began = quote(self.valid_from)
        at = f"(select {self.at} from {rows.relation} where {self.dialect.ordinal} = {truncation.number})"  # noqa: S608
        rows.run(
            f"update {self._table} set {quote(self.valid_to)} = case when {began} > {at} then {began} else {at} end, "  # noqa: S608
            f"{quote(self.is_current)} = false where {quote(self.is_current)}"
        )

    def _close(self) -> str:
        current = f"t.{self.dialect.quote(self.is_current)}"
        sets = {self.valid_to: f"u.{_AT}", self.is_current: "false"}
        first = f"select * from {_EVENTS} where _dataflare_turn = 1"  # noqa: S608
        return self.dialect.update(self.table, sets, first, f"{self.same('t', 'u')} and {current}")

    def _open(self) -> str:
        names = self.dialect.listed([*self.values, self.valid_from, self.valid_to, self.is_current])
        told = f"{self.dialect.listed(list(self.values))}, {_AT}, _dataflare_until, _dataflare_until is null"
        return f"insert into {self._table} ({names}) select {told} from {_EVENTS} where {WHAT} <> '{Op.DELETE}'"  # noqa: S608

    @property
    def _table(self) -> str:
        return self.dialect.reference(self.table)


@dataclass(frozen=True, slots=True)
class _Span:
    """The statements for the changes between two truncations.

    In them `s` is what is staged, `w` tells for each row where the values are that it lacks, `v` is what is staged with
    all its values, `c` the current versions, `t` one of them.
    """

    history: History
    rows: StagedRows
    condition: str
    unchanged: Sequence[str]

    def events(self) -> str:
        """Return the statement that makes the table of events: `_dataflare_turn` is 1 for the first of a key."""
        history = self.history
        n, window, names = self._ordinal, self._window, [history.dialect.quote(c) for c in history.values]
        key, began = history.dialect.quote(history.key[0]), f"t.{history.dialect.quote(history.valid_from)}"
        ends = f"case when p.{n} is null then t.{key} is not null else p.{WHAT} <> '{Op.DELETE}' end"
        begins = (
            f"case when p.{n} is null then t.{key} is null or {self._differs('t')} "
            f"else p.{WHAT} = '{Op.DELETE}' or {self._differs('p')} end"
        )
        found = (
            f"select {', '.join(f'o.{name}' for name in names)}, o.{n}, o.{WHAT}, "  # noqa: S608
            f"case when {began} > o._dataflare_latest then {began} else o._dataflare_latest end as {_AT} "
            f"from o left join v p on p.{n} = o._dataflare_previous {self._current('o')} "
            f"where case when o.{WHAT} = '{Op.DELETE}' then {ends} else {begins} end"
        )
        return (
            f"create temporary table {_EVENTS} as {self._whole()}, o as (select v.*, lag({n}) over ({window}) "  # noqa: S608
            f"as _dataflare_previous, max({_AT}) over ({window}) as _dataflare_latest from v), e as ({found}) "
            f"select e.*, lead({_AT}) over ({window}) as _dataflare_until, "
            f"row_number() over ({window}) as _dataflare_turn from e"
        )

    def unknown(self) -> str:
        """Return the query for the key of a row that wants a value which is neither staged nor in the table."""
        history = self.history
        keys = ", ".join(f"w.{history.dialect.quote(k)}" for k in history.key)
        absent = f"(w.{_GONE} is not null or t.{history.dialect.quote(history.key[0])} is null)"
        wanted = " or ".join(f"not {self._staged(i)}" for i, _ in enumerate(self.unchanged))
        return (
            f"with {self._lacking()} select {keys} from w {self._current('w')} "  # noqa: S608
            f"where w.{WHAT} <> '{Op.DELETE}' and {absent} and ({wanted}) limit 1"
        )

    # ---- parts --------------------------------------------------------------------------------------------------

    def _whole(self) -> str:
        """Return the head of a statement that tells what `v` is."""
        if not self.unchanged:
            return f"with {self._plain('v')}, {self._versions('v')}"
        n, quote = self._ordinal, self.history.dialect.quote
        joins = [f"left join s f{i} on f{i}.{n} = w.{_FROM}{i}" for i, _ in enumerate(self.unchanged)]
        values = ", ".join(f"{self._value(c)} as {quote(c)}" for c in self.history.values)
        return (
            f"with {self._lacking()}, v as (select s.{n}, s.{WHAT}, s.{_AT}, {values} "  # noqa: S608
            f"from s join w on w.{n} = s.{n} {' '.join(joins)} {self._current('s')})"
        )

    def _plain(self, name: str) -> str:
        """Return the definition of what is staged."""
        history, dialect = self.history, self.history.dialect
        condition = history.applied(self.condition)
        if history.last_only:
            keys = dialect.listed(history.key)
            condition += (
                f" and {self._ordinal} in (select max({self._ordinal}) from {self.rows.relation} group by {keys})"  # noqa: S608
            )
        listed = [self._ordinal, f"{dialect.quote(OP)} as {WHAT}", f"{history.at} as {_AT}"]
        listed += [f"{dialect.quote(UNCHANGED)} as {LEFT}"] if self.unchanged else []
        listed += [f"{expression} as {dialect.quote(c)}" for c, expression in history.values.items()]
        return f"{name} as (select {', '.join(listed)} from {self.rows.relation} where {condition})"  # noqa: S608

    def _versions(self, staged: str) -> str:
        """Return the definition of `c`: the current versions of what is staged, looked up once."""
        history, dialect = self.history, self.history.dialect
        names = dialect.listed([*history.values, history.valid_from])
        keys = dialect.listed(history.key)
        return (
            f"c as {dialect.materialized(once=True)}(select {names} from {dialect.reference(history.table)} "  # noqa: S608
            f"where {dialect.quote(history.is_current)} and ({keys}) in (select {keys} from {staged}))"
        )

    def _lacking(self) -> str:
        """Return the definitions of `s`, `c` and `w`."""
        n, keys = self._ordinal, self.history.dialect.listed(self.history.key)
        gone = f"max(case when {WHAT} = '{Op.DELETE}' then {n} end) over ({self._window}) as {_GONE}"
        found = (
            f"max(case when {self.history.sends(c)} then {n} end) over ({self._window}) as {_FROM}{i}"
            for i, c in enumerate(self.unchanged)
        )
        where = f"select {n}, {keys}, {WHAT}, {gone}, {', '.join(found)} from s"  # noqa: S608
        return f"{self._plain('s')}, {self._versions('s')}, w as ({where})"

    def _value(self, column: str) -> str:
        name = self.history.dialect.quote(column)
        if column not in self.unchanged:
            return f"s.{name}"
        i = self.unchanged.index(column)
        return f"case when {self._staged(i)} then f{i}.{name} else t.{name} end"

    def _staged(self, i: int) -> str:
        """Return the condition that the value of an unchanged column is staged, and the row was not deleted since."""
        return f"coalesce(w.{_FROM}{i} > coalesce(w.{_GONE}, -1), false)"

    def _current(self, other: str) -> str:
        """Return the join of the current version, if there is one."""
        return f"left join c t on {self.history.same('t', other)}"

    def _differs(self, other: str) -> str:
        history = self.history
        pairs = [
            (history.dialect.quote(c), history.compared.get(c, "")) for c in history.values if c not in history.key
        ]
        found = (history.dialect.differ(f"o.{name}{cast}", f"{other}.{name}{cast}") for name, cast in pairs)
        return f"({' or '.join(found) or 'false'})"

    @property
    def _ordinal(self) -> str:
        return self.history.dialect.ordinal

    @property
    def _window(self) -> str:
        return f"partition by {self.history.dialect.listed(self.history.key)} order by {self._ordinal}"


__all__ = ["History"]
