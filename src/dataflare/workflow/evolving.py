"""Plans streams anew whose sources have other columns than they had, and tells destinations what they have to follow.

What is remembered from one plan to the next is plain JSON: `{"sources": {node: {output: [column, ...]}},
"destinations": {node: [name, ...]}, "tables": {node: [output, ...]}}`. The columns are those of `component.known`; the
names are those that reached a destination, so that no column of its table is dropped that is somebody else's. Tables
are told where settings name them by a pattern.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from dataflare.component.evolution import Policy, Verdict, evolve, remembered
from dataflare.component.known import KnownColumn
from dataflare.errors import DataFlareError, Finding
from dataflare.plan_words import Change, Ddl, NodeKind
from dataflare.workflow.components import contract_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dataflare.component import Stream
    from dataflare.component.evolution import Evolved
    from dataflare.workflow.drafts import Draft, Outline
    from dataflare.workflow.findings import Findings
    from dataflare.workflow.flow import Flow

STRICTEST = (Ddl.EXCEPTION, Ddl.IGNORE, Ddl.LENIENT, Ddl.TRY_EVOLVE, Ddl.EVOLVE)
"""Where several sources feed a destination, the first of these that one of them has counts."""
_LEFT = ", which is left out"


@dataclass(frozen=True, slots=True)
class TableChange:
    """A table that has come, or is gone; `left`: it is left out, `why`: since it cannot be read."""

    name: str
    came: bool
    left: bool = False
    refused: bool = False
    why: DataFlareError | None = None

    def __str__(self) -> str:
        """Say it in words."""
        said = "new, and is left out" if self.came and self.left else "new" if self.came else "gone"
        if self.why is not None:
            return f"table {self.name} is left out: {self.why.what}"
        return f"table {self.name} is {said}"


@dataclass(frozen=True, slots=True)
class TablesFound:
    """The outputs of a source whose tables are found by a pattern, and what has changed since the plan before."""

    names: tuple[str, ...]
    changes: tuple[TableChange, ...] = ()

    @classmethod
    def of(
        cls, before: Sequence[str] | None, streams: Sequence[str], word: str, unfit: Mapping[str, DataFlareError]
    ) -> Self:
        """Compare those of the plan before (None: there was none) with those that there are, by a word of contract.

        `unfit` tells why some tables cannot be read. They are left out, unless the plan before had them.
        """
        left, refused, known = word == "discard", word == "freeze", set(before or ())
        now = list(dict.fromkeys([*streams, *unfit]))
        if before is None:
            now, known = [n for n in now if n not in streams], set()
        changes = [
            TableChange(n, came=True, left=not refused and (left or n in unfit), refused=refused, why=unfit.get(n))
            for n in now
            if n not in known
        ]
        if before is None:
            return cls(tuple(streams), tuple(changes))
        changes += [TableChange(n, came=False, refused=refused) for n in before if n not in now]
        return cls(tuple(n for n in now if n in known or not (left or n in unfit)), tuple(changes))


class Evolving:
    """Belongs to one planning."""

    def __init__(self, outline: Outline, findings: Findings, memory: Mapping[str, Any] | None = None) -> None:
        """`memory` is what the plan before left."""
        self._outline, self._findings, self._memory = outline, findings, memory or {}
        self.evolved: dict[str, dict[str, Evolved]] = {}
        """How the streams of each source go on, those whose changes are followed."""
        self.tables: dict[str, TablesFound] = {}
        """Which tables each source has that names them by a pattern."""

    def source(self, draft: Draft, streams: Mapping[str, Stream]) -> dict[str, Stream]:
        """Return the streams of a source as they go on; tells what has changed."""
        found, policy = {}, Policy.of(contract_of(draft.text))
        before = self._memory.get("sources", {}).get(draft.id, {})
        for name, stream in self._tables(draft, streams).items():
            found[name] = stream
            if stream.marks is None:
                continue
            known = tuple(KnownColumn.from_json(c) for c in before.get(name, ()))
            evolved = evolve(known or remembered(stream), stream, policy)
            self.evolved.setdefault(draft.id, {})[name] = evolved
            self._tell(draft, name, evolved)
            found[name] = replace(stream, schema=evolved.schema)
        return found

    def _tables(self, draft: Draft, streams: Mapping[str, Stream]) -> Mapping[str, Stream]:
        """Return the streams of the tables that the contract lets in; tells which have come, and which are gone."""
        if not draft.component.finds_streams():
            return streams
        before = self._memory.get("tables", {}).get(draft.id)
        word = str(contract_of(draft.text).get("tables", "evolve"))
        unfit = draft.component.unfit_streams()
        found = self.tables[draft.id] = TablesFound.of(before, list(streams), word, unfit)
        place = self._outline.place(draft, "config", key=True)
        for name in (n for n in found.names if n not in streams):
            error = unfit[name]
            self._findings.add(Finding("error", error.code, f"{draft.id}: {error.what}", error.hint, place))
        for change in found.changes:
            what, cure = f"{draft.id}: {change}", f"{change.why.hint}; or " if change.why is not None else ""
            if change.refused:
                hint = f"{cure}leave it out of `tables`, or let it be: schema: {{contract: {{tables: evolve}}}}"
                self._findings.add(Finding("error", "schema.changed", f"{what}, which is refused", hint, place))
            elif cure:
                hint = f'{cure}leave it out, such as "!{change.name}"'
                self._findings.add(Finding("warning", "schema.changed", what, hint, place))
            else:
                self._findings.add(Finding("info", "schema.changed", what, "", place))
        return {name: streams[name] for name in found.names if name in streams}

    def traits(self, flow: Flow) -> dict[str, dict[str, Any]]:
        """Return, by node, what is remembered of this plan, and the orders of destinations."""
        found: dict[str, dict[str, Any]] = {}
        for node, streams in self.evolved.items():
            known = {name: [c.to_json() for c in e.known] for name, e in streams.items()}
            changes = [
                f"{node}{'.' * bool(n)}{n}: {c}{_LEFT if c.verdict is Verdict.LEAVE else ''}"
                for n, e in streams.items()
                for c in e.changes
                if c.verdict is Verdict.TAKE or c.kind in (Change.DROP, Change.RENAME)
            ]  # what is left out each time, the source tells when it comes upon it
            found[node] = {"known": known} | ({"changed": changes} if changes else {})
        for node, tables in self.tables.items():
            told = [*map(str, tables.changes), *found.get(node, {}).get("changed", ())]
            more = {"tables": list(tables.names)} | ({"changed": told} if told else {})
            found[node] = {**found.get(node, {}), **more}
        for draft in self._outline.drafts.values():
            if draft.kind is NodeKind.DESTINATION and flow.typed(draft.id):
                found[draft.id] = self._orders(draft, flow)
            elif draft.kind is NodeKind.PROCESSOR:
                feeding = [e for s in set(_sources(draft.id, flow)) for e in self.evolved.get(s, {}).values()]
                former = {was: c.name for e in feeding for c in e.known for was in c.former}
                found[draft.id] = {"former": former} if former else {}
        return {node: traits for node, traits in found.items() if traits}

    def _orders(self, draft: Draft, flow: Flow) -> dict[str, Any]:
        sources = sorted(_sources(draft.id, flow))
        words = {Policy.of(contract_of(self._outline.drafts[s].text)).ddl for s in sources}
        policy = next((word for word in STRICTEST if word in words), Ddl.LENIENT)
        streams = [e for s in sources for e in self.evolved.get(s, {}).values()]
        if not streams:
            return {"ddl": {"policy": policy.value}} if policy is not Ddl.LENIENT else {}
        now = list(dict.fromkeys(n for o in flow.inputs(draft.id) for n in o.schema.names))
        had = self._memory.get("destinations", {}).get(draft.id, ())
        orders: dict[str, Any] = {"policy": policy.value}
        if drop := [n for n in had if n not in now and any(n in e.dropped for e in streams)]:
            orders["drop"] = drop
        renamed = {old: new for e in streams for old, new in e.renamed.items()}
        if rename := {old: new for old, new in renamed.items() if old in had and new in now and new not in had}:
            orders["rename"] = rename
        return {"reached": now, "ddl": orders}

    def _tell(self, draft: Draft, name: str, evolved: Evolved) -> None:
        what = f"{draft.id}{'.' * bool(name)}{name}"
        place = self._outline.place(draft, "schema", key=True)
        if (error := evolved.refused(what)) is not None:
            self._findings.add(replace(error.as_finding(), code="schema.changed", place=place))
        for change in evolved.changes:
            if change.verdict is not Verdict.REFUSE:
                left = "" if change.verdict is Verdict.TAKE else _LEFT
                self._findings.add(Finding("info", "schema.changed", f"{what}: {change}{left}", "", place))


def _sources(node: str, flow: Flow) -> Iterator[str]:
    """Yield the sources that feed a node; one may come more than once."""
    edges = flow.edges.get(node, ())
    if not edges:
        yield node
    for edge in edges:
        yield from _sources(edge.source, flow)


__all__ = ["Evolving", "TableChange", "TablesFound"]
