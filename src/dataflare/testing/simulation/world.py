"""What outlives a process: the state store, what sources still hold, what destinations show, and what must hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dataflare.component import Config, Epoch, StateStore, state_store
from dataflare.errors import FencedError
from dataflare.security.codec import Codec
from dataflare.state.checkpoint import CheckpointManager

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Row = tuple[str, int]
"""A row of the simulation: its split and its number there; flushed rows are ("flush", count)."""


class Violation(AssertionError):  # noqa: N818 - the word of the trade
    """An invariant does not hold."""


@dataclass(slots=True)
class Table:
    """A destination's durable content."""

    mechanism: str
    fence: int = 0
    last: Epoch | None = None
    shown: list[Row] = field(default_factory=list)
    staged: dict[str, list[Row]] = field(default_factory=dict)
    published: set[str] = field(default_factory=set)
    finished: bool = False


@dataclass(slots=True)
class World:
    """Everything durable, the newest process, and the violations seen."""

    totals: dict[str, int] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    acknowledged: dict[str, int] = field(default_factory=dict)
    values: dict[str, bytes] = field(default_factory=dict)
    committed: dict[int, dict[str, int]] = field(default_factory=dict)
    processes: list[Any] = field(default_factory=list)
    newest: Any = None
    violations: list[str] = field(default_factory=list)
    over: bool = False
    _reader: CheckpointManager | None = None

    def attach(self, store: StateStore[Any], workflow: str) -> None:
        """Read proposals from this store when something must be decided."""
        self._reader = CheckpointManager(store, Codec(), workflow)

    def violate(self, text: str) -> None:
        """Note a violation; the run ends with it."""
        self.violations.append(text)
        raise Violation(text)

    def show(self, name: str, rows: Iterable[Row]) -> None:
        """Make rows visible; exact destinations never show a row twice."""
        table = self.tables[name]
        for row in rows:
            if table.mechanism != "append" and row in table.shown:
                self.violate(f"duplicate: {name} shows {row} twice")
            table.shown.append(row)

    def acknowledge(self, split: str, position: int) -> None:
        """Forget rows of a split (invariant 1: only what every destination has committed)."""
        covered = max((c.get(split, 0) for c in self.committed.values()), default=0)
        if position > covered:
            self.violate(f"1: {split} was acknowledged up to {position}, committed is {covered}")
        self.acknowledged[split] = max(position, self.acknowledged.get(split, 0))

    def check_decided(self, attempt: int, epoch: Epoch, changes: bool) -> None:  # noqa: FBT001 - a fact, not a switch
        """Refuse that an attempt changes a destination by an epoch that is not sealed (invariant 4)."""
        assert self._reader is not None
        if changes and not any(p.key == epoch for p in self._reader.proposals()):
            self.violate(f"4: attempt {attempt} commits epoch {epoch}, which is not sealed")

    def mark(self, key: str) -> None:
        """A `committed` mark was written: positions must have grown since the last one (invariant 2)."""
        if self._reader is None:
            return
        number = int(key.rsplit("/", 1)[1])
        positions = next(
            (self.positions(p.positions) for p in reversed(self._reader.proposals()) if p.epoch == number), {}
        )
        if number in self.committed:
            return
        for split, position in self.committed[max(self.committed)].items() if self.committed else ():
            if positions.get(split, 0) < position:
                self.violate(f"2: {split} goes back from {position} to {positions.get(split, 0)} in epoch {number}")
        self.committed[number] = positions

    def positions(self, sources: Mapping[str, Any]) -> dict[str, int]:
        """Return the rows of each split that a proposal covers."""
        found = {}
        for split, rows in self.totals.items():
            node, number = split.split("/")
            state = sources.get(node)
            if state is None:
                continue
            open_splits = {o["id"]: (o["position"] or {"n": 0})["n"] for o in state["open"]}
            found[split] = open_splits.get(split, rows if int(number) < state["count"] else 0)
        return found


def store_of(world: World) -> type[StateStore[Any]]:
    """Return a state store that lives in the world; its lease is always given, so that zombies can exist."""

    @state_store("simulated")
    class SimulatedStore(StateStore[Config]):
        """Keeps values in the world."""

        def create(self, key: str, value: bytes) -> bool:
            """Write once."""
            if key in world.values:
                return False
            world.values[key] = value
            return True

        def put(self, key: str, value: bytes) -> None:
            """Write."""
            world.values[key] = value
            if "/committed/" in key:
                world.mark(key)

        def get(self, key: str) -> bytes | None:
            """Read."""
            return world.values.get(key)

        def keys(self, prefix: str) -> list[str]:
            """List."""
            return sorted(k for k in world.values if k.startswith(prefix))

        def delete(self, keys: list[str]) -> None:
            """Remove."""
            for key in keys:
                world.values.pop(key, None)

        def lease(self, name: str) -> Any:
            """Give it."""
            del name
            return _Lease()

    return SimulatedStore


class _Lease:
    def release(self) -> None:
        """Do nothing."""


def raise_fence(world: World, name: str, attempt: int) -> None:
    """Raise a table's fence, or refuse an older attempt."""
    table = world.tables[name]
    if table.fence > attempt:
        raise FencedError(f"{name} is fenced at {table.fence}")
    table.fence = attempt
