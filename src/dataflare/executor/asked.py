"""What a task does with what was asked of its source from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.component import Rereads
from dataflare.executor.faults import invoke
from dataflare.executor.watching import WatchedTask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.component import Reread
    from dataflare.executor.graph import Stage


class AskedTask(WatchedTask):
    """A task whose source may be asked for more than to read on."""

    _stage: Stage

    async def asked(self, requests: Sequence[Reread]) -> None:
        """Let the source know what is to be done."""
        if (source := self._rereads()) is not None:
            await invoke(self._job.runtime, self._stage.operators[0].id, source.ask, requests)

    async def answered(self) -> list[str]:
        """Return what the source has done of it."""
        if (source := self._rereads()) is None:
            return []
        return list(await invoke(self._job.runtime, self._stage.operators[0].id, source.answered))

    def _rereads(self) -> Rereads | None:
        source = self._built.source if self._built is not None else None
        return source if isinstance(source, Rereads) else None


__all__ = ["AskedTask"]
