"""Epochs on a state store: attempts, proposals, committed and finished marks, retention, savepoints.

Keys of a workflow, under `TENANT/WORKFLOW/`:

- `log/SLOT`: one gapless log, each slot written by create-if-absent. A slot holds either the start of an attempt or
  a proposal (`sealed`). A new attempt takes the next slot first, so an older attempt finds its next slot taken and
  stops. Attempt records are kept for ever (about 100 bytes each): they are what an old zombie stumbles over.
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
from dataflare.errors import FencedError, Place, StateError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.component import Handle, StateStore
    from dataflare.security.codec import Codec


@dataclass(frozen=True, slots=True)
class Proposal:
    """All that a resume needs, whole: what `sealed(N, attempt)` says.

    `positions` are by source node: the enumerator's position and the open splits. `handles` are by destination node,
    `state` by node: the store keys of its instances' snapshots. `counts` are the epoch's ledger, `totals` the run's.
    `over` is set by a rollback: the epoch that it takes the place of.
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
        self._store, self._codec, self._retained = store, codec, max(1, retained)
        self._prefix = f"{tenant}/{workflow}/"
        self._slot = 0
        self.attempt = 0

    def begin_attempt(self, now: int) -> int:
        """Take the next slot of the log for a new attempt; return its number."""
        while True:
            records = self._log()
            slot = max(records, default=0) + 1
            number = max((r["attempt"] for r in records.values()), default=0) + 1
            if self._create(f"log/{slot:010d}", {"kind": "attempt", "attempt": number, "time": now}):
                self._slot, self.attempt = slot + 1, number
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
        if not self._create(f"log/{self._slot:010d}", {"kind": "sealed", **asdict(proposal)}):
            raise FencedError(
                f"attempt {self.attempt} was overtaken by a newer one before it sealed epoch {proposal.epoch}"
            )
        self._slot += 1

    def mark_committed(self, proposal: Proposal) -> None:
        """Write that every destination has this epoch."""
        self._put(f"committed/{proposal.epoch:010d}", {"attempt": proposal.attempt})

    def mark_finished(self, proposal: Proposal, run: str = "") -> None:
        """Write that the run of this name, which ended with this epoch, is complete."""
        self._put(f"finished/{proposal.epoch:010d}", {"attempt": proposal.attempt, "run": run})

    def finished_run(self, proposal: Proposal) -> str | None:
        """Return the name of the run that ended with this epoch; None while `finish` has not been done everywhere."""
        mark = self._get(f"finished/{proposal.epoch:010d}")
        return str(mark["run"]) if mark is not None else None

    def save_state(self, name: str, data: bytes) -> str:
        """Write a snapshot; return the key by which a proposal refers to it."""
        self._store.put(f"{self._prefix}state/{name}", self._codec.encode(data))
        return f"state/{name}"

    def load_state(self, key: str) -> bytes:
        """Read a snapshot; raise StateError when it is missing or torn (invariant 3)."""
        data = self._store.get(self._prefix + key)
        if data is None:
            raise StateError(f"the snapshot {key} is missing", hint="roll back to an older checkpoint")
        return self._decoded(key, data)

    def retire(self, proposal: Proposal) -> None:
        """After `proposal` is committed: forget what neither it nor the retained epochs before it need."""
        kept: list[Proposal] = []
        old: list[str] = []
        for key, record in sorted(self._records().items(), reverse=True):
            if record["kind"] != "sealed":
                continue
            found = _proposal(record)
            if found.epoch > proposal.epoch or (len(kept) < self._retained and self._was_committed(found)):
                kept.append(found)
            elif found.key != proposal.key:
                old.append(key)
        needed = {k for p in [*kept, proposal] for keys in p.state.values() for k in keys}
        snapshots = [k.removeprefix(self._prefix) for k in self._store.keys(f"{self._prefix}state/")]
        oldest = min((p.epoch for p in kept), default=proposal.epoch)
        old += [k for k in snapshots if k not in needed and _epoch_of(k) <= proposal.epoch]
        for mark in ("committed/", "finished/"):
            keys = [k.removeprefix(self._prefix) for k in self._store.keys(self._prefix + mark)]
            old += [k for k in keys if int(k.removeprefix(mark)) < oldest]
        self._store.delete([self._prefix + k for k in old])

    def proposals(self) -> list[Proposal]:
        """Return all proposals that are kept, oldest first."""
        return [_proposal(r) for _, r in sorted(self._log().items()) if r["kind"] == "sealed"]

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

    def rollback(self, epoch: int, decided: Epoch | None, *, has_decider: bool, now: int) -> Proposal:
        """Make the committed `epoch` the one that the next run resumes from, as a new proposal without handles.

        What destinations hold already stays there. Raises StateError when there is no such committed epoch.
        """
        target = next((p for p in reversed(self.proposals()) if p.epoch == epoch and self._was_committed(p)), None)
        if target is None:
            raise StateError(f"there is no committed epoch {epoch}", hint="see: dataflare checkpoint list")
        newest = self.newest(decided, has_decider=has_decider)
        self.begin_attempt(now)
        return self._take_over(target, newest, decided)

    def export(self, epoch: int | None) -> bytes:
        """Return a committed epoch (None: the newest) with its snapshots as one portable value."""
        found = [p for p in self.proposals() if self._was_committed(p) and epoch in (None, p.epoch)]
        if not found:
            raise StateError("there is no committed epoch to export", hint="see: dataflare checkpoint list")
        states = {k: self.load_state(k).hex() for keys in found[-1].state.values() for k in keys}
        return self._codec.encode(json.dumps({"proposal": asdict(found[-1]), "state": states}).encode())

    def restore(self, data: bytes, decided: Epoch | None, now: int) -> Proposal:
        """Import what `export` wrote as the epoch that the next run resumes from."""
        value = json.loads(self._codec.decode(data))
        for key, text in value["state"].items():
            self.save_state(key.removeprefix("state/"), bytes.fromhex(text))
        newest = self.proposals()[-1] if self.proposals() else None
        self.begin_attempt(now)
        return self._take_over(_proposal(value["proposal"]), newest, decided)

    def _undecided(self, proposals: list[Proposal]) -> Proposal | None:
        found = next((p for p in reversed(proposals) if p.over == (0, 0)), None)
        committed = next((p for p in reversed(proposals) if p.over is None and self._was_committed(p)), None)
        if found is None and committed is not None:
            raise StateError(
                f"epoch {committed.epoch} was committed, but the destination that decides does not hold it",
                hint="use the destination that belongs to this state, or start anew with another state path",
            )
        return found

    def _take_over(self, target: Proposal, newest: Proposal | None, decided: Epoch | None) -> Proposal:
        number = max(target.epoch, newest.epoch if newest else 0, decided.number if decided else 0) + 1
        over = (decided.number, decided.attempt) if decided else (0, 0)
        rolled = replace(target, epoch=number, attempt=self.attempt, handles={}, last=False, over=over)
        self.seal(rolled)
        self.mark_committed(rolled)
        return rolled

    def _status(self, proposal: Proposal) -> str:
        if proposal.over is not None:
            return "rollback"
        if proposal.last and self.finished_run(proposal) is not None:
            return "finished"
        return "committed" if self._was_committed(proposal) else "sealed"

    def _was_committed(self, proposal: Proposal) -> bool:
        mark = self._get(f"committed/{proposal.epoch:010d}")
        return mark is not None and mark["attempt"] == proposal.attempt

    def _log(self) -> dict[int, dict[str, Any]]:
        return {int(k.removeprefix("log/")): r for k, r in self._records().items()}

    def _records(self) -> dict[str, dict[str, Any]]:
        keys = [k.removeprefix(self._prefix) for k in self._store.keys(f"{self._prefix}log/")]
        found = ((k, self._get(k)) for k in keys)
        return {k: r for k, r in found if r is not None}

    def _create(self, key: str, value: Mapping[str, Any]) -> bool:
        return self._store.create(self._prefix + key, self._codec.encode(json.dumps(value).encode()))

    def _put(self, key: str, value: Mapping[str, Any]) -> None:
        self._store.put(self._prefix + key, self._codec.encode(json.dumps(value).encode()))

    def _get(self, key: str) -> dict[str, Any] | None:
        data = self._store.get(self._prefix + key)
        if data is None:
            return None
        value: dict[str, Any] = json.loads(self._decoded(key, data))
        return value

    def _decoded(self, key: str, data: bytes) -> bytes:
        """Return the payload; raise StateError that names the key where it is damaged (invariant 3)."""
        try:
            return self._codec.decode(data)
        except StateError as error:
            raise error.at(Place(path=self._prefix + key)) from None


def _epoch_of(key: str) -> int:
    return int(key.removeprefix("state/").split("-", 1)[0])


def _proposal(record: Mapping[str, Any]) -> Proposal:
    values = {k: v for k, v in record.items() if k != "kind"}
    over = values.get("over")
    return Proposal(**{**values, "over": tuple(over) if over is not None else None})
