"""Says what a word of the file costs, where it is more than one may think."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataflare.workflow.document import Document
    from dataflare.workflow.findings import Findings


def tell_costs(document: Document, findings: Findings) -> None:
    """Add a finding of severity `info` for each."""
    ledger = document.at(("runtime", "ledger"))
    if ledger is not None and ledger.data == "hash":
        findings.info(
            "ledger_hash",
            "every row is hashed where it leaves and where it comes: 10 to 30 % more CPU, by what else is done with it",
            document.place(("runtime", "ledger"), key=True),
        )
