"""The command `run`: a plan, its surroundings, somebody who watches, and an exit code."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from dataflare.cli.console import YELLOW, painted, say_error, write_json
from dataflare.cli.summary import outcome_json, summary_text
from dataflare.cli.surroundings import plan_of
from dataflare.clock import SystemClock
from dataflare.errors import DataFlareError, Finding, Place, WorkflowError
from dataflare.executor.surroundings import TENANT, Secrets, StateOf
from dataflare.monitoring.events import AttemptFailed, CheckpointStalled, Event, Noticed
from dataflare.monitoring.log import JsonLines
from dataflare.monitoring.metrics import Counters
from dataflare.monitoring.observers import Observers
from dataflare.monitoring.progress import LiveProgress, Shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from dataflare.component import Registry
    from dataflare.executor.contract import Outcome, Replay, RunContext
    from dataflare.monitoring.events import Observer
    from dataflare.monitoring.live import LiveView
    from dataflare.plan import Plan

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SIGNAL_BASE = 128
"""What a shell adds to the number of the signal that ended a process."""
BY_HAND = "command"
"""The trigger of a run that somebody asked for on the command line."""
RUNS_MAX = 16
"""So many scheduled runs of a folder at most run at once."""
LISTEN = "127.0.0.1:8090"
"""Where calls that start runs of a folder come in."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run and how to tell.

    `state` is the folder of the state, instead of that in the file. `run_id` names the run, `replay` says what it
    reads, `replan` and `reload` how it is planned anew (see RunContext). `runs_max`, `listen` and `restart_changed` are
    for folders. `observers` hear of everything besides; `counters` are those of this process; with `bytes_total`
    progress has a bar.
    """

    as_json: bool = False
    log: str = ""
    parallelism: int | None = None
    deadline: str = ""
    until: str = ""
    run_id: str = ""
    runs_max: int = RUNS_MAX
    listen: str = LISTEN
    restart_changed: bool = False
    state: Path | None = None
    replay: Replay | None = None
    replan: Callable[[Mapping[str, Any]], Plan] | None = None
    reload: Callable[[], Callable[[Mapping[str, Any]], Plan]] | None = None
    observers: tuple[Observer, ...] = ()
    bytes_total: int = 0
    counters: Counters = field(default_factory=Counters)

    def deadline_seconds(self) -> float | None:
        """Return the deadline in seconds; raise WorkflowError where it has no unit."""
        from dataflare.component.settings import seconds_of

        try:
            return seconds_of(self.deadline) if self.deadline else None
        except ValueError as error:
            raise WorkflowError(f"--deadline: {error}") from error


def run_command(file: Path, options: RunOptions) -> int:
    """Run a workflow file and say how it ended; return the exit code."""
    from dataflare.component import Registry
    from dataflare.workflow import Replanning

    check_options(options)
    registry = Registry.installed()
    planned = partial(plan_of, registry=registry, parallelism=options.parallelism, state=options.state)
    if file.is_file():
        text = Replanning.of(file, planned)
        options = replace(options, replan=text.replan, reload=text.reload)
    plan = planned(file)
    with signals_restored():
        return _told(plan, registry, options)


def check_options(options: RunOptions) -> None:
    """Raise WorkflowError for words that are not known."""
    if options.log not in ("", "json"):
        raise WorkflowError(f"there is no log format {options.log!r}", hint="write --log json, or leave it out")
    if options.until not in ("", "now"):
        raise WorkflowError(f"--until {options.until!r} is not known", hint="write --until now, or leave it out")


@contextmanager
def signals_restored() -> Iterator[None]:
    """Go back to the handlers that were there: a run leaves signals unheard, for its summary is still to be told."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _told(plan: Plan, registry: Registry, options: RunOptions) -> int:
    outcome, number = run_plan(plan, registry, options)
    plan = (outcome.plan if outcome is not None else None) or plan
    if outcome is None:
        sys.stderr.write("ended at once; run it again to go on from the last committed epoch\n")
    elif options.as_json:
        write_json(outcome_json(plan, outcome, options.counters.read()))
    else:
        stream = sys.stderr if _rows_on_stdout(plan) else sys.stdout
        stream.write(summary_text(plan, outcome, stream, options.counters.read().rows_committed) + "\n")
    if outcome is not None and outcome.error is not None:
        say_error(outcome.error, as_json=options.as_json)
        return outcome.error.exit_code
    if outcome is not None and outcome.status == "succeeded":  # the signal came too late to stop anything
        return 0
    return SIGNAL_BASE + number if number else 0


