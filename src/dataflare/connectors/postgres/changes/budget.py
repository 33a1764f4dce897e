"""Watches how much log the server keeps for a slot, and does what the settings say where that is too much."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.connectors.postgres.changes.slot import ANEW
from dataflare.connectors.postgres.replication.refusals import SlotLostError
from dataflare.errors import StateError
from dataflare.monitoring.events import Noticed

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataflare.component import StageContext
    from dataflare.connectors.postgres.changes.slot import Names, SlotState
    from dataflare.connectors.postgres.settings import ChangesConfig


class LogBudget:
    """One for each reader of a slot."""

    def __init__(self, config: ChangesConfig, context: StageContext, names: Names) -> None:
        """Begin within the budget."""
        self._config, self._context, self._names = config, context, names
        self._behind = False

    def look(self, state: SlotState, drop: Callable[[], object]) -> None:
        """Tell once that the log is too long; where settings say so, raise StateError or `drop` the slot first."""
        most = self._config.max_wal
        beyond = most is not None and state.kept_bytes > most
        behind = beyond or state.wal_status == "unreserved"
        if behind and not self._behind:
            told = _told(state, most)
            self._context.emit(Noticed(self._context.workflow, "slot.behind", told, self._context.node))
        self._behind = behind
        if not beyond or self._config.beyond_max_wal == "alert":
            return
        what = (
            f"the server keeps {state.kept_bytes >> 20} MiB of log for the slot {self._names.slot}, more than max_wal "
            f"({(most or 0) >> 20} MiB)"
        )
        if self._config.beyond_max_wal == "stop":
            raise StateError(
                f"{what}, and beyond_max_wal is stop",
                hint="let max_wal be larger and run again, so that the log is read; or give the slot up: "
                "dataflare cdc drop",
            )
        drop()
        raise SlotLostError(f"{what}: it was dropped, as beyond_max_wal says", hint=ANEW)


def _told(state: SlotState, most: int | None) -> str:
    kept = f"the server keeps {state.kept_bytes >> 20} MiB of log for the slot"
    if state.wal_status == "unreserved":
        return f"{kept}, and is about to remove it: the slot is lost then (max_slot_wal_keep_size)"
    return f"{kept}, more than max_wal ({(most or 0) >> 20} MiB): the destination is slow, or a transaction stays open"


__all__ = ["LogBudget"]
