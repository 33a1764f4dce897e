"""Tells which columns are not as they were planned, declared or made, and what a run would do about each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataflare.component.evolution import Policy, Verdict
from dataflare.errors import DataFlareError, Finding
from dataflare.plan_words import Change, NodeKind
from dataflare.workflow.components import contract_of
from dataflare.workflow.connecting import ask_each
from dataflare.workflow.drift import drifted, observations
from dataflare.workflow.findings import Findings
from dataflare.workflow.loading import SAMPLE, Around, Written, load_document
from dataflare.workflow.reading import read_document

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dataflare.component import Registry
    from dataflare.component.alteration import Alteration
    from dataflare.component.evolution import ColumnChange, Evolved
    from dataflare.workflow.drafts import Draft, Outline
    from dataflare.workflow.evolving import Evolving, TableChange
    from dataflare.workflow.faults import Faults

EVOLVE, IGNORE, REFUSE = "evolve", "ignore", "refuse"
_EFFECTS = {
    Verdict.TAKE: EVOLVE,
    Verdict.LEAVE: IGNORE,
    Verdict.REFUSE: REFUSE,
    "alter": EVOLVE,
    "leave": IGNORE,
    "refuse": REFUSE,
}
_CHANGES = {
    Change.ADD: "added",
    Change.DROP: "dropped",
    Change.RENAME: "renamed",
    Change.RETYPE: "retyped",
    "add": "added",
    "drop": "dropped",
    "rename": "renamed",
    "retype": "retyped",
    "nullable": "nullable",
}
_ENDS = "the run ends with an error"
_MISFITS = {
    "evolve": "values that do not fit are bad rows",
    "discard": "null stands for values that do not fit",
    "discard_row": "rows with a value that does not fit are left out",
}


@dataclass(frozen=True, slots=True)
class ColumnDifference:
    """A column that is not as it was, or a table that came or is gone (`column` is "").

    `where` is an output of a source (`node.output`), or the table of a destination. `was` and `now` are types, or names
    of what was renamed: of a source as it was planned or declared and as it is, of a table as it is and as it would be.
    `effect` is evolve, ignore or refuse, `meaning` what that comes to; `statement` is what the database would be told.
    """

    node: str
    kind: NodeKind
    where: str
    column: str
    change: str
    was: str
    now: str
    effect: str
    meaning: str
    statement: str = ""

    def as_json(self) -> dict[str, str]:
        """Return the fields that users see."""
        place = {"stream": self.where} if self.kind is NodeKind.SOURCE else {"node": self.node, "table": self.where}
        told = {"column": self.column, "change": self.change, "was": self.was, "now": self.now}
        said = {"effect": self.effect, "meaning": self.meaning}
        statement = {"statement": self.statement} if self.kind is NodeKind.DESTINATION else {}
        return {"kind": self.kind.value, **place, **told, **said, **statement}


def column_differences(
    written: Written, registry: Registry, environ: Mapping[str, str]
) -> tuple[list[ColumnDifference], list[Finding]]:
    """Return what differs, and the findings of the plan; what the policy refuses is told among the first alone.

    `written.memory` is what the plan before left of columns. Asks sources and destinations, and changes nothing. To be
    called in a worker thread, never on an event loop.
    """
    findings = Findings(str(written.path))
    document = read_document(written.text, findings, json=Path(written.path).suffix == ".json")
    if document is None:
        return [], findings.found()
    found: list[ColumnDifference] = []

    def look(outline: Outline, evolving: Evolving | None, faults: Faults) -> None:
        found.extend(_differences(outline, evolving, faults))

    directory = written.path.parent
    around = Around(registry, environ, directory, SAMPLE, check=True, memory=written.memory, look=look)
    loaded = load_document(document, findings, around)
    return found, [f for f in loaded.findings if f.code != "schema.changed"]


def _differences(outline: Outline, evolving: Evolving | None, faults: Faults) -> Iterator[ColumnDifference]:
    for draft in outline.drafts.values():
        if draft.kind is NodeKind.SOURCE and draft.component is not None:
            yield from _of_source(draft, evolving, faults)
    ends = [d for d in outline.drafts.values() if d.kind is NodeKind.DESTINATION and d.component is not None]
    for draft, answers in zip(ends, ask_each(ends, lambda end: end.alterations()), strict=True):
        for answer in answers:
            if isinstance(answer, DataFlareError):
                faults.tell(draft, answer)
            elif isinstance(answer, Exception):
                faults.foreign(draft, answer)
            else:
                yield _altered(draft, answer)


def _of_source(draft: Draft, evolving: Evolving | None, faults: Faults) -> Iterator[ColumnDifference]:
    found = evolving.tables.get(draft.id) if evolving is not None else None
    for table in found.changes if found is not None else ():
        yield _table(draft, table)
    followed = evolving.evolved.get(draft.id, {}) if evolving is not None else {}
    for name, evolved in followed.items():
        for change in evolved.changes:
            yield _changed(draft, name, change, evolved)
    if not followed:
        yield from _declared(draft, faults)


def _place(draft: Draft, stream: str) -> tuple[str, NodeKind, str]:
    return draft.id, draft.kind, f"{draft.id}{'.' * bool(stream)}{stream}"


def _table(draft: Draft, table: TableChange) -> ColumnDifference:
    """Return a table that a pattern finds, or finds no more."""
    effect = REFUSE if table.refused else IGNORE if table.left else EVOLVE
    meaning = {REFUSE: _ENDS, IGNORE: "is not read", EVOLVE: "is read" if table.came else "is not read any more"}[
        effect
    ]
    change = "table added" if table.came else "table dropped"
    return ColumnDifference(*_place(draft, table.name), "", change, "", "", effect, meaning)


def _changed(draft: Draft, stream: str, change: ColumnChange, evolved: Evolved) -> ColumnDifference:
    """Return a change of a stream whose columns are remembered."""
    meaning = _meaning(change, evolved, Policy.of(contract_of(draft.text)))
    place, what = _place(draft, stream), _CHANGES[change.kind]
    return ColumnDifference(*place, change.name, what, change.was, change.now, _EFFECTS[change.verdict], meaning)


def _meaning(change: ColumnChange, evolved: Evolved, policy: Policy) -> str:
    if change.verdict is Verdict.REFUSE:
        return _ENDS
    taken = change.verdict is Verdict.TAKE
    match change.kind:
        case Change.ADD:
            return "is added" if taken else "is not read"
        case Change.DROP:
            return "is dropped" if taken and policy.follows else "stays, and is null"
        case Change.RENAME:
            return "is renamed" if policy.follows else f"is a new column; {change.was} stays, and is null"
    if not taken:
        return f"stays {change.was}; {_MISFITS[policy.data_type if policy.data_type in _MISFITS else 'evolve']}"
    return f"becomes {evolved.schema[change.name].type}"


def _declared(draft: Draft, faults: Faults) -> Iterator[ColumnDifference]:
    """Yield where the columns of a source are not those that the workflow declares."""
    words = contract_of(draft.text)
    for stream, declared, observed in observations(draft, faults):
        for name, was, now in drifted(declared, observed):
            word = str(words.get("data_type" if was and now else "columns", "evolve"))
            if word == "freeze":
                effect, meaning = REFUSE, _ENDS
            elif was and now:
                effect, meaning = IGNORE, f"is read as {was}; {_MISFITS[word]}"
            else:
                effect, meaning = IGNORE, "is null" if was else "is not read"
            change = "retyped" if was and now else "dropped" if was else "added"
            yield ColumnDifference(*_place(draft, stream), name, change, was, now, effect, meaning)


def _altered(draft: Draft, alteration: Alteration) -> ColumnDifference:
    """Return what a destination would do to its table."""
    effect: Any = _EFFECTS[alteration.verdict]
    meaning = {EVOLVE: "", IGNORE: "stays; a value that does not fit is an error", REFUSE: _ENDS}[effect]
    if effect == IGNORE and alteration.kind in ("drop", "rename"):
        meaning = "stays"
    change, place = _CHANGES[alteration.kind], (draft.id, draft.kind, alteration.table)
    was, now, statement = alteration.was, alteration.now, alteration.statement
    return ColumnDifference(*place, alteration.column, change, was, now, effect, meaning, statement)


__all__ = ["ColumnDifference", "column_differences"]
