"""What a plugin asks of the workflow that it runs in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dataflare.component.processor import MILLION
from dataflare.monitoring.events import Noticed
from dataflare.plugin.failures import shown
from dataflare.plugin.host import QuietHost

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.component import StageContext
    from dataflare.processors.wasm_state import KeyedState

SAID_MAX = 100
"""How many times an instance passes on what its plugin said."""
METRICS_MAX, METRIC_MAX = 100, 1e12
"""How many counters a plugin may have in an instance, and the most that is added at once."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,79}")


class WorkflowHost(QuietHost):
    """Passes on what plugins say as notices, the first hundred; `hides` their words, where values are tagged."""

    def __init__(
        self, context: StageContext, *, hides: bool = False, stateful: bool = False, keyed: KeyedState | None = None
    ) -> None:
        """`stateful`: the plugin said that it keeps state; `keyed`: where that of keys is, by `key`."""
        super().__init__()
        self._context, self._hides, self._stateful, self._keyed = context, hides, stateful, keyed
        self._count = 0
        self._counting: dict[str, int] = {}
        self._counted: dict[str, int] = {}
        self._counters: set[str] = set()
        self._left_out = False

    def log(self, level: str, message: str) -> None:
        """Tell the observers."""
        self._count += 1
        if self._count > (1 if self._hides else SAID_MAX):
            return
        text = "(the plugin logs; its words are not told, as it is given tagged values)" if self._hides else message
        text = shown(self._context.hide(text))
        if self._count == SAID_MAX:
            text += "\n(what the plugin says from now on is not shown)"
        self._notice(level, text)

    def metric(self, name: str, value: float) -> None:
        """Count, in millionths, unless the plugin is given tagged values: they could be told by that."""
        if not _NAME.fullmatch(name):
            raise ValueError("the name of a metric has at most 80 letters, digits, and _ . : / -")
        if not abs(value) <= METRIC_MAX:
            raise ValueError(f"what is added to a metric is a number of at most {METRIC_MAX:,.0f}")
        room = 0 if self._hides else METRICS_MAX
        if name not in self._counters and len(self._counters) < room:
            self._counters.add(name)
        if name not in self._counters:
            self._leave_out()
        else:
            self._counting[name] = self._counting.get(name, 0) + round(value * MILLION)

    def _leave_out(self) -> None:
        if not self._left_out:
            more = f"the plugin has more than {METRICS_MAX} metrics; the others are not told"
            hidden = "the plugin counts; that is not told, as it is given tagged values"
            self._notice("warn", f"({hidden if self._hides else more})")
        self._left_out = True

    def counted(self) -> dict[str, int]:
        """Return what was counted since the last call."""
        counted, self._counted = self._counted, {}
        return counted

    def _notice(self, level: str, text: str) -> None:
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
        counting, self._counting = self._counting, {}
        for name, value in counting.items() if kept else ():
            self._counted[name] = self._counted.get(name, 0) + value
        if self._keyed is not None:
            self._keyed.settle(kept=kept)
        super().settle(kept=kept)

    def restore(self, state: Mapping[str, str]) -> None:
        """Take state back."""
        for key, value in state.items():
            super().set_state(key, value)
        super().settle(kept=True)


__all__ = ["WorkflowHost"]
