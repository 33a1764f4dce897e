"""The command `run` on a folder: all its workflows in one process, each by its schedule."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import ExitStack, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dataflare.cli.board import Board, board_text
from dataflare.cli.console import error_text, say_error, write, write_json
from dataflare.cli.following import FolderWatch, Follower
from dataflare.cli.members import Around, Members
from dataflare.cli.running import SIGNAL_BASE, SIGNALS, RunOptions, check_options, signals_restored
from dataflare.cli.telling import FolderTeller
from dataflare.clock import SystemClock
from dataflare.errors import DataFlareError, WorkflowError
from dataflare.listening.server import Address
from dataflare.monitoring.log import JsonLines
from dataflare.monitoring.observers import Observers

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from dataflare.component import Registry
    from dataflare.monitoring.events import Observer
    from dataflare.operate.scheduler import Scheduler

FAILED = 1


def run_folder(folder: Path, options: RunOptions) -> int:
    """Keep the workflows of a folder until each has ended, or until a signal; return the exit code."""
    from dataflare.component import Registry
    from dataflare.workflow.folder import workflow_files

    _check_fit(options)
    with ExitStack() as stack:
        fleet = Fleet(folder, Registry.installed(), options, stack)
        files = workflow_files(folder)
        if not files:
            raise WorkflowError(f"there is no workflow file in {folder}", hint="name a folder with workflow files")
        for file in files:
            fleet.take_in(file)
        stack.enter_context(signals_restored())
        return fleet.run() if fleet.members.entries else fleet.exit_code


def _check_fit(options: RunOptions) -> None:
    check_options(options)
    unfit = {"--run-id": options.run_id, "--until": options.until, "--deadline": options.deadline}
    for name, value in unfit.items():
        if value:
            raise WorkflowError(
                f"{name} is for one workflow, not for a folder", hint="write it into the schedule of the workflow"
            )


class Fleet:
    """The workflows of a folder, with those who watch and follow them."""

    def __init__(self, folder: Path, registry: Registry, options: RunOptions, stack: ExitStack) -> None:
        """Hold none yet."""
        self._options, self._clock = options, SystemClock()
        self._watch = FolderWatch(folder)
        self._wrong: dict[Path, DataFlareError] = {}
        self._board = Board(self._clock, sys.stderr)
        self._watched = sys.stderr.isatty() and not (options.as_json or options.log)
        teller: Observer = FolderTeller(
            self._clock, self._board, self._hide, as_json=options.as_json, quiet=self._watched
        )
        if options.log:
            teller = JsonLines(sys.stderr, self._clock, self._hide)
        self._observer = Observers(self._board, teller)
        self._address = Address.of(options.listen)
        self.members = Members(Around(registry, options, self._observer, self._address, stack))

    @property
    def exit_code(self) -> int:
        """That of the files that are wrong now."""
        return max((error.exit_code for error in self._wrong.values()), default=0)

    def take_in(self, file: Path) -> None:
        """Make a member of a workflow file; where it is wrong, say so and go on with the others."""
        try:
            draft = self.members.read(file)
            self.members.check(draft)
            self.members.add(draft)
        except DataFlareError as error:
            self._wrong[file] = error
            self._say(error)

    def _say(self, error: DataFlareError) -> None:
        if self._board.drawn:
            self._board.say(self._hide(error_text(error)))
        else:
            say_error(error, as_json=self._options.as_json)

    def _hide(self, text: str) -> str:
        return self.members.hide(text)

    def run(self) -> int:
        """Keep them all; return the exit code."""
        from dataflare.executor.local import tuned_process
        from dataflare.executor.runtime import LocalRuntime
        from dataflare.operate.scheduler import Scheduler

        kept = [self.members.member(entry) for entry in self.members.entries.values()]
        scheduler = Scheduler(kept, self._observer, self._address, runs_max=self._options.runs_max)
        follower = Follower(self._watch, self.members, scheduler, restart=self._options.restart_changed)
        follower.wrong = self._wrong
        self._board.watch(scheduler)
        runtime = LocalRuntime(self._observer)
        with tuned_process(), self._board if self._watched else nullcontext():
            number, whole = asyncio.run(_kept(scheduler, follower.follow(runtime, self._say)))
        if whole:
            runtime.close()
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


async def _kept(scheduler: Scheduler, following: Coroutine[Any, Any, None]) -> tuple[int, bool]:
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
        await scheduler.keep(following)
    except asyncio.CancelledError:
        return signalled, False
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, lambda *_: None)
    return signalled, True


__all__ = ["Fleet", "run_folder"]
