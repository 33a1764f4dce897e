"""The history of a workflow's runs, in its state: when each began and ended, how, what it moved, who asked for it.

Keys, under `TENANT/WORKFLOW/`: `runs/NUMBER`, in the order in which runs began. Of those that ended, the newest are
kept.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from dataflare.plan_words import NodeKind
from dataflare.state.records import Records

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dataflare.component import StateStore
    from dataflare.errors import Finding
    from dataflare.executor.contract import Outcome
    from dataflare.plan import Plan
    from dataflare.security.codec import Codec

RUNNING, SKIPPED = "running", "skipped"
RETAINED = 100


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run. `status`: `running`, `succeeded`, `stopped`, `failed`, `skipped`.

    `run` is the name of the run, `trigger` what asked for it, `planned` when it should have begun (0: at once);
    instants are microseconds since 1970 in UTC. `rows` are those that sources read, that destinations wrote and that
    were dead-lettered. `error` is a finding, without secrets. `key` is that of the call that asked for it.
    """

    number: int
    run: str
    trigger: str
    status: str = RUNNING
    planned: int = 0
    began: int = 0
    ended: int = 0
    tries: int = 1
    missed: int = 0
    epochs: int = 0
    more: bool = False
    rows: Mapping[str, int] | None = None
    error: Mapping[str, Any] | None = None
    key: str = ""

    @property
    def open(self) -> bool:
        """Whether nobody has written its end."""
        return self.status == RUNNING

    @property
    def message(self) -> str:
        """What its error says; empty where there is none."""
        return str((self.error or {}).get("message", ""))

    def finished(self, now: int, status: str, error: Finding | None = None) -> RunRecord:
        """Return the record of its end."""
        return replace(self, status=status, ended=now, error=error.as_json() if error else None)


class History:
    """Reads and writes the records of one workflow. Blocking; any number of writers."""

    def __init__(
        self,
        store: StateStore[Any],
        codec: Codec,
        workflow: str,
        *,
        tenant: str = "default",
        retained: int = RETAINED,
    ) -> None:
        """Keep so many runs that ended."""
        self._records, self._retained = Records(store, codec, f"{tenant}/{workflow}/"), retained

    def begin(self, record: RunRecord) -> RunRecord:
        """Write a run that begins, under the next number; the same run that was begun before keeps its record."""
        numbers = self.numbers()
        for number in reversed(numbers[-2:]):
            known = self.get(number)
            if known is not None and known.open and known.run and known.run == record.run:
                return known
        number = numbers[-1] if numbers else 0
        while True:
            number += 1
            numbered = replace(record, number=number)
            if self._records.create(_key(number), asdict(numbered)):
                self._prune([*numbers, number])
                return numbered

    def write(self, record: RunRecord) -> None:
        """Write what became of a run."""
        self._records.put(_key(record.number), asdict(record))

    def forget(self, record: RunRecord) -> None:
        """Remove a run that was never begun after all."""
        self._records.delete([_key(record.number)])

    def get(self, number: int) -> RunRecord | None:
        """Return a record, if it is kept."""
        value = self._records.get(_key(number))
        return RunRecord(**value) if value is not None else None

    def numbers(self) -> list[int]:
        """Return the numbers of the records that are kept, oldest first."""
        return [int(key.rpartition("/")[2]) for key in self._records.keys("runs/")]

    def newest(self, count: int) -> list[RunRecord]:
        """Return the last so many records, oldest first."""
        found = (self.get(number) for number in self.numbers()[-count:])
        return [record for record in found if record is not None]

    def _prune(self, numbers: Iterable[int]) -> None:
        """Forget the oldest; what runs is kept, as far as it is among twice the number."""
        old = sorted(numbers)[: -self._retained]
        keep = {n for n in old[-self._retained :] if (found := self.get(n)) is not None and found.open}
        self._records.delete([_key(n) for n in old if n not in keep])


def rows_of(plan: Plan, outcome: Outcome) -> dict[str, int]:
    """Return what a run moved: rows that its sources read, its destinations wrote, and that were dead-lettered."""
    read = sum(outcome.nodes.get(n.id, {}).get("rows_in", 0) for n in plan.of_kind(NodeKind.SOURCE))
    written = sum(outcome.nodes.get(n.id, {}).get("rows_in", 0) for n in plan.of_kind(NodeKind.DESTINATION))
    dead = sum(counts.get("rows_dead", 0) for counts in outcome.nodes.values())
    return {"read": read, "written": written, "dead": dead}


def ended(record: RunRecord, plan: Plan, outcome: Outcome, now: int) -> RunRecord:
    """Return the record of a run that ended with this outcome."""
    finding = outcome.error.as_finding() if outcome.error is not None else None
    done = record.finished(now, outcome.status, finding)
    return replace(done, epochs=outcome.epochs, more=outcome.more, rows=rows_of(plan, outcome))


def _key(number: int) -> str:
    return f"runs/{number:012d}"
