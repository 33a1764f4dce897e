"""Refuses to append rows of a source that sends them again in later runs, though nothing about them changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.component.source import SourceConnector
from dataflare.plan_words import NodeKind
from dataflare.workflow.components import mode, write_mode

if TYPE_CHECKING:
    from dataflare.workflow.drafts import Outline
    from dataflare.workflow.findings import Findings
    from dataflare.workflow.flow import Flow

_ONCE = ("deduplicate", "stdout")
"""Behind the first, a row comes once; the second keeps nothing."""


def check_reread(outline: Outline, flow: Flow, findings: Findings) -> None:
    """Add a finding for each destination that would hold rows twice."""
    again = {
        d.id
        for d in outline.drafts.values()
        if isinstance(d.component, SourceConnector) and mode(d) == "incremental" and d.component.comes_again()
    }
    for draft in outline.drafts.values() if again else ():
        if draft.kind is not NodeKind.DESTINATION or write_mode(draft) != "append":
            continue
        seen: set[str] = set()
        left = [draft.id]
        while left:
            name = left.pop()
            if name not in seen and outline.drafts[name].text.type not in _ONCE:
                seen.add(name)
                left += [e.source for e in flow.edges.get(name, ())]
        for source in sorted(seen & again):
            findings.error(
                "rows_again",
                f"{source!r} reads rows again in each run, and {draft.id!r} would append them again",
                outline.place(draft, "inputs"),
                "write_mode: merge with a key, or overlap: new at the source",
            )


__all__ = ["check_reread"]
