"""Types the workflow from its sources to its destinations: which outputs each node has, and what rows flow in them."""

from __future__ import annotations

import inspect
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from dataflare.batch import RESERVED
from dataflare.changes import OP, with_key_told
from dataflare.errors import DataFlareError
from dataflare.plan import Edge, Output
from dataflare.plan_words import EdgeKind, NodeKind
from dataflare.schema import Schema
from dataflare.workflow.changing import MAKE_TABLES, Changing
from dataflare.workflow.faults import Faults
from dataflare.workflow.findings import near
from dataflare.workflow.flow import Flow, Outputs
from dataflare.workflow.tags import check_positions, inherited, rejected, tagged
from dataflare.workflow.wiring import ERRORS, is_glob

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dataflare.component import Stream
    from dataflare.workflow.document import Path
    from dataflare.workflow.drafts import Draft, Outline
    from dataflare.workflow.evolving import Evolving
    from dataflare.workflow.findings import Findings
    from dataflare.workflow.row_steps import RowSteps
    from dataflare.workflow.wiring import Reference, Wiring

_FOREIGN = (KeyError, IndexError, ValueError, TypeError, NotImplementedError, ImportError)
"""What the code of a component may raise besides our own errors when it is asked for its outputs."""


class FlowTyper:
    """Types one workflow; `ask` allows sources to look at their files and tables.

    Without `types` only the names of outputs are found, where settings tell them: no expression is read.
    """

    def __init__(
        self, outline: Outline, wiring: Wiring, findings: Findings, steps: RowSteps, *, ask: bool, types: bool = True
    ) -> None:
        """Report to `findings`."""
        self._outline, self._wiring, self._findings, self._steps = outline, wiring, findings, steps
        self._ask, self._types = ask, types
        self._faults = Faults(outline, findings)
        self._flow = Flow()
        self._changing = Changing(outline, findings)
        self._evolving: Evolving | None = None

    def run(self, known: Mapping[str, Outputs] | None = None, evolving: Evolving | None = None) -> Flow:
        """Type all nodes. A typer runs once; sources whose outputs are `known` are not asked.

        `evolving` knows which columns streams had before.
        """
        flow, known = self._flow, known or {}
        self._evolving = evolving
        if self._types:
            self._steps.foresee(self._outline)
        for wave in self._waves():
            self._type(wave, known)
        return flow

    def _waves(self) -> list[list[str]]:
        """Return the nodes in groups, each behind the groups that feed it: those of one can be typed together."""
        depths: dict[str, int] = {}
        waves: list[list[str]] = []
        for name in self._wiring.order:
            feeding = (depths.get(r.node, -1) for r in self._wiring.references.get(name, ()))
            depths[name] = depth = 1 + max(feeding, default=-1)
            waves += [[] for _ in range(depth + 1 - len(waves))]
            waves[depth].append(name)
        return waves

    def _type(self, wave: Sequence[str], known: Mapping[str, Outputs]) -> None:
        flow, ready = self._flow, []
        for name in wave:
            draft = self._outline.drafts[name]
            flow.edges[name] = self._edges(draft)
            if self._types and flow.edges[name] and draft.component is not None and self._steps.takes(draft):
                first = flow.inputs(name)[0].schema
                ready += [(draft, first)] if first.columns else []
        self._steps.foresee_types(ready)
        for name in wave:
            draft = self._outline.drafts[name]
            if draft.kind is NodeKind.SOURCE:
                found = dict(known[name]) if name in known else self._source(draft)
            elif draft.kind is NodeKind.PROCESSOR:
                found = self._processor(draft)
            else:
                found = {}
                self._check_kinds(draft)
            flow.outputs[name] = self._with_errors(draft, found)

    def _with_errors(self, draft: Draft, found: Outputs | None) -> Outputs:
        if found is None:
            self._flow.untyped.add(draft.id)
            row_wise = draft.component is not None and self._steps.takes(draft)
            self._flow.nameless |= set() if row_wise else {draft.id}
            referred = (r for rs in self._wiring.references.values() for r in rs if r.node == draft.id)
            named = [""] if row_wise else [r.output for r in referred]
            found = {name: Output(name, Schema()) for name in named if not is_glob(name)}
        told = found.pop(ERRORS, None)
        if draft.keeps_errors:
            inputs = self._flow.inputs(draft.id) or list(found.values())
            found[ERRORS] = Output(ERRORS, rejected(draft, [i.schema for i in inputs], told.schema if told else None))
        return found

    # Sources

    def _source(self, draft: Draft) -> Outputs | None:
        if draft.component is None:
            return None
        try:
            streams: Mapping[str, Stream] | None = draft.component.declared()
            if streams is None and self._ask:
                asked: Any = draft.component.streams()
                streams = _awaited(asked) if inspect.isawaitable(asked) else asked
        except DataFlareError as error:
            self._faults.tell(draft, error)
            return None
        except _FOREIGN as error:
            self._faults.foreign(draft, error)
            return None
        if streams is None:
            return None
        if not self._types:
            self._flow.untyped.add(draft.id)
            return {n: Output(n, Schema()) for n in streams}
        if self._evolving is not None:
            streams = self._evolving.source(draft, streams)
        outputs = {n: Output(n, s.schema, s.kind, tuple(s.key)) for n, s in streams.items()}
        self._flow.codecs |= {(draft.id, n): tuple(s.codecs) for n, s in streams.items()}
        self._flow.unjudged |= {(draft.id, n): tuple(s.unjudged) for n, s in streams.items() if s.unjudged}
        for output in outputs.values():
            if output.kind is EdgeKind.APPEND:
                self._faults.reserved(draft, (c for c in output.schema.names if c in RESERVED))
        keyed = {n: replace(o, schema=with_key_told(o.schema, o.key)) for n, o in outputs.items()}
        outputs = tagged(draft, keyed, self._outline, self._findings)
        check_positions(draft, outputs, self._outline, self._findings)
        return outputs

    # Processors

    def _processor(self, draft: Draft) -> Outputs | None:
        if draft.component is None:
            return None
        lacks = draft.id in self._wiring.lacking and not self._steps.takes(draft)
        if lacks or not self._flow.typed(draft.id) or not self._flow.edges[draft.id]:
            self._check_kinds(draft)
            return self._names_only(draft)
        kind = self._check_kinds(draft)
        given = [i.schema for i in self._flow.inputs(draft.id)]
        schemas = [s.beside(given) for s in given]
        feeding = self._flow.inputs(draft.id)
        key = self._changing.inputs(draft, feeding[:-1] if self._has_lookup(draft) else feeding)
        draft.component.context = replace(draft.component.context, key=key)
        if not self._steps.takes(draft) and not self._changing.takes_unchanged(draft, schemas):
            return None
        found = self._steps.typed(draft, schemas, self._faults) if self._steps.takes(draft) else None
        if found is None and not self._steps.takes(draft):
            if not draft.component.declared() and not self._ask:
                return self._names_only(draft)
            found = self._asked(draft, schemas)
        if found is None:
            return None
        known = {c for s in schemas for c in s.names}
        if self._steps.takes(draft) or OP not in known:
            made = [c for s in found.values() for c in s.names if c in RESERVED and c not in known]
            self._faults.reserved(draft, made)
        if not self._steps.takes(draft):
            found = {n: inherited(draft.component, s, schemas) for n, s in found.items()}
        for remark in draft.component.remarks(schemas):
            self._faults.remark(draft, remark)
        passed = self._steps.passed(draft, schemas) if self._steps.takes(draft) else None
        outputs = (Output(n, s, EdgeKind.APPEND if n == ERRORS else kind, key) for n, s in found.items())
        return {o.name: self._changing.output(draft, o, schemas, passed) for o in outputs}

    def _asked(self, draft: Draft, schemas: Sequence[Schema]) -> dict[str, Schema] | None:
        component = draft.component
        named = tuple(edge.origin for edge in self._flow.edges[draft.id])
        by_port = {str(n): s for n, s in enumerate(schemas)}
        component.context = replace(component.context, schemas=by_port, inputs=named)
        try:
            if not component.declared():
                component.look()
            return dict(component.outputs(schemas))
        except DataFlareError as error:
            self._faults.tell(draft, error)
        except _FOREIGN as error:
            self._faults.foreign(draft, error)
        return None

    def _names_only(self, draft: Draft) -> Outputs | None:
        """Find the names of the outputs where the types of the inputs are unknown; None: they may be any."""
        self._flow.untyped.add(draft.id)
        if self._steps.takes(draft):
            return {"": Output("", Schema())}
        if not self._types:
            names = getattr(draft.component.config, "routes", None)
            return {name: Output(name, Schema()) for name in names} if names else None
        try:
            names = draft.component.outputs([Schema()] * max(1, len(self._flow.edges[draft.id])))
        except (DataFlareError, *_FOREIGN):
            names = getattr(draft.component.config, "routes", None)
        if not names:
            return None
        return {name: Output(name, Schema()) for name in names}

    # Edges

    def _edges(self, draft: Draft) -> list[Edge]:
        found: dict[tuple[str, str], None] = {}
        empty: dict[Path, Reference] = {}
        for reference in self._wiring.references.get(draft.id, ()):
            outputs = self._outputs(reference)
            for output in outputs:
                found.setdefault((reference.node, output))
            if reference.glob:
                empty.setdefault(reference.path, reference)
        for path, reference in empty.items():
            same = [r for r in self._wiring.references[draft.id] if r.path == path]
            if any(r.node in self._flow.nameless for r in same):
                continue  # nobody knows yet which outputs there are
            if not any((r.node, o) in found for r in same for o in self._outputs(r)):
                place = self._outline.document.place(path)
                self._findings.error(
                    "unknown_input", f"{reference.text!r} matches no output", place, "check the pattern"
                )
        return [Edge(node, output, draft.id, port) for port, (node, output) in enumerate(found)]

    def _outputs(self, reference: Reference) -> list[str]:
        """Return the names of the outputs that an input means."""
        outputs = self._flow.outputs[reference.node]
        names = [n for n in outputs if n != ERRORS]
        wanted = reference.output
        if is_glob(wanted):
            return [n for n in names if fnmatchcase(n, wanted)]
        if wanted in outputs:
            return [wanted]
        if not wanted and len(names) == 1:
            return names
        ending = [n for n in names if wanted and n.endswith(f".{wanted}")]
        if len(ending) == 1:
            return ending
        if reference.glob:
            return []
        self._unknown_output(reference, names)
        return []

    def _unknown_output(self, reference: Reference, names: list[str]) -> None:
        place = self._outline.document.place(reference.path)
        listed = ", ".join(f"{reference.node}.{n}" if n else reference.node for n in names)
        if not reference.output:
            message = f"{reference.node!r} has {len(names)} outputs" if names else f"{reference.node!r} has no output"
            self._findings.error("unknown_output", message, place, f"name one of {listed}" if names else "")
            return
        message = f"{reference.node!r} has no output {reference.output!r}"
        hint = near(reference.output, [n for n in names if n]) or (f"known: {listed}" if listed else "")
        self._findings.error("unknown_output", message, place, hint)

    def _check_kinds(self, draft: Draft) -> EdgeKind:
        """Refuse what a node does not accept; return the kind of what it yields."""
        traits: Any = draft.cls.spec.traits if draft.cls is not None else None
        kinds = [
            (e, self._flow.outputs[e.source][e.output].kind)
            for e in self._flow.edges[draft.id]
            if e.source not in self._flow.untyped
        ]
        for edge, kind in kinds:
            if traits is not None and draft.kind is NodeKind.PROCESSOR and kind not in traits.accepts:
                self._refuse(draft, edge, kind)
            if draft.kind is NodeKind.DESTINATION and kind is EdgeKind.RETRACT:
                self._refuse(draft, edge, kind)
        different = dict.fromkeys(kind for _, kind in kinds)
        data = [k for e, k in kinds if e.output != ERRORS]
        first = data[0] if data else EdgeKind.APPEND
        yields = draft.component.yields(first) if draft.kind is NodeKind.PROCESSOR and draft.component else first
        if traits is not None and draft.kind is NodeKind.PROCESSOR and traits.yields is not None:
            return EdgeKind(yields)
        if draft.kind is NodeKind.PROCESSOR and len(different) > 1 and not self._has_lookup(draft):
            words = " and ".join(k.value for k in different)
            hint = "feed it one kind: put changes through a node of their own"
            self._findings.error("edge_kind", f"its inputs mix {words}", self._outline.place(draft, "inputs"), hint)
        return EdgeKind(yields)

    @staticmethod
    def _has_lookup(draft: Draft) -> bool:
        return bool(getattr(draft.text, "lookup", None))

    def _refuse(self, draft: Draft, edge: Edge, kind: EdgeKind) -> None:
        index = next((i for i, t in enumerate(draft.text.inputs) if t.partition(".")[0] == edge.source), None)
        listed = self._outline.document.at((*draft.path, "inputs"))
        at = ("inputs", index) if index is not None and listed is not None and listed.list else ("inputs",)
        if edge.source == (getattr(draft.text, "lookup", None) or "").partition(".")[0]:
            return  # rows are looked up in changes by nature
        traits: Any = draft.cls.spec.traits if draft.cls is not None else None
        accepts = " or ".join(traits.accepts) if draft.kind is NodeKind.PROCESSOR else "append or upsert"
        name = f"{edge.source}{'.' if edge.output else ''}{edge.output}"
        message = f"{draft.text.type} takes {accepts} rows, but {name} carries {_meaning(kind)}"
        hint = {
            EdgeKind.UPSERT: f"{MAKE_TABLES}, or read the source with mode: full or incremental",
            EdgeKind.RETRACT: "write to a destination that merges by key, or group by a window",
            EdgeKind.APPEND: "give it changes by key: read the source with mode: cdc or hybrid",
        }[kind]
        self._findings.error("edge_kind", message, self._outline.place(draft, *at), hint)


def _awaited(value: Any) -> Any:
    import asyncio

    async def wait() -> Any:
        return await value

    return asyncio.run(wait())


def _meaning(kind: EdgeKind) -> str:
    return {
        EdgeKind.APPEND: "new rows (append)",
        EdgeKind.UPSERT: "changes by key (upsert)",
        EdgeKind.RETRACT: "rows and their withdrawals (retract)",
    }[kind]
