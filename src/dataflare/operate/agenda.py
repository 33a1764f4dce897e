"""What a scheduler remembers of one workflow: how far it has planned, which runs wait, and the run that is under way.

The whole of it is one record, and each change is one write, so a crash leaves the agenda before the change or after
it, never between. Keys, under `TENANT/WORKFLOW/`: `agenda/NUMBER`, each written by create-if-absent; the highest
counts. Of two schedulers on one state, the one whose number is taken has been overtaken and stops.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from dataflare.errors import FencedError
from dataflare.state.records import Records

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.component import StateStore
    from dataflare.security.codec import Codec


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run that is to be: its name, the instant that it is planned for, what asked for it.

    `missed`: how many runs before this one are made up for by it. `tries`: how often it was begun. `number` is that of
    its record in the history, once it was begun. `stopping`: a later run has it stopped. `key` tells the call that
    asked for it from others.
    """

    id: str
    instant: int
    trigger: str
    missed: int = 0
    tries: int = 0
    number: int = 0
    stopping: bool = False
    key: str = ""


@dataclass(frozen=True, slots=True)
class Agenda:
    """Where the schedule of a workflow stands.

    `last`: planned instants up to here are dealt with. `anchor`: when the schedule was taken up. `timing`: the rules
    that it was taken up with. `next`: the planned instant after `last`, for those who ask. `seen` is what the
    triggers remember: the digests of files, the numbers of events and of runs of other workflows.
    """

    last: int
    anchor: int
    timing: str
    next: int | None = None
    queue: tuple[PlannedRun, ...] = ()
    active: PlannedRun | None = None
    seen: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Agenda:
        """Read what `asdict` made."""
        active = value["active"]
        return cls(
            last=value["last"],
            anchor=value["anchor"],
            timing=value["timing"],
            next=value["next"],
            queue=tuple(PlannedRun(**run) for run in value["queue"]),
            active=PlannedRun(**active) if active else None,
            seen=value["seen"],
        )


class AgendaLog:
    """Reads and writes the agenda of one workflow. Blocking; one writer, who holds the lease of the schedule."""

    def __init__(self, store: StateStore[Any], codec: Codec, workflow: str, *, tenant: str = "default") -> None:
        """Read nothing yet."""
        self._records = Records(store, codec, f"{tenant}/{workflow}/")
        self._number = 0

    def read(self) -> Agenda | None:
        """Return the agenda; None where the workflow was never scheduled."""
        keys = self._records.keys("agenda/")
        while keys:
            key = keys.pop()
            value = self._records.get(key)
            if value is not None:  # else a writer has just removed what it replaced
                self._number = max(self._number, _number_of(key))
                return Agenda.from_json(value)
        return None

    def write(self, agenda: Agenda) -> None:
        """Replace the agenda, durably; raise FencedError where another scheduler has done so meanwhile."""
        key = f"agenda/{self._number + 1:012d}"
        written = self._records.create(key, asdict(agenda))
        if not written or self._records.keys("agenda/")[-1] != key:
            if written:
                self._records.delete([key])
            raise FencedError("another scheduler of this workflow has taken over", hint="this one stops")
        self._records.delete([k for k in self._records.keys("agenda/") if k < key])
        self._number += 1


def _number_of(key: str) -> int:
    return int(key.rpartition("/")[2])
