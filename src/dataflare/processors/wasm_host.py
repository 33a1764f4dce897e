"""What a plugin asks of the workflow that it runs in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.monitoring.events import Noticed
from dataflare.plugin.host import QuietHost

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.component import StageContext

SAID_MAX = 100
"""How many times an instance passes on what its plugin said."""


class WorkflowHost(QuietHost):
    """Passes on what plugins say as notices, the first hundred; `hides` their words, where values are tagged."""

    def __init__(self, context: StageContext, *, hides: bool = False, stateful: bool = False) -> None:
        """`stateful`: the plugin said that it keeps state."""
        super().__init__()
        self._context, self._hides, self._stateful = context, hides, stateful
        self._count = 0

    def log(self, level: str, message: str) -> None:
        """Tell the observers."""
        self._count += 1
        if self._count > (1 if self._hides else SAID_MAX):
            return
        text = "(the plugin logs; its words are not told, as it is given tagged values)" if self._hides else message
        if self._count == SAID_MAX:
            text += "\n(what the plugin says from now on is not shown)"
        self._context.emit(Noticed(self._context.workflow, f"plugin.{level}", text, self._context.node))

    def now(self) -> int:
        """Return the time of the epoch."""
        return self._context.epoch_time()

    def set_state(self, key: str, value: str | None) -> None:
        """Keep it, if the plugin has said that it keeps state: rows are then all in one place."""
        if not self._stateful:
            raise ValueError("a plugin that keeps state must say so: export exportState and importState")
        super().set_state(key, value)

    def restore(self, state: Mapping[str, str]) -> None:
        """Take state back."""
        self._state.update(state)


__all__ = ["WorkflowHost"]
