"""An instance that is replaced where it was stopped in the middle of a call, with the state that it had before."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from dataflare.clock import SystemClock
from dataflare.errors import DataError, Place, WorkflowError
from dataflare.plugin.failures import PluginError, TrappedError
from dataflare.plugin.grants import NO_GRANTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataflare.plugin.grants import Grants
    from dataflare.plugin.host import Host
    from dataflare.plugin.limits import Limits
    from dataflare.plugin.program import Instance, Program, Settings

_CHANGING = ("process", "process-batch", "process-buffers", "import-state")


_FULL = "InternalError: out of memory"
"""How the runtime of JavaScript says that there is no memory left; it would say so of all rows from then on."""


def _within_memory(name: str, found: Any) -> Any:
    """Return what a call has returned; raise TrappedError where a row of a batch found no memory.

    A plugin that keeps ever more gets a new instance by that, and a row that needs too much is found by itself.
    """
    if name == "process-batch" and any(why.startswith(_FULL) for _, why in found[1]):
        raise TrappedError("its memory is full")
    return found


def _as_it_is(found: Any) -> Any:
    return found


class GuardedInstance:
    """One instance of a program, for one thread at a time. Open it before the first call, and close it.

    A call that was stopped has no effect, neither on the plugin's own state nor on that of keys. `seconds` were spent
    in calls so far.
    """

    def __init__(
        self, program: Program, settings: Settings, host: Host, limits: Limits, grants: Grants = NO_GRANTS
    ) -> None:
        """Start nothing yet."""
        self._program, self._settings, self._host, self._limits = program, settings, host, limits
        self._grants = grants
        self.file = program.file
        self._stack = ExitStack()
        self._instance: Instance | None = None
        self._traps = 0
        self._keeps = True
        self._clock = SystemClock()
        self.seconds = 0.0

    def open(self, *, stateful: bool) -> Self:
        """Start an instance; `stateful`: it has state of its own, to be asked for before each call that changes it."""
        self._stack.enter_context(self._program.engine.ticking())
        self._keeps = stateful
        self._instance = self._program.opened(self._settings, self._host, self._limits, self._grants)
        return self

    def close(self) -> None:
        """Let the plugin clean up, which may fail, and drop it."""
        instance, self._instance = self._instance, None
        try:
            if instance is not None:
                instance.call("close")
        except PluginError:
            self._host.settle(kept=False)
        finally:
            self._stack.close()

    def call(self, name: str, *given: Any, judge: Callable[[Any], Any] = _as_it_is) -> Any:
        """Call a function of the interface, and return what `judge` makes of that.

        Raises PluginError as the plugin says, TrappedError where it was stopped, or `judge` raised that, and there is
        another one now, DataError where that has come too often, or the plugin cannot tell the state that it had.
        """
        instance = self._instance
        assert instance is not None, "the plugin is not open"
        before = self.state() if self._keeps and name in _CHANGING else None
        start = self._clock.monotonic()
        try:
            found = judge(_within_memory(name, instance.call(name, *given)))
        except TrappedError as error:
            self._host.settle(kept=False)
            self._replace(before, error)
            raise
        except PluginError:
            self._host.settle(kept=False)
            raise
        finally:
            self.seconds += self._clock.monotonic() - start
        self._host.settle(kept=True)
        return found

    def state(self) -> str:
        """Return the plugin's own state; raise DataError where it cannot tell it, as nothing else has it."""
        assert self._instance is not None, "the plugin is not open"
        try:
            found = self._instance.call("export-state")
        except PluginError as error:
            raise DataError(
                f"the plugin cannot tell its state: {error.what}", hint="correct it", place=Place(self._program.file)
            ) from error
        return str(found)

    def _replace(self, state: str | None, why: TrappedError) -> None:
        self._traps += 1
        self._instance = None
        if self._traps > self._limits.traps_max:
            raise DataError(
                f"the plugin had to be stopped {self._traps} times, at last because {why.what}",
                hint="correct it, or raise its limits",
                place=Place(self._program.file),
            ) from why
        instance = self._program.opened(self._settings, self._host, self._limits, self._grants)
        if state is not None:
            try:
                instance.call("import-state", state)
            except PluginError as error:
                raise WorkflowError(
                    f"the plugin does not take the state back that it gave: {error.what}",
                    place=Place(self._program.file),
                ) from error
        self._instance = instance


__all__ = ["GuardedInstance"]
