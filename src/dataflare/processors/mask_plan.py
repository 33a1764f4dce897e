"""Finds what a mask does to rows of a schema: which rule is for which values, and what is left to see."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from dataflare.changes import BEFORE, WHOLE_ROWS, may_be_unchanged, steady
from dataflare.errors import Finding, InvalidWorkflowError, Place, WorkflowError
from dataflare.schema import Column, Path, Schema, field_type, with_field_type

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dataflare.processors.mask_rules import MaskRule
    from dataflare.schema import Mark
    from dataflare.security.masking import Mask

_FAILING = ("date_shift", "format_preserving")
"""Methods that cannot mask every value."""
_COLLIDING = ("redact", "null", "partial", "generalise", "date_shift")
"""Methods by which different values become the same."""


@dataclass(frozen=True, slots=True)
class Application:
    """A method for the values at a path of a column."""

    column: str
    path: Path
    mask: Mask
    by: str


@dataclass(slots=True)
class MaskPlan:
    """What is to be done, in order; the schema after it; rules that have nothing to do; what hides in dead letters.

    A value that cannot be masked may be null, which `after` does not tell: `failing` are the columns with such rules.
    `colliding` are those whose method does not keep values apart, with its name.
    """

    applications: list[Application] = field(default_factory=list)
    after: Schema = field(default_factory=Schema)
    idle: list[str] = field(default_factory=list)
    hidden: Schema = field(default_factory=Schema)
    failing: set[str] = field(default_factory=set)
    colliding: dict[str, str] = field(default_factory=dict)

    def with_nulls(self) -> Schema:
        """Return the schema after it where a value that cannot be masked is null."""
        return Schema(tuple(replace(c, nullable=c.nullable or c.name in self.failing) for c in self.after))


def mask_plan(schema: Schema, rules: Mapping[str, MaskRule], columns: Mapping[str, MaskRule]) -> MaskPlan:
    """Return the plan; raise InvalidWorkflowError with all that is wrong, each with the rule's name as its path."""
    return _Planning(schema, rules, columns).run()


