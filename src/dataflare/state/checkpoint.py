"""Epochs on a state store: attempts, proposals, committed and finished marks, retention, savepoints.

Keys of a workflow, under `TENANT/WORKFLOW/`:

- `log/SLOT`: one gapless log, each slot written by create-if-absent. A slot holds either the start of an attempt or
  a proposal (`sealed`). A new attempt takes the next slot first, so an older attempt finds its next slot taken and
  stops.
- `compacted/SLOT`: every slot before this one was taken; those that still count are listed, all others are removed.
  Written by each attempt for its first slot, so that the log does not grow with restarts. An old attempt whose next
  slot was removed can write it anew; it sees that the log is compacted there, takes its record back and stops, and
  nobody reads that record meanwhile.
- `committed/EPOCH`: that epoch is committed at every destination.
- `finished/EPOCH`: the last epoch was followed by `finish` everywhere.
- `state/EPOCH-ATTEMPT-ROUND/NODE/INDEX`: operator state that a proposal refers to.

With a direct destination, the decider, its epoch row names the proposal that counts; without one the newest counts.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dataflare.component import Epoch
from dataflare.errors import FencedError, StateError
from dataflare.state.records import Records

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dataflare.component import Handle, StateStore
    from dataflare.security.codec import Codec


@dataclass(frozen=True, slots=True)
class Proposal:
    """All that a resume needs, whole: what `sealed(N, attempt)` says.

    `positions` are by source node: the enumerator's position and the open splits. `handles` are by destination node,
    `state` by node: the store keys of its instances' snapshots; `segments` those of what these refer to. `counts` are
    the epoch's ledger, `totals` the run's; `edges`, where rows are hashed, the sums that both ends of each edge agreed
    upon, of the epoch and of the run. `over` is set by a rollback: the epoch that it takes the place of. `veiled`
    are the sources whose positions nobody is shown, as they may hold tagged values (invariant 7).
    """

    epoch: int
    attempt: int
    positions: Mapping[str, Any] = field(default_factory=dict)
    handles: Mapping[str, list[Handle]] = field(default_factory=dict)
    state: Mapping[str, list[str]] = field(default_factory=dict)
    epoch_time: int = 0
    revision: str = ""
    last: bool = False
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    totals: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    over: tuple[int, int] | None = None
    segments: Mapping[str, list[str]] = field(default_factory=dict)
    veiled: Sequence[str] = ()
    edges: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def shown(self) -> Proposal:
        """Return it as people may see it."""
        return replace(self, positions={n: "***" if n in self.veiled else p for n, p in self.positions.items()})

    @property
    def stored(self) -> list[str]:
        """The store keys of all that it refers to."""
        return [key for kept in (self.state, self.segments) for keys in kept.values() for key in keys]

    @property
    def key(self) -> Epoch:
        """What a destination's epoch row holds."""
        return Epoch(self.epoch, self.attempt)


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """One line of `checkpoint list`: `status` is `sealed`, `committed`, `finished` or `rollback`.

    `rows` are those that the sources read in this epoch.
    """

    epoch: int
    attempt: int
    status: str
    epoch_time: int
    last: bool
    rows: int