def run_plan(plan: Plan, registry: Registry, options: RunOptions) -> tuple[Outcome | None, int]:
    """Run a plan to its end; return the outcome and the number of the signal that stopped the run, 0 where none did.

    There is no outcome where a second signal ended it at once. Errors of the run name no secret.
    """
    from dataflare.executor.contract import RunContext
    from dataflare.executor.runtime import LocalRuntime

    secrets, counters, clock = Secrets(plan), options.counters, SystemClock()
    shown = Shown(plan.workflow, [(n.id, n.kind.value) for n in plan.topological()], options.bytes_total)
    live = LiveProgress(shown, counters, clock, sys.stderr)
    teller: Observer = Warnings(live, secrets.hide, as_json=options.as_json)
    if options.log:
        teller = JsonLines(sys.stderr, clock, secrets.hide)
    watched = not (options.as_json or options.log or (_rows_on_stdout(plan) and sys.stdout.isatty()))
    runtime = LocalRuntime(Observers(counters, teller, *options.observers))
    state = StateOf.of_plan(plan)
    try:
        with state.store(registry, runtime) as store, live if watched else nullcontext():
            context = RunContext(
                registry=registry,
                runtime=runtime,
                store=store,
                tenant=TENANT,
                run=options.run_id,
                deadline_seconds=options.deadline_seconds(),
                catch_up=options.until == "now",
                socket=state.socket,
                resolve=secrets,
                replay=options.replay,
                replan=options.replan,
                reload=options.reload,
            )
            outcome, number = _recorded(plan, context, secrets.hide)
    finally:
        runtime.close()
    return outcome, number


def _recorded(plan: Plan, context: RunContext, hide: Callable[[str], str]) -> tuple[Outcome | None, int]:
    """Run, and write into the history of the workflow that and how; a run that ends at once has no end there."""
    from dataflare.operate.recording import Recording

    recording = Recording(plan, context, BY_HAND)
    recording.begin()
    try:
        outcome, number = _execute(plan, context)
    except DataFlareError:
        recording.forget()
        raise
    if outcome is not None:
        if outcome.error is not None:
            error = outcome.error
            error.what, error.hint = hide(error.what), hide(error.hint)
        recording.end(outcome)
    return outcome, number


def _execute(plan: Plan, context: RunContext) -> tuple[Outcome | None, int]:
    from dataflare.component import Config
    from dataflare.executor.contract import executor

    chosen = context.registry.find(executor, "local")(Config())
    for number in SIGNALS:  # what the executor does not take, at the very beginning and after the end, passes unheard
        signal.signal(number, lambda *_: None)
    try:
        outcome: Outcome | None = asyncio.run(chosen.execute(plan, context))
    except asyncio.CancelledError:  # the second signal
        outcome = None
    return outcome, int(getattr(chosen, "signalled", 0))


class Warnings:
    """An observer that tells on stderr what a person should know while the run goes on; nothing when all is well.

    With `naming` it says of which workflow.
    """

    naming = False

    def __init__(self, live: LiveView, hide: Callable[[str], str], *, as_json: bool) -> None:
        """Tell through the live view, or as JSON in the shape of a finding."""
        self._live, self._hide, self._as_json = live, hide, as_json

    def __call__(self, event: Event) -> None:
        """Tell, or keep silent."""
        finding = warning_of(event)
        if finding is None:
            return
        message = self._hide(finding.message)
        if self._as_json:
            name = {"workflow": event.workflow} if self.naming else {}
            write_json({**finding.as_json(), "message": message, **name}, stream=sys.stderr)
            return
        place = f"{event.workflow}: " if self.naming and event.workflow else ""
        place += f"{finding.place}: " if str(finding.place) else ""
        self._live.say(f"{painted('warning:', YELLOW, sys.stderr)} {place}{message}")


def warning_of(event: Event) -> Finding | None:
    """Return what an event warns of; None where it does not."""
    match event:
        case AttemptFailed():
            again = f"; trying again in {event.retry_in_seconds:.1f} s" if event.retry_in_seconds >= 0 else ""
            return Finding("warning", event.code, f"attempt {event.attempt} failed: {event.message}{again}")
        case CheckpointStalled():
            message = f"epoch {event.epoch} takes too long, waiting for {event.waiting_for}"
            return Finding("warning", "checkpoint.stalled", message)
        case Noticed():
            return Finding("warning", event.code, event.message, place=Place(path=event.node))
    return None


def _rows_on_stdout(plan: Plan) -> bool:
    return any(node.type == "stdout" for node in plan.topological())
