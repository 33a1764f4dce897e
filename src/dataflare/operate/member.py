"""A workflow that is kept by a process: its schedule, its state, and what can ask for its runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dataflare.executor.surroundings import TENANT
from dataflare.operate.history import History
from dataflare.operate.senses import AfterSense, EventLog, EventSense, FileSense, Sense
from dataflare.security.codec import Codec

if TYPE_CHECKING:
    from pathlib import Path

    from dataflare.component import StateStore
    from dataflare.operate.door import Hook
    from dataflare.operate.starter import Prepare
    from dataflare.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Member:
    """A workflow that is kept: its schedule, if it has one, its open store, and how its runs are prepared.

    `hook`: where it is called by HTTP.
    """

    workflow: str
    schedule: Schedule | None
    store: StateStore[Any]
    prepare: Prepare
    directory: Path
    hook: Hook | None = None

    def history(self) -> History:
        """Return the records of its runs."""
        if self.schedule is None:
            return History(self.store, Codec(), self.workflow, tenant=TENANT)
        return History(self.store, Codec(), self.workflow, tenant=TENANT, retained=self.schedule.retain)

    def senses(self) -> list[Sense]:
        """Return what can ask for its runs besides the clock."""
        rules, found = self.schedule, list[Sense]()
        if rules is None:
            return found
        if rules.files:
            found.append(FileSense(str(self.directory / rules.files), rules.settle_seconds))
        events = [rules.event] if rules.event else []
        events += [rules.webhook.path_of(self.workflow)] if rules.webhook is not None else []
        if events:
            found.append(EventSense(EventLog(self.store, Codec(), tenant=TENANT), events))
        if rules.after is not None:
            other = History(self.store, Codec(), rules.after.workflow, tenant=TENANT)
            found.append(AfterSense(other, rules.after))
        return found


__all__ = ["Member"]
