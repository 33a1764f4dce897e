"""Changes of a table's columns: how a stream goes on when its source has other columns than it had.

The columns that a stream was planned with are remembered, with the source's own mark of each, so that one that was
renamed is not taken for another. Words of policy are those of dlt (`contract`) and of Flink CDC (`ddl`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from dataflare.batch import RESERVED
from dataflare.changes import BEFORE, OP, UNCHANGED, changing
from dataflare.component.deviations import wider_type
from dataflare.component.known import Known, KnownColumn
from dataflare.errors import WorkflowError
from dataflare.plan_words import Change, Ddl
from dataflare.schema import Column, Schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.component.source import Stream

FORMER_MAX = 8
"""So many former names of a column are remembered: log of before a rename still has them."""


class Verdict(StrEnum):
    """What a policy says of one kind of change."""

    TAKE = "take"
    LEAVE = "leave"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Policy:
    """The words of a source's `schema`; `leave` are kinds of change that nobody shall hear of."""

    columns: str = "evolve"
    data_type: str = "evolve"
    ddl: Ddl = Ddl.LENIENT
    leave: frozenset[str] = frozenset()

    @classmethod
    def of(cls, contract: Mapping[str, Any]) -> Self:
        """Read them from the contract of a stage."""
        words = {name: contract[name] for name in ("columns", "data_type") if contract.get(name)}
        return cls(**words, ddl=Ddl(contract.get("ddl", Ddl.LENIENT)), leave=frozenset(contract.get("leave", ())))

    def verdict(self, kind: Change) -> Verdict:
        """Return what becomes of a change."""
        word = self.data_type if kind is Change.RETYPE else self.columns
        if kind in self.leave:
            return Verdict.LEAVE
        if word == "freeze" or self.ddl is Ddl.EXCEPTION:
            return Verdict.REFUSE
        return Verdict.LEAVE if word != "evolve" or self.ddl is Ddl.IGNORE else Verdict.TAKE

    @property
    def follows(self) -> bool:
        """Whether what the source drops and renames is dropped and renamed everywhere."""
        return self.ddl in (Ddl.EVOLVE, Ddl.TRY_EVOLVE)


@dataclass(frozen=True, slots=True)
class ColumnChange:
    """One change: of a column that is called `name` now, or was when it was there; `was` and `now` are names or types.

    `verdict` is what becomes of it.
    """

    kind: Change
    name: str
    was: str = ""
    now: str = ""
    verdict: Verdict = Verdict.TAKE

    def __str__(self) -> str:
        """Say it in words."""
        match self.kind:
            case Change.ADD:
                return f"column {self.name} is new ({self.now})"
            case Change.DROP:
                return f"column {self.name} is gone"
            case Change.RENAME:
                return f"column {self.was} is called {self.now} now"
        return f"column {self.name} was {self.was} and is {self.now} now"


@dataclass(slots=True)
class Evolved:
    """How a stream goes on: its schema, what is remembered of it from now on, what has changed.

    `dropped` and `renamed` (new names by old ones) are what destinations have to follow.
    """

    schema: Schema
    known: Known
    changes: list[ColumnChange] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)

    def refused(self, what: str) -> WorkflowError | None:
        """Return the error of the first change that may not be."""
        change = next((c for c in self.changes if c.verdict is Verdict.REFUSE), None)
        if change is None:
            return None
        word = "data_type" if change.kind is Change.RETYPE else "columns"
        ddl = "evolve" if change.kind is Change.RENAME else "lenient"
        return WorkflowError(
            f"{what}: {change}, which is refused",
            hint=f"let it be: schema: {{contract: {{{word}: evolve}}, ddl: {ddl}}}",
        )


def data_columns(schema: Schema) -> Schema:
    """Return the columns of a table, without those in which changes travel."""
    return schema.select(n for n in schema.names if n not in RESERVED)


def remembered(stream: Stream) -> Known:
    """Return what is remembered of a stream that is planned for the first time."""
    marks = stream.marks or {}
    return tuple(KnownColumn(c.name, c.type, marks.get(c.name, "")) for c in data_columns(stream.schema))


