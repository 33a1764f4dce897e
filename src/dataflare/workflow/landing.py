"""Checks that what sources yield and what destinations do with it are right together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dataflare.plan_words import EdgeKind, NodeKind
from dataflare.workflow.components import KEYED, write_mode
from dataflare.workflow.faults import Faults
from dataflare.workflow.pairs import Pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataflare.plan import Output
    from dataflare.workflow.drafts import Draft, Outline
    from dataflare.workflow.findings import Findings
    from dataflare.workflow.flow import Flow


def check_landing(outline: Outline, flow: Flow, findings: Findings) -> None:
    """Report what cannot be right, and warn of what may not be meant; the workflow is typed as far as it can be."""
    landing = _Landing(outline, flow, findings)
    for draft in outline.drafts.values():
        if draft.kind is NodeKind.DESTINATION and draft.cls is not None and flow.edges.get(draft.id):
            landing.check(draft)


class _Landing:
    def __init__(self, outline: Outline, flow: Flow, findings: Findings) -> None:
        self._outline, self._flow, self._findings = outline, flow, findings
        self._faults = Faults(outline, findings)

    def check(self, draft: Draft) -> None:
        """Check one destination."""
        flow = self._flow
        if write_mode(draft) in KEYED and not draft.key:
            self._take_key(draft)
        if flow.typed(draft.id) and draft.component is not None:
            schemas = {str(port): output.schema for port, output in enumerate(flow.inputs(draft.id))}
            draft.component.context = replace(draft.component.context, schemas=schemas)
            for error in draft.component.refusals():
                self._faults.tell(draft, error)
        for output in flow.inputs(draft.id):
            self._check_key(draft, output)
        for source, name in dict.fromkeys(self._unchanged_from(draft.id)):
            self._check_source(draft, self._outline.drafts[source], flow.outputs[source][name])

    def _take_key(self, draft: Draft) -> None:
        """Take the key by which the rows are told apart where they come from, unless one is named; else tell."""
        inputs = self._flow.inputs(draft.id)
        if not self._flow.typed(draft.id) and any(self._tells_keys(e.source) for e in self._flow.edges[draft.id]):
            return  # told when the sources are asked
        keys = {frozenset(output.key) for output in inputs}
        takes = draft.cls is not None and "key" in draft.cls.spec.config.model_fields
        if self._flow.typed(draft.id) and len(keys) == 1 and inputs[0].key and not takes:
            draft.key = inputs[0].key
            if draft.component is not None:
                draft.component.context = replace(draft.component.context, key=draft.key)
            return
        self._findings.error(
            "missing_key_columns",
            f"write_mode {write_mode(draft)} needs a key",
            self._outline.place(draft, "write_mode"),
            "name the columns that tell rows apart, such as key: [id]",
        )

    def _tells_keys(self, node: str) -> bool:
        """Tell whether rows that come out of a node may have a key that nobody has written down."""
        draft = self._outline.drafts[node]
        if draft.kind is NodeKind.SOURCE:
            return bool(getattr(draft.cls, "tells_keys", False))
        return any(self._tells_keys(edge.source) for edge in self._flow.edges.get(node, ()))

    def _check_key(self, draft: Draft, output: Output) -> None:
        """Changes are applied by the key by which they are told apart, or a delete meets the wrong rows."""
        if output.kind is not EdgeKind.UPSERT or write_mode(draft) not in KEYED or not (draft.key and output.key):
            return
        if set(draft.key) != set(output.key):
            own, told = ", ".join(draft.key), ", ".join(output.key)
            self._findings.error(
                "key_differs",
                f"{draft.id!r} applies changes by {own}, but they are told apart by {told}",
                self._outline.place(draft, "key"),
                f"write key: [{told}]",
            )

    def _check_source(self, draft: Draft, source: Draft, output: Output) -> None:
        place = self._outline.place(draft, "write_mode" if draft.text.write_mode else "type")
        again = self._outline.document.at(("schedule",)) is not None
        Pair(source, draft, output, place, again).judge(self._findings)

    def _unchanged_from(self, node: str) -> Iterator[tuple[str, str]]:
        """Yield the outputs of sources whose rows reach a node as they are: no node between makes one of several."""
        for edge in self._flow.edges.get(node, ()):
            origin = self._outline.drafts[edge.source]
            traits: Any = origin.cls.spec.traits if origin.cls is not None else None
            if origin.kind is NodeKind.SOURCE and edge.output in self._flow.outputs[edge.source]:
                yield edge.source, edge.output
            elif origin.kind is NodeKind.PROCESSOR and traits is not None and "absorbed" not in traits.counts:
                yield from self._unchanged_from(edge.source)


__all__ = ["check_landing"]
