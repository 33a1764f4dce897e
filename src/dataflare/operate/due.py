"""Which runs are due now, and how they meet the run that is under way: pure decisions over an agenda."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dataflare.operate.agenda import PlannedRun
from dataflare.schedule import MICROSECONDS, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.operate.agenda import Agenda
    from dataflare.schedule import Schedule

LATE_SECONDS = 60
"""A start that is later than this was missed."""


@dataclass(frozen=True, slots=True)
class Due:
    """The runs that are due, oldest first, up to which instant all is dealt with, and when to look again (None: never).

    `late`: so many of the runs, from the first, make up for what was missed; they wait for their turn whatever the
    rule for overlaps.
    """

    runs: tuple[PlannedRun, ...]
    last: int
    wake: int | None
    late: int = 0


@dataclass(frozen=True, slots=True)
class Met:
    """What came of runs that were due: the agenda with those that are to be, and those that are left out, with why."""

    agenda: Agenda
    planned: tuple[PlannedRun, ...] = ()
    skipped: tuple[tuple[PlannedRun, str], ...] = ()


def due_now(workflow: str, schedule: Schedule, agenda: Agenda, now: int) -> Due:
    """Return what the clock asks for. A clock that went back asks for nothing until it has caught up."""
    count = schedule.missed_max if schedule.missed == "all" else LATE_SECONDS
    instants, _ = schedule.latest(agenda.last, now, count, agenda.anchor)
    starts = [t + schedule.lead(workflow, t, agenda.anchor) for t in instants]
    if starts and starts[-1] > now:
        wake: int | None = starts.pop()
        instants.pop()
    else:
        following = schedule.next(max(now, agenda.last), agenda.anchor)
        wake = None if following is None else following + schedule.lead(workflow, following, agenda.anchor)
    if not instants:
        return Due((), agenda.last, wake)
    late = [now - start > LATE_SECONDS * MICROSECONDS for start in starts]
    if schedule.missed == "all":
        runs = tuple(run_at(t, schedule.type) for t in instants)
        return Due(runs, instants[-1], wake, sum(late))
    if schedule.missed == "none" and late[-1]:
        return Due((), instants[-1], wake)
    missed = len(instants) - 1 if schedule.missed == "one" else 0
    return Due((run_at(instants[-1], schedule.type, missed),), instants[-1], wake, int(late[-1]))


def due_by_events(schedule: Schedule, agenda: Agenda, trigger: str, times: Sequence[int], now: int) -> Due:
    """Return what events that came at these times ask for."""
    last = agenda.last
    wanted = list(times)
    if schedule.missed == "none":
        wanted = [t for t in wanted if now - t <= LATE_SECONDS * MICROSECONDS]
    wanted = wanted[-schedule.missed_max :] if schedule.missed == "all" else wanted[-1:]
    runs = []
    for _ in wanted:
        last = max(now, last + 1)
        runs.append(run_at(last, trigger))
    if runs and schedule.missed == "one":
        runs = [replace(runs[0], missed=len(times) - 1)]
    return Due(tuple(runs), last, None, len(runs))


def meet(schedule: Schedule, agenda: Agenda, due: Due) -> Met:
    """Let the runs that are due wait, take the place of the one under way, or be left out, as `overlap` says."""
    busy = agenda.active is not None or bool(agenda.queue)
    planned: list[PlannedRun] = []
    skipped: list[tuple[PlannedRun, str]] = []
    queue, active = agenda.queue, agenda.active
    for place, run in enumerate(due.runs):
        makes_up = place < due.late
        room = schedule.queue_max + (schedule.missed_max if schedule.missed == "all" else 0)
        if schedule.overlap == "cancel" and busy and not makes_up:
            skipped += [(waiting, "a later run took its place") for waiting in queue]
            queue, active = (), replace(active, stopping=True) if active is not None else None
        elif schedule.overlap == "skip" and busy and not makes_up:
            skipped.append((run, "the run before had not ended"))
            continue
        elif len(queue) >= room:
            skipped.append((run, f"{len(queue)} runs wait already"))
            continue
        queue = (*queue, run)
        planned.append(run)
    gone = {run.id for run, _ in skipped}
    planned = [run for run in planned if run.id not in gone]
    return Met(
        replace(agenda, last=max(agenda.last, due.last), queue=queue, active=active), tuple(planned), (*skipped,)
    )


def run_at(instant: int, trigger: str, missed: int = 0) -> PlannedRun:
    """Return a run planned for an instant; its name is the instant."""
    return PlannedRun(text_of(instant), instant, trigger, missed)