class _Planning:
    def __init__(self, schema: Schema, rules: Mapping[str, MaskRule], columns: Mapping[str, MaskRule]) -> None:
        self._schema, self._rules, self._columns = schema, rules, columns
        self._findings: list[Finding] = []
        self._used: set[str] = set()
        self._plan = MaskPlan()

    def run(self) -> MaskPlan:
        named = self._named()
        after = tuple(self._column(c, named.get(c.name, {})) for c in self._schema)
        if self._findings:
            raise InvalidWorkflowError(self._findings)
        self._plan.after = Schema(after)
        masked = {c.name: c for c in self._schema}
        for done in self._plan.applications:
            column = masked[done.column]
            masked[done.column] = column.marked([*column.marks, (done.path, "masked")])
        self._plan.hidden = Schema(tuple(masked.values()))
        self._plan.idle = [name for name in self._rules if name not in self._used]
        return self._plan

    def _problem(self, rule: str, error: WorkflowError) -> None:
        self._findings.append(Finding("error", error.code, f"{rule}: {error.what}", error.hint, Place(path=rule)))

    def _named(self) -> dict[str, dict[Path, str]]:
        """Return the rules that name columns, by column and path; images of rows before a change are masked alike."""
        found: dict[str, dict[Path, str]] = {}
        for written in self._columns:
            column, path = self._path(written)
            if column is None:
                known = ", ".join(self._schema.names)
                self._problem(written, WorkflowError("there is no such column or field", hint=f"columns: {known}"))
                continue
            others = found.setdefault(column, {})
            for other in others:
                if other[: len(path)] == path or path[: len(other)] == other:
                    hint = "name the fields one by one, or the whole"
                    self._problem(written, WorkflowError(f"{others[other]!r} is inside it, or around it", hint=hint))
            others[path] = written
            if BEFORE in self._schema and field_type(self._schema[BEFORE].type, (column, *path)) is not None:
                found.setdefault(BEFORE, {})[(column, *path)] = written
        return found

    def _path(self, written: str) -> tuple[str | None, Path]:
        """Read a dotted path; names with dots in them are tried first."""
        parts = written.split(".")
        for size in range(len(parts), 0, -1):
            name, path = ".".join(parts[:size]), tuple(parts[size:])
            if name in self._schema:
                inside = field_type(self._schema[name].type, path) is not None
                return (name, path) if inside else (None, ())
        return None, ()

    def _rule_for(self, tag: str) -> str | None:
        """Return the rule of a tag: its own, else the nearest one above, as `pii` is above `pii.email`."""
        while tag and tag not in self._rules:
            tag = tag.rpartition(".")[0]
        return tag or None

    def _column(self, column: Column, named: Mapping[Path, str]) -> Column:
        todo: dict[Path, str] = dict(named)
        left: list[Mark] = []
        for path, tag in column.marks:
            covered = any(path[: len(n)] == n for n in named)
            rule = self._rule_for(tag)
            if covered:
                self._used |= {rule} if rule is not None else set()
            elif rule is None:
                left.append((path, tag))
            else:
                self._used.add(rule)
                self._add(column, todo, path, rule)
        return self._masked(column, todo, left)

    def _add(self, column: Column, todo: dict[Path, str], path: Path, rule: str) -> None:
        other = todo.setdefault(path, rule)
        if self._rules[rule] != (self._rules.get(other) or self._columns.get(other)):
            where = ".".join((column.name, *path))
            hint = f"say what is to be done with {where} under `columns`"
            self._problem(rule, WorkflowError(f"{where} is masked by {other!r} in another way, too", hint=hint))

    def _masked(self, column: Column, todo: Mapping[Path, str], left: list[Mark]) -> Column:
        kind, nulls = column.type, False
        for path, name in sorted(todo.items(), key=lambda item: -len(item[0])):
            rule = self._columns[name] if name in self._columns else self._rules[name]
            try:
                kind = self._planned(column, kind, path, rule)
            except WorkflowError as error:
                where = ".".join((column.name, *path))
                told = error.what if where == name else f"{where}: {error.what}"
                self._problem(name, WorkflowError(told, hint=error.hint))
            nulls = nulls or (rule.method == "null" and not path)
            if rule.method in _FAILING and not path:
                self._plan.failing.add(column.name)
        return replace(column, type=kind, nullable=column.nullable or nulls).marked(left)

    def _planned(self, column: Column, kind: str, path: Path, rule: MaskRule) -> str:
        inside = field_type(kind, path)
        if inside is None:
            what = f"it is {kind}, in which no field can be masked"
            raise WorkflowError(what, hint="mask the column whole, or take the field out in a mapping before")
        mask = rule.mask(inside)
        after = with_field_type(kind, path, mask.type_after(inside))
        if rule.by and rule.by not in self._schema:
            known = ", ".join(self._schema.names)
            raise WorkflowError(f"there is no column {rule.by!r} to shift its dates by", hint=f"columns: {known}")
        hidden, key = may_be_unchanged(self._schema), steady(self._schema)
        if rule.by and hidden.intersection((rule.by, column.name)) and rule.by not in key:
            what = f"it is shifted by {rule.by!r}, and one of both may be left out of a change as unchanged"
            raise WorkflowError(what, hint=f"shift it by the key, or {WHOLE_ROWS}")
        if not path and rule.method in _COLLIDING:
            self._plan.colliding[column.name] = rule.method
        self._plan.applications.append(Application(column.name, path, mask, rule.by))
        return after


def idle_rules(plan: MaskPlan) -> Iterator[str]:
    """Yield a sentence for each rule that masks nothing."""
    for rule in plan.idle:
        yield f"the rule {rule!r} masks nothing: no column that comes in carries that tag"


def collisions(plan: MaskPlan, key: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each column of the key whose values are not kept apart."""
    for name in (n for n in key if n in plan.colliding):
        yield f"{plan.colliding[name]} does not keep the values of the key column {name!r} apart: different rows may \
become the same; hash and tokenise keep them apart"


__all__ = ["Application", "MaskPlan", "collisions", "idle_rules", "mask_plan"]
