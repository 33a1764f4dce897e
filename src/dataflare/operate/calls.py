"""Calls that ask for a run each: they wait until their run is on the agenda; one that comes again is known by its key.

The key of a call stands in its run, on the agenda and in the history. So it is durable in the very write that plans the
run, and known for as long as the history keeps that run.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dataflare.errors import UnavailableError
from dataflare.operate.due import Due, Met, meet, run_at
from dataflare.schedule import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dataflare.operate.agenda import Agenda, PlannedRun
    from dataflare.operate.history import History
    from dataflare.schedule import Schedule

WEBHOOK = "webhook"
"""The trigger of such runs."""
CALLS_MAX = 256
"""So many calls wait at most for one write of the agenda."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of a call: the name of its run, which is durable and will be run; or why there is none.

    `repeated`: a call with that key came before. `later`: the same call may lead to a run in a while.
    """

    run: str = ""
    repeated: bool = False
    refused: str = ""
    later: bool = False


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of calls that were taken together: what to write, and what to answer when it is written.

    `keys` are those of calls that have a run, with its name.
    """

    met: Met
    keys: Mapping[str, str]
    answers: Sequence[tuple[asyncio.Future[Answered], Answered]]


class Calls:
    """The calls of one workflow, on the event loop of its keeper."""

    def __init__(self) -> None:
        """Know no key yet."""
        self._waiting: list[tuple[str, asyncio.Future[Answered]]] = []
        self._keys: dict[str, str] = {}
        self._keys_max = 0
        self._taken: list[asyncio.Future[Answered]] = []
        self._closed = False

    def open(self, schedule: Schedule, history: History, agenda: Agenda) -> None:
        """Learn the keys that are remembered. Blocking."""
        self._keys_max = schedule.retain + schedule.queue_max + 1
        recorded = [(r.key, r.run) for r in history.newest(schedule.retain)]
        planned = [(r.key, r.id) for r in (*([agenda.active] if agenda.active else []), *agenda.queue)]
        self._keys = {key: run for key, run in (*recorded, *planned) if key}

    async def put(self, key: str) -> Answered:
        """Wait until a call was taken and what came of it is durable; raise UnavailableError where nobody takes it."""
        if self._closed or len(self._waiting) >= CALLS_MAX:
            raise _unkept()
        done: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._waiting.append((key, done))
        return await done

    def close(self) -> None:
        """Take no more; whoever waits hears so."""
        self._closed = True
        waiting, self._waiting = self._waiting, []
        for done in (*self._taken, *(done for _, done in waiting)):
            if not done.done():
                done.set_exception(_unkept())

    def taken(self, schedule: Schedule, agenda: Agenda, now: int) -> Taken | None:
        """Let the calls that wait meet the agenda, one after the other; None where none waits."""
        if not self._waiting:
            return None
        waiting, self._waiting = self._waiting, []
        self._taken = [done for _, done in waiting]
        answers: list[tuple[asyncio.Future[Answered], Answered]] = []
        planned: list[PlannedRun] = []
        skipped: list[tuple[PlannedRun, str]] = []
        keys: dict[str, str] = {}
        for key, done in waiting:
            if done.done():  # the caller has left
                continue
            if key and (known := keys.get(key) or self._keys.get(key)):
                answers.append((done, Answered(known, repeated=True)))
                continue
            closed = _closed(schedule, now)
            if closed:
                answers.append((done, Answered(refused=closed)))
                continue
            instant = max(now, agenda.last + 1)
            run = replace(run_at(instant, WEBHOOK), key=key)
            met = meet(schedule, agenda, Due((run,), instant, None))
            agenda = met.agenda
            why = next((why for left, why in met.skipped if left.id == run.id), "")
            skipped += [(replace(left, key="") if left.id == run.id else left, why) for left, why in met.skipped]
            planned += met.planned
            if key and not why:
                keys[key] = run.id
            refused = Answered(refused=why, later=schedule.overlap != "skip")
            answers.append((done, refused if why else Answered(run.id)))
        gone = {run.id for run, _ in skipped}
        met = Met(agenda, tuple(run for run in planned if run.id not in gone), tuple(skipped))
        return Taken(met, keys, answers)

    def answer(self, taken: Taken) -> None:
        """Tell what came of calls, and remember the keys of those that have a run: it is durable now."""
        self._keys |= taken.keys
        while len(self._keys) > self._keys_max:
            del self._keys[next(iter(self._keys))]
        for done, answered in taken.answers:
            if not done.done():
                done.set_result(answered)


def _closed(schedule: Schedule, now: int) -> str:
    """Return why no run may begin now."""
    if schedule.start is not None and now < schedule.start:
        return f"nothing runs before {text_of(schedule.start)}"
    if schedule.end is not None and now > schedule.end:
        return f"nothing runs after {text_of(schedule.end)}"
    return ""


def _unkept() -> UnavailableError:
    return UnavailableError("nobody can take the call now", hint="come again in a while")


__all__ = ["WEBHOOK", "Answered", "Calls", "Taken"]
