"""Runs a workflow in a process that dies at a chosen moment: `python -m dataflare.testing.chaos FILE --kill SPEC`.

A kill is `before:STEP:N` or `after:STEP:N`: SIGKILL just before or after the N-th call of a blocking step of that
name (`seal`, `commit`, `mark_committed`, `prepare`, `abort`, `finish`, `mark_finished`, `open`, `write`, ...), or
`time:SECONDS`. Barriers are skewed: every call waits a random moment, drawn from `--seed`, before it runs.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from dataflare.executor.runtime import LocalRuntime

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dataflare.executor.contract import Outcome

P = ParamSpec("P")
T = TypeVar("T")

SKEW_SECONDS = 0.004


class MortalRuntime(LocalRuntime):
    """A runtime whose process dies by SIGKILL as told."""

    def __init__(self, kill: str, seed: int, *, skew_seconds: float = SKEW_SECONDS) -> None:
        """`kill` is empty or a kill as the module describes."""
        super().__init__()
        self.random.seed(seed)
        self._skew = skew_seconds
        self._calls = 0
        self._when, _, rest = kill.partition(":")
        self._step, _, number = rest.partition(":")
        self._number = int(number or 1)
        if self._when == "time":
            timer = threading.Timer(float(self._step), die)
            timer.daemon = True
            timer.start()

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a step, perhaps the last one."""
        await self.clock.sleep(self.random.random() * self._skew)
        hit = False
        if self._when in ("before", "after") and getattr(function, "__name__", "") == self._step:
            self._calls += 1
            hit = self._calls == self._number
        if hit and self._when == "before":
            die()
        result = await super().call(function, *args, **kwargs)
        if hit:
            die()
        return result


def die() -> None:
    """Kill this process at once: no cleanup, no flush."""
    os.kill(os.getpid(), signal.SIGKILL)


class _NoLease:
    """Stands for a lease that nobody holds: how a zombie and its successor come to share one state."""

    def release(self) -> None:
        """Do nothing."""


async def run(
    path: Path, runtime: LocalRuntime, run_name: str, *, leased: bool = True, catch_up: bool = False
) -> Outcome:
    """Run a workflow file with the state that it names; `catch_up`: as far as its endless sources go now."""
    from dataflare.component import Config, Registry, StageContext, state_store
    from dataflare.executor.contract import RunContext
    from dataflare.executor.local import LocalExecutor
    from dataflare.workflow import Replanning, plan_or_raise

    registry = Registry.installed()
    planned = partial(plan_or_raise, registry=registry, environ=dict(os.environ), level="sample")
    text = await asyncio.to_thread(Replanning.of, path, planned)
    plan = await asyncio.to_thread(planned, text.written)
    settings = dict(plan.settings.state)
    kind = registry.find(state_store, settings.pop("type"))
    store = kind(kind.spec.config.model_validate(settings))
    store.context = StageContext(runtime, plan.workflow, "", directory=Path(plan.directory))
    store.open()
    if not leased:
        vars(store)["lease"] = lambda _name: _NoLease()
    context = RunContext(
        registry=registry,
        runtime=runtime,
        store=store,
        run=run_name,
        replan=text.replan,
        reload=text.reload,
        catch_up=catch_up,
    )
    try:
        return await LocalExecutor(Config()).execute(plan, context)
    finally:
        store.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as `arguments`, else those of the process, tell; return 0 when the run succeeded, 1 when it failed."""
    parser = argparse.ArgumentParser(prog="dataflare.testing.chaos", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--kill", default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", default="chaos")
    parser.add_argument("--until", choices=["now"], help="how far sources are read that do not end")
    parser.add_argument("--without-lease", action="store_true")
    parser.add_argument("--skew", type=float, default=SKEW_SECONDS)
    given = parser.parse_args(arguments)
    runtime = MortalRuntime(given.kill, given.seed, skew_seconds=given.skew)
    leased, catch_up = not given.without_lease, given.until == "now"
    outcome = asyncio.run(run(given.file, runtime, given.run, leased=leased, catch_up=catch_up))
    if outcome.status != "succeeded":
        sys.stderr.write(f"{outcome.status}: {outcome.error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
