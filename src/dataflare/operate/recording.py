"""Writes into the history of a workflow that it runs, outside of a schedule, and how that ended."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from dataflare.errors import DataFlareError
from dataflare.operate.history import RETAINED, History, RunRecord, ended
from dataflare.security.codec import Codec

if TYPE_CHECKING:
    from dataflare.executor.contract import Outcome, RunContext
    from dataflare.plan import Plan


class Recording:
    """The record of one run. Blocking. A run that ends at once, without an outcome, has no end there."""

    def __init__(self, plan: Plan, context: RunContext, trigger: str) -> None:
        """Write nothing yet; `trigger` is what asks for the run."""
        self._plan, self._clock = plan, context.runtime.clock
        retained = plan.schedule.get("retain", RETAINED)
        self._history = History(context.store, Codec(), plan.workflow, tenant=context.tenant, retained=retained)
        self._record = RunRecord(0, context.run, "replay" if context.replay else trigger)

    def begin(self) -> None:
        """Write that it begins."""
        self._record = self._history.begin(replace(self._record, began=self._clock.now()))

    def forget(self) -> None:
        """Remove it: the run was never begun, as where another process runs the workflow, or the state is damaged."""
        with suppress(DataFlareError):
            self._history.forget(self._record)

    def end(self, outcome: Outcome) -> None:
        """Write how it ended; the error of the outcome must name no secret."""
        self._history.write(ended(self._record, outcome.plan or self._plan, outcome, self._clock.now()))


__all__ = ["Recording"]
