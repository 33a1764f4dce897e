"""The process of the demo that dies: its source waits for a committed epoch, and in a later one it kills itself."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from dataflare.cli.demo import SOURCE, plan_into, workflow_file
from dataflare.cli.running import RunOptions, run_plan
from dataflare.component import Registry, source
from dataflare.monitoring.events import EpochCommitted, EpochSealed
from dataflare.testing.faults import KillAt, rows_seen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from dataflare.batch import Batch, Position
    from dataflare.component import SourceConnector, Split
    from dataflare.monitoring.events import Event


class Death:
    """An observer that kills this process, and the gate through which its source hands out rows until then.

    The gate lets a third of `rows` through before an epoch is committed and another third after it; so there is
    always a committed place to go on from, and always something behind it to lose, however quick the machine is. Death
    comes between sealed and committed, behind half of the rows. A batch passes whole.
    """

    def __init__(self, rows: int) -> None:
        """Expect so many rows of the source."""
        self._rows, self._passed = rows, 0
        self._safe, self._half = asyncio.Event(), False
        self._seen = rows_seen(SOURCE, rows // 2)
        self._kill = KillAt(self._fits)

    def __call__(self, event: Event) -> None:
        """Open the gate, or die, or neither."""
        if isinstance(event, EpochCommitted):
            self._safe.set()
        self._kill(event)

    async def pass_rows(self, rows: int) -> None:
        """Return when so many more rows may go on."""
        if self._passed >= self._rows // 3:
            await self._safe.wait()
        if self._passed >= self._rows * 2 // 3:
            await asyncio.Event().wait()
        self._passed += rows

    def _fits(self, event: Event) -> bool:
        self._half = self._seen(event) or self._half
        return self._half and self._safe.is_set() and isinstance(event, EpochSealed)


def gated(kind: type[SourceConnector[Any]], death: Death) -> type[SourceConnector[Any]]:
    """Return the kind of source that hands out each batch when it may pass."""

    async def read(
        self: SourceConnector[Any], split: Split, since: Position | None, until: Position | None
    ) -> AsyncIterator[Batch]:
        batches = cast("Iterator[Batch]", kind.read(self, split, since, until))
        while (batch := await self.context.runtime.call(next, batches, None)) is not None:
            await death.pass_rows(len(batch.rows))
            yield batch

    return type("Gated", (kind,), {"read": read})


def run_and_die(out: Path, data: Path, rows: int) -> int:
    """Run the demo's workflow over so many rows, in a process that is to die; return 1 where it lived."""
    installed, death = Registry.installed(), Death(rows)
    plan = plan_into(out, data, workflow_file(), installed)
    registry = installed.including(gated(installed.find(source, plan.node(SOURCE).type), death))
    run_plan(plan, registry, RunOptions(as_json=True, observers=(death,)))
    return 1


if __name__ == "__main__":
    sys.exit(run_and_die(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
