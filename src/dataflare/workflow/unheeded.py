"""Says which words of the file are checked but not yet acted upon, so that nobody waits for what does not happen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.errors import Finding

if TYPE_CHECKING:
    from dataflare.workflow.document import Document
    from dataflare.workflow.findings import Findings


def tell_unheeded(document: Document, findings: Findings) -> None:
    """Add a finding of severity `info` for each."""
    _tell(document, findings, ("schedule",), "`run FILE` runs it now and once; `run FOLDER` keeps the schedule")
    profile = document.at(("runtime", "profile"))
    if profile is not None and profile.data in ("edge", "cloud"):
        _tell(document, findings, ("runtime", "profile"), f"profile {profile.data} runs as standalone so far")
    for node in document.root.map["sources"].map if "sources" in document.root.map else ():
        _tell(document, findings, ("sources", node, "event_time"), "event time has no effect before there are windows")


def _tell(document: Document, findings: Findings, path: tuple[str, ...], message: str) -> None:
    if document.at(path) is not None:
        findings.add(Finding("info", "workflow.unheeded", message, "", document.place(path, key=True)))
