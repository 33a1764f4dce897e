"""Checks what a schedule says beyond its words: its expression, its dates, its zone, and settings that do not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.schedule import faults

if TYPE_CHECKING:
    from dataflare.workflow.document import Document
    from dataflare.workflow.findings import Findings
    from dataflare.workflow.model import ScheduleText


def check_schedule(document: Document, schedule: ScheduleText | None, findings: Findings) -> None:
    """Add a finding for each mistake, at the setting that it is in."""
    if schedule is None:
        return
    for wrong in faults(schedule.model_dump(mode="json", exclude_defaults=True)):
        place = document.place(("schedule", wrong.setting))
        findings.error("invalid_value", f"{wrong.setting}: {wrong.message}", place, wrong.hint)
