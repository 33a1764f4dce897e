"""The built-in executor: one process, one event loop, worker threads, an actor system that it is given."""

from __future__ import annotations

import asyncio
import resource
import signal
import sys
import threading
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from dataflare.actor.system import ActorSystem, LocalActorSystem
from dataflare.component import Config
from dataflare.executor.contract import Outcome, RunContext, WorkflowExecutor, executor
from dataflare.executor.control import ControlServer
from dataflare.executor.coordinator import CoordinatorActor
from dataflare.executor.dead_letters import with_dead_letters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataflare.actor.ref import ActorRef
    from dataflare.plan import Plan

SWITCH_SECONDS = 0.001
"""How long a thread may keep the interpreter: kernels that wait for it must not wait 5 ms (the default)."""


class _Tuning:
    """What a process was like before the first of the runs that are under way in it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs = 0
        self._before = (0.0, (0, 0))

    def begin(self) -> None:
        with self._lock:
            if not self._runs:
                self._before = sys.getswitchinterval(), resource.getrlimit(resource.RLIMIT_NOFILE)
                most = self._before[1][1]
                sys.setswitchinterval(SWITCH_SECONDS)
                resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            self._runs += 1

    def end(self) -> None:
        with self._lock:
            self._runs -= 1
            if not self._runs:
                sys.setswitchinterval(self._before[0])
                resource.setrlimit(resource.RLIMIT_NOFILE, self._before[1])


_TUNING = _Tuning()


@contextmanager
def tuned_process() -> Iterator[None]:
    """Let this process suit many threads that each do little, and as many open files as the system lets it have.

    As it was before when the last of several runs leaves. A workflow holds two files and more; the usual limit of 1,024
    is reached by 500 of them.
    """
    _TUNING.begin()
    try:
        yield
    finally:
        _TUNING.end()


@executor("local", status="beta", examples=[{}])
class LocalExecutor(WorkflowExecutor[Config]):
    """Runs a plan in this process.

    Takes the lease of the workflow, serves control on a unix socket, and drains on SIGINT or SIGTERM: it seals what
    was read and ends as `stopped`. A second signal ends it at once; nothing is lost by that.
    """

    def __init__(self, config: Config, system: ActorSystem | None = None) -> None:
        """Use this actor system; by default one on the running loop."""
        super().__init__(config)
        self._system = system
        self._lock = threading.Lock()
        self._coordinator: ActorRef | None = None
        self._life: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None] | None = None
        self._draining = self._broken_off = False
        self.signalled = 0
        """The number of the signal that asked the run to drain; 0 where none did."""

    def drain(self) -> None:
        """Let the run commit what it read and end as `stopped`; from any thread, also before it has begun."""
        with self._lock:
            self._draining = True
            if self._life is not None:
                self._life[0].call_soon_threadsafe(self._drain)

    def break_off(self) -> None:
        """End the run at once, which loses nothing; from any thread, also before it has begun."""
        with self._lock:
            self._broken_off = True
            if self._life is not None and self._life[1] is not None:
                self._life[0].call_soon_threadsafe(self._life[1].cancel)

    async def execute(self, plan: Plan, context: RunContext) -> Outcome:
        """Run to the end; raises LeaseHeldError when the workflow runs already."""
        system = self._system or LocalActorSystem()
        async with AsyncExitStack() as stack:
            stack.enter_context(tuned_process())
            stack.push_async_callback(system.shutdown)  # where the lease is refused; else all is down by then
            self._coordinator = coordinator = await system.spawn(CoordinatorActor, name="coordinator")
            stack.callback(self._on_signals())
            stack.callback(self._begin())
            lease = await context.runtime.call(context.store.lease, f"{context.tenant}/{plan.workflow}")
            stack.callback(lease.release)
            stack.push_async_callback(system.shutdown)
            if context.socket is not None:
                await stack.enter_async_context(ControlServer(context.socket, plan.workflow, coordinator))
            whole = with_dead_letters(plan, context.registry)
            outcome: Outcome = await coordinator.ask("submit", whole, context)
            return outcome

    def _begin(self) -> Any:
        """Heed what other threads ask for, also what they asked for before; return how to be deaf again."""

        def end() -> None:
            with self._lock:
                self._life = None

        with self._lock:
            self._life = asyncio.get_running_loop(), asyncio.current_task()
            wanted = self._draining, self._broken_off
        if wanted[0]:
            self._drain()
        if wanted[1]:
            raise asyncio.CancelledError
        return end

    def _drain(self) -> None:
        if self._coordinator is not None:
            self._coordinator.tell("stop_all")

    def _on_signals(self) -> Any:
        """Drain at the first signal; return how to go back to the handlers that were there."""
        loop, main = asyncio.get_running_loop(), asyncio.current_task()

        def drain(number: int) -> None:
            if not self.signalled:
                self.signalled = number
                self._drain()
            elif main is not None:
                main.cancel()

        handled = {}
        for number in (signal.SIGINT, signal.SIGTERM):
            before = signal.getsignal(number)
            try:
                loop.add_signal_handler(number, drain, number)
                handled[number] = before
            except (ValueError, RuntimeError, NotImplementedError):  # not in the main thread: the host owns signals
                continue

        def undo() -> None:
            for number, before in handled.items():
                loop.remove_signal_handler(number)
                signal.signal(number, before)

        return undo
