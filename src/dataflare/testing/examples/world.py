"""What outlives the processes of a test: the rows that sources give, what destinations hold, and what is to break."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dataflare.errors import DataFlareError, ExternalError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from dataflare.component import Epoch
    from dataflare.plan import Mechanism
    from dataflare.workflow.example_text import FaultText


class PowerCutError(DataFlareError):
    """The process of a test is dead; nothing that it still tries happens."""

    code = "test.power_cut"


@dataclass(slots=True)
class Shelf:
    """The durable side of one destination. `loose` are rows that show, by attempt, before their epoch is decided."""

    mechanism: Mechanism
    rows: list[pa.Table] = field(default_factory=list)
    staged: dict[str, pa.Table] = field(default_factory=dict)
    published: set[str] = field(default_factory=set)
    loose: list[tuple[int, pa.Table]] = field(default_factory=list)
    last: Epoch | None = None
    fence: int = 0


@dataclass(slots=True)
class Failing:
    """A fault that is still to come."""

    fault: FaultText
    left: int
    seen: int = 0


class World:
    """All that is durable in one run of a test, and its faults. For any thread."""

    def __init__(
        self, given: Mapping[str, Mapping[str, pa.Table]], shelves: Mapping[str, Mechanism], *, epochs: int = 1
    ) -> None:
        """`given` are rows by source and output; each source gives them in so many parts, one an epoch."""
        self.given, self.epochs = given, epochs
        self.shelves = {name: Shelf(mechanism) for name, mechanism in shelves.items()}
        self.committed = 0
        self.dead = False
        self._failing: list[Failing] = []
        self._crashes: list[FaultText] = []
        self._lock = threading.Lock()

    def plant(self, faults: list[FaultText]) -> None:
        """Let these faults happen, each once."""
        self._failing = [Failing(f, f.times) for f in faults if f.fail is not None]
        self._crashes = [f for f in faults if f.crash is not None]

    def live_again(self) -> None:
        """Begin another life of the process."""
        self.dead = False

    def breathe(self) -> None:
        """Raise PowerCutError where the process is dead."""
        if self.dead:
            raise PowerCutError("the process of the test is dead")

    def reach(self, moment: str, epoch: int) -> None:
        """Reach a moment of an epoch; die there where a fault says so."""
        with self._lock:
            if self.dead:
                return
            due = next((f for f in self._crashes if (f.crash, f.epoch) == (moment, epoch)), None)
            if due is None:
                return
            self._crashes.remove(due)
            self.dead = True
        raise PowerCutError(f"cut off at {moment} of epoch {epoch}")

    def use(self, node: str, doing: str, rows: int = 0) -> None:
        """Use a source or a destination; raise ExternalError where a fault says that it fails."""
        self.breathe()
        with self._lock:
            for failing in self._failing:
                fault = failing.fault
                due = failing.left and failing.seen >= fault.after_rows
                if fault.fail != node:
                    continue
                if due and doing in ((fault.at,) if fault.at else ("read", "write")):
                    failing.left -= 1
                    raise ExternalError(f"{node} fails to {doing}, as the test says")
                failing.seen += rows

    def left(self) -> list[str]:
        """Return what has not happened of what was planted, in words."""
        with self._lock:
            crashes = [f"the crash at {f.crash} of epoch {f.epoch}" for f in self._crashes]
            failing = [f"the failure of {f.fault.fail}" for f in self._failing if f.left]
        return [*crashes, *failing]


__all__ = ["PowerCutError", "Shelf", "World"]
