"""Cuts a chain into segments, each at most one SQL statement, and says which columns need to go through it.

A segment has at most one condition, so the rows that come out tell the counts of every step in it. Only columns that
an expression reads enter the statement; all others pass by reference, or by the numbers of the rows that were kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflare.errors import WorkflowError
from dataflare.expression.session import INPUT, folded, quoted, select

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dataflare.expression.check import Expression
    from dataflare.expression.typed import CheckedStep
    from dataflare.schema import Schema


@dataclass(frozen=True, slots=True)
class Segment:
    """Steps that run as one statement, or as none when they only pick and rename columns.

    `reads` are the input columns that enter the statement, `ordinal` the name under which row numbers do ("" where
    they are not needed), `made` the computed output columns, which the statement answers in this order. `passed`
    gives the input column that each other output column is.
    """

    steps: tuple[CheckedStep, ...]
    reads: tuple[str, ...]
    ordinal: str
    made: tuple[str, ...]
    passed: dict[str, str]
    needs: tuple[tuple[str, ...], ...]

    @property
    def before(self) -> Schema:
        """The input's schema."""
        return self.steps[0].before

    @property
    def after(self) -> Schema:
        """The output's schema."""
        return self.steps[-1].after

    @property
    def filters(self) -> bool:
        """Whether it has a condition."""
        return any(s.condition is not None for s in self.steps)

    @property
    def computes(self) -> bool:
        """Whether it needs a statement at all."""
        return self.filters or bool(self.made)

    @property
    def tells_time(self) -> bool:
        """Whether its statement holds the epoch's time, and must be prepared anew with each epoch."""
        return any(e.clocks for s in self.steps for e in _expressions(s))

    def sql(self, epoch: int) -> str:
        """Return the statement; the epoch's time is in microseconds."""
        before, parts = INPUT, []
        ordinal = [quoted(self.ordinal)] if self.ordinal else []
        for number, step in enumerate(self.steps):
            expressions = dict(step.columns or ())
            columns = [
                f"{expressions[name].sql(epoch)} as {quoted(name)}" if name in expressions else quoted(name)
                for name in self.needs[number]
            ]
            where = f"where {step.condition.sql(epoch)}" if step.condition is not None else ""
            parts.append(f"__step{number} as ({select([*columns, *ordinal], before, where)})")
            before = f"__step{number}"
        answer = [*map(quoted, self.made), *(ordinal if self.filters else [])]
        return f"with {', '.join(parts)} {select(answer, before)}"


def segments(steps: Sequence[CheckedStep]) -> list[Segment]:
    """Cut steps before each condition after the first."""
    runs: list[list[CheckedStep]] = []
    for step in steps:
        if not runs or (step.condition is not None and any(s.condition is not None for s in runs[-1])):
            runs.append([])
        runs[-1].append(step)
    return [_segment(tuple(run)) for run in runs]


def entire(segment: Segment) -> Segment:
    """Return the segment whose statement answers all columns, those too that could pass it by, and no row numbers."""
    return _segment(segment.steps, passes=False)


def _segment(steps: tuple[CheckedStep, ...], *, passes: bool = True) -> Segment:
    origins: dict[str, str | None] = {name: name if passes else None for name in steps[0].before.names}
    for step in steps:
        if step.columns is not None:
            origins = {name: None if e.column is None else origins[e.column] for name, e in step.columns}
    made = tuple(name for name, origin in origins.items() if origin is None)
    needed, needs = list(made), []
    for step in reversed(steps):
        needs.append(tuple(needed))
        needed = _read_before(step, needed)
    _refuse_lookalikes(needed, *needs)
    filters = any(s.condition is not None for s in steps)
    taken = {folded(name) for names in (needed, *needs) for name in names}
    ordinal = _free("__row", taken) if passes and (filters or not needed) else ""
    passed = {name: origin for name, origin in origins.items() if origin is not None}
    return Segment(steps, tuple(needed), ordinal, made, passed, tuple(reversed(needs)))


def _read_before(step: CheckedStep, needed: Iterable[str]) -> list[str]:
    """Return the columns before a step that the needed ones after it, and its condition, are made of."""
    columns = dict(step.columns or ())
    names = [n for name in needed for n in (columns[name].reads if name in columns else (name,))]
    if step.condition is not None:
        names += step.condition.reads
    return list(dict.fromkeys(names))


def _expressions(step: CheckedStep) -> list[Expression]:
    return [e for e in (step.condition, *dict(step.columns or ()).values()) if e is not None]


def _refuse_lookalikes(*groups: Sequence[str]) -> None:
    for names in groups:
        by_word: dict[str, str] = {}
        for name in names:
            other = by_word.setdefault(folded(name), name)
            if other != name:
                raise WorkflowError(
                    f"columns {other!r} and {name!r} differ only in upper and lower case",
                    hint="expressions do not tell them apart: rename one of them at the source",
                )


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


__all__ = ["Segment", "entire", "segments"]
