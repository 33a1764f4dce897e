"""Runs the workflow of a program: in its event loop, or in one of its own."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict

from dataflare.component import Config
from dataflare.component.settings import seconds_of
from dataflare.errors import DataFlareError, WorkflowError
from dataflare.executor.contract import Outcome, RunContext, executor
from dataflare.executor.runtime import LocalRuntime
from dataflare.executor.surroundings import TENANT, Secrets, StateOf
from dataflare.operate.recording import Recording
from dataflare.program.loops import outside_loop

if TYPE_CHECKING:
    from datetime import timedelta

    from dataflare.component import StateStore
    from dataflare.monitoring.events import Observer
    from dataflare.plan import Plan
    from dataflare.program.planning import Planning

BY_PROGRAM = "program"
"""The trigger of a run that a program asked for."""


class RunWords(TypedDict, total=False):
    """How to run.

    `run_id` names this run: once it is complete, asking for it again does nothing. `deadline`: commit and stop before
    so long, a duration such as `30s`. `until`: `now` reads endless sources as far as they go at the start, then ends.
    `observer` hears of every event, in any thread.
    """

    run_id: str
    deadline: str | timedelta
    until: str
    observer: Observer


def run_here(planning: Planning, words: RunWords) -> Outcome:
    """Run to the end from plain code; see `Workflow.run`."""
    plan = planning.plan("sample")
    return outside_loop(lambda: asyncio.run(_run(plan, planning, words)))


async def run_async(planning: Planning, words: RunWords) -> Outcome:
    """Run to the end on this event loop."""
    plan = await asyncio.to_thread(planning.plan, "sample")
    return await _run(plan, planning, words)


async def _run(plan: Plan, planning: Planning, words: RunWords) -> Outcome:
    secrets, state = Secrets(plan), StateOf.of_plan(plan)
    runtime = LocalRuntime(words.get("observer"))
    deadline = _seconds(words.get("deadline"))
    if words.get("until", "") not in ("", "now"):
        raise WorkflowError(f"until={words['until']!r} is not known", hint="write until='now', or leave it out")
    stack = ExitStack()
    try:
        store: StateStore[Any] = await runtime.call(stack.enter_context, state.store(planning.registry, runtime))
        context = RunContext(
            registry=planning.registry,
            runtime=runtime,
            store=store,
            tenant=TENANT,
            run=words.get("run_id", ""),
            deadline_seconds=deadline,
            catch_up=words.get("until") == "now",
            socket=state.socket,
            resolve=secrets,
            replan=partial(planning.plan, "sample"),
        )
        outcome = await _recorded(plan, context, secrets)
    finally:
        await runtime.call(stack.close)
        await asyncio.to_thread(runtime.close)
    if outcome.error is not None:
        raise outcome.error
    return outcome


async def _recorded(plan: Plan, context: RunContext, secrets: Secrets) -> Outcome:
    """Run, and write into the history of the workflow that and how; return an outcome that names no secret."""
    runtime, recording = context.runtime, Recording(plan, context, BY_PROGRAM)
    chosen = context.registry.find(executor, "local")(Config())
    await runtime.call(recording.begin)
    try:
        outcome = await chosen.execute(plan, context)
    except DataFlareError:
        await runtime.call(recording.forget)
        raise
    if outcome.error is not None:
        error = outcome.error
        error.what, error.hint = secrets.hide(error.what), secrets.hide(error.hint)
    await runtime.call(recording.end, outcome)
    return outcome


def _seconds(deadline: str | timedelta | None) -> float | None:
    if deadline is None:
        return None
    if not isinstance(deadline, str):
        return deadline.total_seconds()
    try:
        return seconds_of(deadline)
    except ValueError as error:
        raise WorkflowError(f"deadline: {error}") from error


__all__ = ["RunWords", "run_async", "run_here"]