def evolve(known: Known, stream: Stream, policy: Policy) -> Evolved:
    """Return how a stream goes on that was planned with `known` columns and has those of `stream` now.

    A column that the source has no more stands behind the others. Raises nothing: see `Evolved.refused`.
    """
    found, marks = data_columns(stream.schema), stream.marks or {}
    was = {c.name: c for c in known}
    out, columns, kept = Evolved(stream.schema, ()), [], []
    old_names = _renames(known, found, marks)
    moved = set(old_names.values()) if policy.follows else ()
    for column in found:
        mark, old = marks.get(column.name, ""), old_names.get(column.name)
        if column.name in was and not was[column.name].held and column.name not in moved:
            kind = _retyped(out, was[column.name], column, policy)
            columns.append(replace(column, type=kind))
            kept.append(replace(was[column.name], type=kind, mark=mark))
        elif old is not None:
            _rename(out, was[old], column, policy, of_key=column.name in stream.key)
            if policy.follows:
                kind = _retyped(out, replace(was[old], name=column.name), column, policy)
                columns.append(replace(column, type=kind))
                former = (*was[old].former, old)[-FORMER_MAX:]
                kept.append(KnownColumn(column.name, kind, mark, former=former))
            else:
                columns.append(column)
                kept.append(KnownColumn(column.name, column.type, mark))
        else:
            verdict = policy.verdict(Change.ADD)
            out.changes.append(ColumnChange(Change.ADD, column.name, now=column.type, verdict=verdict))
            if verdict is not Verdict.LEAVE:
                columns.append(column)
                kept.append(KnownColumn(column.name, column.type, mark))
    for former_one in known:
        name = former_one.name
        if any(c.name == name for c in kept) or name in out.renamed:
            continue
        if _stays(out, former_one, policy, renamed=name in old_names.values()):
            columns.append(Column(name, former_one.type))
            kept.append(replace(former_one, held=True, mark=""))
    out.schema, out.known = _with_columns(stream, Schema(tuple(columns))), tuple(kept)
    return out


def _renames(known: Known, found: Schema, marks: Mapping[str, str]) -> dict[str, str]:
    """Return former names by new ones, told by the source's marks."""
    names = {c.name for c in known if not c.held}
    old = {c.mark: c.name for c in known if c.mark and not c.held and marks.get(c.name, "") != c.mark}
    return {c.name: old[marks[c.name]] for c in found if c.name not in names and marks.get(c.name, "") in old}


def _rename(out: Evolved, was: KnownColumn, column: Column, policy: Policy, *, of_key: bool) -> None:
    """A column has another name: to leave that alone would lose its values, so it is refused.

    So is a new column of the key beside one that is null from there on.
    """
    taken = policy.verdict(Change.RENAME) is Verdict.TAKE and (policy.follows or not of_key)
    verdict = Verdict.TAKE if taken else Verdict.REFUSE
    out.changes.append(ColumnChange(Change.RENAME, column.name, was.name, column.name, verdict))
    if policy.follows:
        out.renamed[was.name] = column.name


def _retyped(out: Evolved, was: KnownColumn, column: Column, policy: Policy) -> str:
    """Return the type by which a column goes on."""
    if was.type == column.type:
        return was.type
    wide = wider_type(was.type, column.type)
    if wide == was.type:
        return wide
    verdict = policy.verdict(Change.RETYPE)
    if verdict is Verdict.TAKE and wide is None and not policy.follows:
        verdict = Verdict.LEAVE
    out.changes.append(ColumnChange(Change.RETYPE, column.name, was.type, column.type, verdict))
    return was.type if verdict is Verdict.LEAVE else wide or column.type


def _stays(out: Evolved, column: KnownColumn, policy: Policy, *, renamed: bool) -> bool:
    """Tell whether a column that the source has no more is kept, empty."""
    if column.held:
        return True
    if renamed:
        return not policy.follows
    verdict = policy.verdict(Change.DROP)
    out.changes.append(ColumnChange(Change.DROP, column.name, was=column.type, verdict=verdict))
    if verdict is Verdict.TAKE and policy.follows:
        out.dropped.append(column.name)
        return False
    return True


def _with_columns(stream: Stream, columns: Schema) -> Schema:
    """Return the schema of a stream with other columns of the table."""
    schema = stream.schema
    if OP not in schema:
        return columns
    return changing(columns, tuple(stream.key), unchanged=UNCHANGED in schema, before=BEFORE in schema)


__all__ = [
    "ColumnChange",
    "Evolved",
    "Policy",
    "Verdict",
    "data_columns",
    "evolve",
    "remembered",
]
