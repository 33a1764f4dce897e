"""What a plugin asks of the workflow that it runs in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.monitoring.events import Noticed
from dataflare.plugin.host import QuietHost

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.component import StageContext
    from dataflare.processors.wasm_state import KeyedState

SAID_MAX = 100
"""How many times an instance passes on what its plugin said."""


class WorkflowHost(QuietHost):
    """Passes on what plugins say as notices, the first hundred; `hides` their words, where values are tagged."""

    def __init__(
        self, context: StageContext, *, hides: bool = False, stateful: bool = False, keyed: KeyedState | None = None
    ) -> None:
        """`stateful`: the plugin said that it keeps state; `keyed`: where that of keys is, by `key`."""
        super().__init__()
        self._context, self._hides, self._stateful, self._keyed = context, hides, stateful, keyed
        self._count = 0

    def log(self, level: str, message: str) -> None:
        """Tell the observers."""
        self._count += 1
        if self._count > (1 if self._hides else SAID_MAX):
            return
        text = "(the plugin logs; its words are not told, as it is given tagged values)" if self._hides else message
        text = self._context.hide(text)
        if self._count == SAID_MAX:
            text += "\n(what the plugin says from now on is not shown)"
        self._context.emit(Noticed(self._context.workflow, f"plugin.{level}", text, self._context.node))

    def now(self) -> int:
        """Return the time of the epoch."""
        return self._context.epoch_time()

    def get_state(self, key: str) -> str | None:
        """Return it."""
        return self._keyed.get(key) if self._keyed is not None else super().get_state(key)

    def set_state(self, key: str, value: str | None) -> None:
        """Keep it, where rows of a key are in one place: the node names its key, or all rows are in one."""
        if self._keyed is not None:
            self._keyed.set(key, value)
        elif self._stateful:
            super().set_state(key, value)
        else:
            raise ValueError(
                "a plugin that keeps state must say so: name the columns under `key` of the node, or export "
                "exportState and importState"
            )

    def settle(self, *, kept: bool) -> None:
        """Keep what the call set, or not."""
        if self._keyed is not None:
            self._keyed.settle(kept=kept)
        super().settle(kept=kept)

    def restore(self, state: Mapping[str, str]) -> None:
        """Take state back."""
        self._state.update(state)


__all__ = ["WorkflowHost"]
