"""Checks what a schedule says beyond its words: its expression, its dates, its zone, and settings that do not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.schedule import faults

if TYPE_CHECKING:
    from dataflare.workflow.document import Document
    from dataflare.workflow.findings import Findings
    from dataflare.workflow.model import ScheduleText


def check_schedule(document: Document, schedule: ScheduleText | None, findings: Findings) -> None:
    """Add a finding for each mistake, at the setting that it is in; what a mistyped key meant is not asked for."""
    if schedule is None:
        return
    written = document.at(("schedule",))
    mistyped = written is not None and bool(written.map.keys() - type(schedule).model_fields.keys())
    for wrong in faults(schedule.model_dump(mode="json", exclude_defaults=True)):
        if mistyped and wrong.setting == "type":
            continue
        place = document.place(("schedule", wrong.setting))
        findings.error("invalid_value", f"{wrong.setting}: {wrong.message}", place, wrong.hint)
