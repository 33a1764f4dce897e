"""Compares the columns that a table shall have with those that it has, and says what would make it follow.

Nothing is remembered: what is done is seen at the table, so that a run which was killed in between goes on where the
table stands.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from dataflare.component.alteration import Alteration
from dataflare.sql.ddl import add_column, missing
from dataflare.sql.widening import holds, joined

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dataflare.component import StageContext
    from dataflare.component.alteration import Verdict
    from dataflare.schema import Column, Schema
    from dataflare.sql.dialect import Defined, Dialect, Table
    from dataflare.sql.shape import Shape

FOLLOWS = ("evolve", "try_evolve")
"""Policies under which the table becomes what its source is."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What `StageContext.ddl` says. `told`: there is a policy; without one, rules of the table itself stay."""

    policy: str = "lenient"
    told: bool = False
    drop: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, ddl: Mapping[str, Any]) -> Self:
        """Read it."""
        policy = str(ddl.get("policy", "lenient"))
        return cls(policy, "policy" in ddl, tuple(ddl.get("drop", ())), dict(ddl.get("rename", {})))

    @property
    def alters(self) -> bool:
        """Whether a table becomes wider."""
        return self.policy in (*FOLLOWS, "lenient")

    @property
    def needed(self) -> Verdict:
        """What becomes of a change without which rows do not fit."""
        return "alter" if self.alters else "refuse"

    def without_renames(self) -> Orders:
        """Return the rest."""
        return replace(self, rename={})


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of one table of a database with the columns `wanted`; those of `key` are never dropped, nor may they be null."""

    dialect: Dialect
    table: Table
    wanted: Schema
    key: Sequence[str]
    orders: Orders

    def alterations(self, found: Mapping[str, Defined]) -> list[Alteration]:
        """Return what has to be done, in this order: renames, new columns, dropped ones, types and nulls."""
        there = dict(found)
        made = list(self._renames(there))
        for alteration in made:
            if alteration.verdict == "alter":
                there[alteration.now] = replace(there.pop(alteration.was), name=alteration.now)
        made += self._added(there)
        made += self._dropped(there)
        for column in self.wanted:
            if column.name in there:
                made += self._fitted(column, there[column.name])
        return made

    def _renames(self, found: Mapping[str, Defined]) -> Iterator[Alteration]:
        """A chain of names is renamed from its end, so that none is in the way."""
        names, left = set(found), dict(self.orders.rename)
        if self.orders.policy == "ignore":
            return
        while ready := {old: new for old, new in left.items() if old in names and new not in names}:
            for old, new in ready.items():
                if new in names:
                    continue
                statement = self.dialect.rename_column(self.table, old, new)
                yield Alteration(str(self.table), "rename", new, old, new, (statement,), verdict=self.orders.needed)
                names = names - {old} | {new}
                del left[old]

    def _added(self, found: Mapping[str, Defined]) -> Iterator[Alteration]:
        for column in missing(self.wanted, found):
            kind = self.dialect.column_type(column.type)
            statement = add_column(self.dialect, self.table, column)
            yield Alteration(str(self.table), "add", column.name, "", kind, (statement,), verdict=self.orders.needed)

    def _dropped(self, found: Mapping[str, Defined]) -> Iterator[Alteration]:
        for name in self.orders.drop if self.orders.policy in FOLLOWS else ():
            if name not in found or name in self.wanted or name in self.key:
                continue
            verdict: Verdict = "leave" if found[name].primary else "alter"
            statement = self.dialect.drop_column(self.table, name)
            yield Alteration(
                str(self.table), "drop", name, found[name].declared, "", (statement,), widens=False, verdict=verdict
            )

    def _fitted(self, column: Column, found: Defined) -> Iterator[Alteration]:
        """Make a column take what comes; a wider one stays, and so does one that only its owner understands."""
        if found.fixed or self.orders.policy == "ignore":
            return
        kind = self._kind(column, found)
        if kind:
            yield self._retyped(column, found, kind)
        may = column.nullable and column.name not in self.key and not found.primary
        if found.required and may and self._loosens:
            statements = self.dialect.nullable(self.table, found)
            yield Alteration(str(self.table), "nullable", column.name, statements=statements)

    @property
    def _loosens(self) -> bool:
        """Whether rules of the table itself are given up: only where somebody speaks of following."""
        return self.orders.alters and self.orders.told

    def _kind(self, column: Column, found: Defined) -> str:
        """Return the type that the column should have; "" where the one that it has will do."""
        dialect = self.dialect
        text = dialect.kept(column.type)
        if found.declared.lower() == dialect.column_type(column.type).lower():
            return ""
        if found.limited:
            fixed = column.name in self.key and dialect.key_type("string") != dialect.column_type("string")
            return dialect.column_type("string") if text == "string" and self._loosens and not fixed else ""
        if holds(found.type, text) or (found.boundless and text.startswith(_NUMBERS)):
            return ""
        kind = self._made(column, self._wider(found, text) or column.type)
        return kind if dialect.differs_in_use(found.declared, kind) else ""

    def _wider(self, found: Defined, text: str) -> str | None:
        """Return the type that holds what is there and what comes; None where there is none."""
        wide = joined(found.type, text)
        return None if wide == "timestamp" != found.type and not self.dialect.dates_are_instants else wide

    def _made(self, column: Column, text: str) -> str:
        """Return the type of a column that holds values of a type text."""
        return self.dialect.key_type(text) if column.name in self.key else self.dialect.column_type(text)

    def _retyped(self, column: Column, found: Defined, kind: str) -> Alteration:
        dialect, text = self.dialect, self.dialect.kept(column.type)
        wide = self._wider(found, text)
        widens = found.limited or (wide is not None and kind == self._made(column, wide))
        if widens:
            verdict: Verdict = self.orders.needed
        else:
            verdict = "alter" if self.orders.policy in FOLLOWS else "leave"
        return Alteration(
            str(self.table),
            "retype",
            column.name,
            found.declared,
            kind,
            dialect.retype(self.table, found, kind),
            widens=widens,
            verdict=verdict,
            losing="" if widens else dialect.losing(self.table, found, kind),
        )


def comparison_of(dialect: Dialect, table: Table, shape: Shape, context: StageContext) -> Comparison:
    """Return the comparison of a destination's target."""
    return Comparison(dialect, table, shape.target, (*shape.key, *context.key), Orders.of(context.ddl))


_NUMBERS = ("int", "uint", "decimal", "float")

__all__ = ["FOLLOWS", "Comparison", "Orders", "comparison_of"]
