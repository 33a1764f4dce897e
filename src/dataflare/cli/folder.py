"""The command `run` on a folder: all its workflows in one process, each by its schedule."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dataflare.cli.board import Board, board_text
from dataflare.cli.console import say_error, write, write_json
from dataflare.cli.running import SIGNAL_BASE, SIGNALS, RunOptions, check_options, signals_restored
from dataflare.cli.surroundings import plan_of
from dataflare.cli.telling import FolderTeller
from dataflare.clock import SystemClock
from dataflare.errors import DataFlareError, InvalidWorkflowError, Place, WorkflowError
from dataflare.executor.surroundings import TENANT, Secrets, StateOf
from dataflare.listening.server import Address
from dataflare.monitoring.log import JsonLines
from dataflare.monitoring.observers import Observers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dataflare.component import Registry, StateStore
    from dataflare.monitoring.events import Observer
    from dataflare.operate.agenda import PlannedRun
    from dataflare.operate.door import Hook
    from dataflare.operate.scheduler import Member, Scheduler
    from dataflare.operate.starter import Prepared
    from dataflare.plan import Plan
    from dataflare.schedule import Schedule

FAILED = 1


def run_folder(folder: Path, options: RunOptions) -> int:
    """Keep the workflows of a folder until each has ended, or until a signal; return the exit code."""
    from dataflare.component import Registry
    from dataflare.workflow.folder import workflow_files

    _check_fit(options)
    files = workflow_files(folder)
    if not files:
        raise WorkflowError(f"there is no workflow file in {folder}", hint="name a folder with workflow files in it")
    fleet = Fleet(Registry.installed(), options)
    with ExitStack() as stack:
        for file in files:
            fleet.take_in(file, stack)
        stack.enter_context(signals_restored())
        return fleet.run() if fleet.members else fleet.exit_code


def _check_fit(options: RunOptions) -> None:
    check_options(options)
    unfit = {"--run-id": options.run_id, "--until": options.until, "--deadline": options.deadline}
    for name, value in unfit.items():
        if value:
            raise WorkflowError(
                f"{name} is for one workflow, not for a folder", hint="write it into the schedule of the workflow"
            )


class Fleet:
    """The workflows of a folder, with all that they share: stores, observers, the scheduler."""

    def __init__(self, registry: Registry, options: RunOptions) -> None:
        """Hold none yet."""
        self._registry, self._options = registry, options
        self._clock = SystemClock()
        self._stores: dict[str, StateStore[Any]] = {}
        self._secrets: dict[str, Secrets] = {}
        self._files: dict[str, Path] = {}
        self.members: list[Member] = []
        self.exit_code = 0
        self._board = Board(self._clock, sys.stderr)
        watched = sys.stderr.isatty() and not (options.as_json or options.log)
        self._teller = FolderTeller(self._clock, self._board, self._hide, as_json=options.as_json, quiet=watched)
        teller: Observer = JsonLines(sys.stderr, self._clock, self._hide) if options.log else self._teller
        self._observer = Observers(self._board, teller)
        self._address = Address.of(options.listen)
        self._watched = watched

    def take_in(self, file: Path, stack: ExitStack) -> None:
        """Make a member of a workflow file; where it is wrong, say so and go on with the others."""
        try:
            self._take_in(file, stack)
        except DataFlareError as error:
            self.exit_code = max(self.exit_code, error.exit_code)
            say_error(error, as_json=self._options.as_json)

    def _take_in(self, file: Path, stack: ExitStack) -> None:
        from dataflare.operate.scheduler import Member
        from dataflare.schedule import Schedule

        plan = plan_of(file, self._registry, level="static")
        if plan.workflow in self._files:
            raise WorkflowError(
                f"{self._files[plan.workflow].name} has the id {plan.workflow!r}, too",
                hint="let each workflow have an id of its own: its state hangs on it",
                place=Place(str(file), path="id"),
            )
        state = StateOf.of_plan(plan)
        store = self._store(state, stack)
        schedule = Schedule.of(plan.schedule) if plan.schedule else None
        if schedule is not None and schedule.after is not None and schedule.after.workflow == plan.workflow:
            raise WorkflowError("a workflow cannot run after itself", place=Place(str(file), path="schedule.after"))
        hook = self._hook(file, plan, schedule)
        self._files[plan.workflow] = file
        self.members.append(
            Member(
                plan.workflow,
                schedule,
                store,
                lambda planned: self._prepared(file, plan.workflow, store, planned, schedule),
                state.directory,
                hook,
            )
        )

    def _hook(self, file: Path, plan: Plan, schedule: Schedule | None) -> Hook | None:
        """Return where the workflow is called, if it is; raise WorkflowError where that cannot be."""
        from dataflare.operate.door import Hook

        if schedule is None or schedule.webhook is None:
            return None
        webhook, place = schedule.webhook, Place(str(file), path="schedule.webhook")
        secrets = self._secrets[plan.workflow] = Secrets(plan)
        hook = Hook.of(plan.workflow, webhook, secrets(webhook.auth) if webhook.auth is not None else None)
        other = next((m.workflow for m in self.members if m.hook is not None and m.hook.path == hook.path), None)
        if other is not None:
            raise WorkflowError(
                f"{other} is called at {hook.path}, too", hint="give each a path of its own", place=place
            )
        if hook.rules.auth is None and self._address.outward:
            raise WorkflowError(
                "whoever listens to a network needs auth, or anybody may start runs",
                hint="write schedule.webhook.auth, or listen at 127.0.0.1",
                place=place,
            )
        return hook

    def _store(self, state: StateOf, stack: ExitStack) -> StateStore[Any]:
        from dataflare.executor.runtime import LocalRuntime

        key = f"{state.folder.resolve() if state.folder else state.directory}|{sorted(state.settings.items())}"
        if key not in self._stores:
            runtime = LocalRuntime()
            self._stores[key] = stack.enter_context(state.store(self._registry, runtime))
        return self._stores[key]

    @contextmanager
    def _prepared(
        self, file: Path, workflow: str, store: StateStore[Any], planned: PlannedRun, schedule: Any
    ) -> Iterator[Prepared]:
        """Read the file anew, for it may have been corrected, and give what a run of it needs."""
        from dataflare.executor.contract import RunContext
        from dataflare.executor.runtime import LocalRuntime
        from dataflare.operate.starter import Prepared

        plan = self._plan(file, workflow)
        secrets = self._secrets[workflow] = Secrets(plan)
        runtime = LocalRuntime(self._observer)
        try:
            context = RunContext(
                registry=self._registry,
                runtime=runtime,
                store=store,
                tenant=TENANT,
                run=planned.id,
                deadline_seconds=schedule.deadline_seconds if schedule is not None else None,
                catch_up=schedule is not None,
                socket=StateOf.of_plan(plan).socket,
                resolve=secrets,
            )
            yield Prepared(plan, context, secrets.hide)
        finally:
            runtime.close()

    def _plan(self, file: Path, workflow: str) -> Plan:
        try:
            plan = plan_of(file, self._registry, parallelism=self._options.parallelism)
        except InvalidWorkflowError as error:
            first = next(f for f in error.findings if f.severity == "error")
            more = len(error.findings) - 1
            text = f"{first.message}{f'; and {more} more' if more else ''}"
            known = WorkflowError(text, hint=f"see: dataflare validate {file}", place=first.place)
            known.exit_code = error.exit_code
            raise known from error
        if plan.workflow != workflow:
            raise WorkflowError(
                f"{file} now holds the workflow {plan.workflow!r}, not {workflow!r}", hint="start this process anew"
            )
        return plan

    def _hide(self, text: str) -> str:
        for secrets in list(self._secrets.values()):
            text = secrets.hide(text)
        return text

    def run(self) -> int:
        """Keep them all; return the exit code."""
        from dataflare.executor.local import tuned_process
        from dataflare.operate.scheduler import Scheduler

        scheduler = Scheduler(self.members, self._observer, self._address, runs_max=self._options.runs_max)
        self._board.watch(scheduler)
        with tuned_process(), self._board if self._watched else nullcontext():
            number, whole = asyncio.run(_kept(scheduler))
        self._tell_end(scheduler, whole=whole)
        refused = [s.error.exit_code for s in scheduler.standings if s.error is not None]
        refused += [scheduler.door.error.exit_code] if scheduler.door.error is not None else []
        code = max([self.exit_code, *refused])
        if code or number:
            return code or SIGNAL_BASE + number
        return FAILED if any(s.record is not None and s.record.status == "failed" for s in scheduler.standings) else 0

    def _tell_end(self, scheduler: Scheduler, *, whole: bool) -> None:
        if not whole:
            sys.stderr.write("ended at once; run it again to go on from the last committed epochs\n")
        elif self._options.as_json:
            for standing in scheduler.standings:
                record = asdict(standing.record) if standing.record is not None else None
                error = standing.error.as_finding().as_json() if standing.error is not None else None
                write_json({"workflow": standing.workflow, "status": standing.status, "last": record, "error": error})
        else:
            write(board_text(scheduler.standings, self._board, sys.stdout))


async def _kept(scheduler: Scheduler) -> tuple[int, bool]:
    """Keep until all have ended; return the number of the signal that asked to, and False where a second one did."""
    loop, main = asyncio.get_running_loop(), asyncio.current_task()
    signalled = 0

    def drain(number: int) -> None:
        nonlocal signalled
        if not signalled:
            signalled = number
            scheduler.stop()
        elif main is not None:
            main.cancel()

    for number in SIGNALS:
        loop.add_signal_handler(number, drain, number)
    try:
        await scheduler.keep()
    except asyncio.CancelledError:
        return signalled, False
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, lambda *_: None)
    return signalled, True


__all__ = ["Fleet", "run_folder"]
