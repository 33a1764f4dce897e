"""Warns of nodes and outputs that lead nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.plan_words import NodeKind
from dataflare.workflow.wiring import ERRORS

if TYPE_CHECKING:
    from dataflare.workflow.drafts import Outline
    from dataflare.workflow.findings import Findings
    from dataflare.workflow.flow import Flow
    from dataflare.workflow.wiring import Wiring


def check_unused(outline: Outline, wiring: Wiring, flow: Flow, findings: Findings) -> None:
    """Report to `findings`; an output of a node that leads nowhere at all is not told again.

    Nothing where inputs are wrong: what seems to lead nowhere may be meant there.
    """
    if not wiring.all_known:
        return
    edges = {(e.source, e.output) for edges in flow.edges.values() for e in edges}
    meant = [r for references in wiring.references.values() for r in references]
    written = {r.node for r in meant if not r.glob or (r.node in flow.nameless and r.output != ERRORS)}
    used = {node for node, _ in edges} | written
    kept = outline.runtime.state.get("type", "sqlite") == "sqlite"  # the store of rejected rows takes them
    for name, draft in outline.drafts.items():
        place = outline.place(draft, key=True)
        if draft.kind is NodeKind.DESTINATION:
            continue
        if name not in used:
            hint = "make it an input of another node, or remove it"
            findings.warning("unused_node", f"{name!r} leads nowhere", place, hint)
        elif name not in flow.untyped and any(node == name for node, _ in edges):
            for output in flow.outputs.get(name, {}):
                if (name, output) not in edges and not (output == ERRORS and kept):
                    shown = f"{name}.{output}" if output else f"the default output of {name}"
                    hint = "rejected rows are lost" if output == ERRORS else ""
                    findings.warning("unused_output", f"{shown} leads nowhere", place, hint)