class CheckpointManager:
    """Reads and writes the epochs of one workflow. Blocking; one per attempt."""

    def __init__(
        self, store: StateStore[Any], codec: Codec, workflow: str, *, tenant: str = "default", retained: int = 5
    ) -> None:
        """Write under `tenant/workflow/`; keep `retained` committed epochs."""
        self._codec, self._retained = codec, max(1, retained)
        self.records = Records(store, codec, f"{tenant}/{workflow}/")
        self._slot = 0
        self.attempt = 0

    def begin_attempt(self, now: int) -> int:
        """Take the next slot of the log for a new attempt; return its number. What no fence needs is removed."""
        while True:
            records, compacted = self._log()
            slot = max([*records, compacted.slot]) + 1
            number: int = max([r["attempt"] for r in records.values() if r is not None] + [compacted.attempt]) + 1
            if self.records.passed_over:
                number = max(number, slot)  # each attempt took a slot: no lost record had a higher number
            if self._take(slot, {"kind": "attempt", "attempt": number, "time": now}):
                self._slot, self.attempt = slot + 1, number
                self._compact(slot, records)
                return number

    def newest(self, decided: Epoch | None, *, has_decider: bool) -> Proposal | None:
        """Return the proposal to resume from: the one that the decider names, else the newest (invariant 2).

        A rollback counts if it took the place of just that one. Raises StateError when the decider names an epoch
        that the log does not hold.
        """
        proposals = self.proposals()
        if not has_decider:
            return proposals[-1] if proposals else None
        if decided is None:
            return self._undecided(proposals)
        key = (decided.number, decided.attempt)
        rolled = next((p for p in reversed(proposals) if p.over == key), None)
        found = rolled or next((p for p in reversed(proposals) if p.key == decided), None)
        if found is None:
            raise StateError(
                f"the destination holds epoch {decided.number} (attempt {decided.attempt}), unknown to this state",
                hint="use the state that belongs to the destination, or import a savepoint of it",
            )
        return found

    def seal(self, proposal: Proposal) -> None:
        """Write the proposal into the next slot; raise FencedError if a newer attempt has taken it (invariant 4)."""
        if not self._take(self._slot, {"kind": "sealed", **asdict(proposal)}):
            raise FencedError(
                f"attempt {self.attempt} was overtaken by a newer one before it sealed epoch {proposal.epoch}"
            )
        self._slot += 1

    def mark_committed(self, proposal: Proposal) -> None:
        """Write that every destination has this epoch."""
        self.records.put(f"committed/{proposal.epoch:010d}", {"attempt": proposal.attempt})

    def mark_finished(self, proposal: Proposal, run: str = "") -> None:
        """Write that the run of this name, which ended with this epoch, is complete."""
        self.records.put(f"finished/{proposal.epoch:010d}", {"attempt": proposal.attempt, "run": run})

    def finished_run(self, proposal: Proposal) -> str | None:
        """Return the name of the run that ended with this epoch; None while `finish` has not been done everywhere."""
        mark = self.records.get(f"finished/{proposal.epoch:010d}")
        return str(mark["run"]) if mark is not None else None

    def save_state(self, name: str, data: bytes) -> str:
        """Write a snapshot; return the key by which a proposal refers to it."""
        self.records.put_bytes(f"state/{name}", data)
        return f"state/{name}"

    def load_state(self, key: str) -> bytes:
        """Read a snapshot; raise StateError when it is missing or torn (invariant 3)."""
        data = self.records.get_bytes(key)
        if data is None:
            raise StateError(f"the snapshot {key} is missing", hint="roll back to an older checkpoint")
        return data

    def retire(self, proposal: Proposal) -> None:
        """After `proposal` is committed: forget what neither it nor the retained epochs before it need."""
        kept: list[Proposal] = []
        old: list[str] = []
        for slot, record in sorted(self._log()[0].items(), reverse=True):
            if record is None or record["kind"] != "sealed":
                continue
            found = _proposal(record)
            if found.epoch > proposal.epoch or (len(kept) < self._retained and self._was_committed(found)):
                kept.append(found)
            elif found.key != proposal.key:
                old.append(_log_key(slot))
        needed = {k for p in [*kept, proposal] for k in p.stored}
        oldest = min((p.epoch for p in kept), default=proposal.epoch)
        old += [k for k in self.records.keys("state/") if k not in needed and _number_of(k) <= proposal.epoch]
        old += [k for mark in ("committed/", "finished/") for k in self.records.keys(mark) if _number_of(k) < oldest]
        self.records.delete(old)

    def proposals(self) -> list[Proposal]:
        """Return all proposals that are kept, oldest first."""
        records, _ = self._log()
        return [_proposal(r) for _, r in sorted(records.items()) if r is not None and r["kind"] == "sealed"]

    def committed(self) -> Proposal | None:
        """Return the newest proposal that every destination has."""
        return next((p for p in reversed(self.proposals()) if self._was_committed(p)), None)

    def checkpoints(self) -> list[CheckpointInfo]:
        """Return what `checkpoint list` shows, oldest first."""
        return [
            CheckpointInfo(
                p.epoch,
                p.attempt,
                self._status(p),
                p.epoch_time,
                p.last,
                sum(p.counts.get(source, {}).get("in", 0) for source in p.positions),
            )
            for p in self.proposals()
        ]

    def damaged(self) -> dict[str, StateError]:
        """Return the records that cannot be read, by key; snapshots are judged when they are loaded."""
        return self.records.damaged(("log/", "compacted/", "committed/", "finished/"))

    def pass_over(self, damaged: Iterable[str]) -> None:
        """Read as if these records were not there. A rollback or an import removes them once it has replaced them."""
        self.records.passed_over = frozenset(damaged)

    def rollback(self, epoch: int, decided: Epoch | None, *, has_decider: bool, now: int) -> Proposal:
        """Make the committed `epoch` the one that the next run resumes from, as a new proposal without handles.

        What destinations hold already stays there. Raises StateError when there is no such committed epoch, or when
        a snapshot of it is missing or torn.
        """
        target = next((p for p in reversed(self.proposals()) if p.epoch == epoch and self._was_committed(p)), None)
        if target is None:
            raise StateError(f"there is no committed epoch {epoch}", hint="see: dataflare checkpoint list")
        for key in target.stored:
            self.load_state(key)
        if not self.records.passed_over:
            self.newest(decided, has_decider=has_decider)
        self.begin_attempt(now)
        return self._take_over(target, decided)

    def export(self, epoch: int | None) -> bytes:
        """Return a committed epoch (None: the newest) with its snapshots as one portable value."""
        found = [p for p in self.proposals() if self._was_committed(p) and epoch in (None, p.epoch)]
        if not found:
            raise StateError("there is no committed epoch to export", hint="see: dataflare checkpoint list")
        states = {k: self.load_state(k).hex() for k in found[-1].stored}
        return self._codec.encode(json.dumps({"proposal": asdict(found[-1]), "state": states}).encode())

    def restore(self, data: bytes, decided: Epoch | None, now: int) -> Proposal:
        """Import what `export` wrote as the epoch that the next run resumes from."""
        value = json.loads(self._codec.decode(data))
        for key, text in value["state"].items():
            self.save_state(key.removeprefix("state/"), bytes.fromhex(text))
        self.begin_attempt(now)
        return self._take_over(_proposal(value["proposal"]), decided)

    def _undecided(self, proposals: list[Proposal]) -> Proposal | None:
        found = next((p for p in reversed(proposals) if p.over == (0, 0)), None)
        committed = next((p for p in reversed(proposals) if p.over is None and self._was_committed(p)), None)
        if found is None and committed is not None:
            raise StateError(
                f"epoch {committed.epoch} was committed, but the destination that decides does not hold it",
                hint="use the destination that belongs to this state, or start anew with another state path",
            )
        return found

    def _take_over(self, target: Proposal, decided: Epoch | None) -> Proposal:
        """Seal and commit `target` under a number above all that were ever used here; then remove what was damaged."""
        lost = self.records.passed_over
        known = [_number_of(k) for what in ("committed/", "state/") for k in self.records.keys(what)] if lost else []
        known += [p.epoch for p in self.proposals()]
        number = max([target.epoch, decided.number if decided else 0, *known]) + len(lost) + 1
        over = (decided.number, decided.attempt) if decided else (0, 0)
        rolled = replace(target, epoch=number, attempt=self.attempt, handles={}, last=False, over=over)
        self.seal(rolled)
        self.mark_committed(rolled)
        self.records.delete(lost)
        self.records.passed_over = frozenset()
        return rolled

    def _status(self, proposal: Proposal) -> str:
        if proposal.over is not None:
            return "rollback"
        if proposal.last and self.finished_run(proposal) is not None:
            return "finished"
        return "committed" if self._was_committed(proposal) else "sealed"

    def _was_committed(self, proposal: Proposal) -> bool:
        mark = self.records.get(f"committed/{proposal.epoch:010d}")
        return mark is not None and mark["attempt"] == proposal.attempt

    def _take(self, slot: int, record: Mapping[str, Any]) -> bool:
        """Write a slot unless it was taken before, also by a record that has been removed since."""
        written = self.records.create(_log_key(slot), record)
        if written and not self._compacted().counts(slot):
            self.records.delete([_log_key(slot)])
            return False
        return written

    def _log(self) -> tuple[dict[int, dict[str, Any] | None], Compacted]:
        """Return the slots that count, None for one that is passed over, and how far the log is compacted.

        The log is read first: a slot that is removed meanwhile is told by the compaction that is read then.
        """
        keys = self.records.keys("log/")
        found = {_number_of(k): self.records.get(k) for k in keys}
        lost = {_number_of(k) for k in self.records.passed_over if k.startswith("log/")}
        compacted = self._compacted()
        return {s: r for s, r in found.items() if compacted.counts(s) and (r is not None or s in lost)}, compacted

    def _compacted(self) -> Compacted:
        """Return the newest compaction; one that is passed over tells only its slot."""
        while keys := self.records.keys("compacted/"):
            record = self.records.get(keys[-1])
            if record is not None:
                return Compacted(_number_of(keys[-1]), record["attempt"], frozenset(record["kept"]))
            if keys[-1] in self.records.passed_over:
                return Compacted(_number_of(keys[-1]), 0, None)
        return Compacted(0, 0, frozenset())

    def _compact(self, slot: int, records: Mapping[int, Mapping[str, Any] | None]) -> None:
        """Say that every slot before this attempt's own was taken, then remove the attempts among them."""
        kept = [s for s, r in records.items() if r is None or r["kind"] == "sealed"]
        before = [k for k in self.records.keys("compacted/") if k not in self.records.passed_over]
        self.records.create(f"compacted/{slot:010d}", {"attempt": self.attempt, "kept": kept})
        old = [k for k in self.records.keys("log/") if _number_of(k) < slot and _number_of(k) not in kept]
        self.records.delete([*old, *before])


@dataclass(frozen=True, slots=True)
class Compacted:
    """Slots before `slot` are taken; of them only those in `kept` count (None: all that are there)."""

    slot: int
    attempt: int
    kept: frozenset[int] | None

    def counts(self, slot: int) -> bool:
        """Tell whether what stands in a slot is part of the log."""
        return slot >= self.slot or self.kept is None or slot in self.kept


def _log_key(slot: int) -> str:
    return f"log/{slot:010d}"


def _number_of(key: str) -> int:
    """Return the slot or epoch in a key."""
    return int(key.split("/")[1].split("-", maxsplit=1)[0])


def _proposal(record: Mapping[str, Any]) -> Proposal:
    values = {k: v for k, v in record.items() if k != "kind"}
    over = values.get("over")
    return Proposal(**{**values, "over": tuple(over) if over is not None else None})
