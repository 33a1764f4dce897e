"""A process of the cluster that hosts cells: the one class that Ray knows as an actor."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from dataflare.actor.cell import Cell
from dataflare.actor.message import Message
from dataflare.cloud.library import process_id, ray
from dataflare.cloud.order import Gates
from dataflare.cloud.ref import Failure, RayRef, portable
from dataflare.errors import ActorDiedError, DataFlareError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataflare.actor.contract import ActorSystem

ENDED_CELLS_MAX = 1000
"""How many cells that have ended are remembered by the error that they ended with."""

Turn = tuple[str, int]
"""A sender, and the number of its message."""


class _Life:
    """A cell, the gates in front of it, and the future of its end."""

    def __init__(self, cell: Cell) -> None:
        self.cell, self.gates = cell, Gates()
        self.end: asyncio.Future[DataFlareError | None] = asyncio.get_running_loop().create_future()


class Host:
    """Cells on the event loop of one Ray actor. An actor that spawns others does so through this host's own system.

    Answers that are errors come back as `Failure`. `end` is the death watch: it answers when a cell has ended, and
    Ray fails the pending call when the process has.
    """

    def __init__(self, make_system: Callable[[], ActorSystem]) -> None:
        """Host nothing yet; `make_system` makes the system by which actors in here spawn others."""
        self._make_system = make_system
        self._lives: dict[int, _Life] = {}
        self._ended: OrderedDict[int, DataFlareError | None] = OrderedDict()
        self._system: ActorSystem | None = None

    async def spawn(self, number: int, kind: type[Any], arguments: tuple[Any, ...], name: str, mailbox: int) -> Any:
        """Make a cell; answer its address."""
        try:
            cell = Cell(kind(*arguments), name, mailbox)
        except DataFlareError as error:
            return Failure(error)
        life = self._lives[number] = _Life(cell)
        cell.watch(lambda error: self._end(number, life, error))
        ref = self._ref(number, name)
        cell.start(self._own_system(), ref)
        return ref

    async def ask(self, number: int, turn: Turn, method: str, arguments: tuple[Any, ...]) -> Any:
        """Deliver a message in its turn; answer what the actor answers."""
        try:
            life = self._life(number)
            await life.gates.enter(*turn)
            return await life.cell.deliver(method, arguments)
        except DataFlareError as error:
            return Failure(error)

    async def tell(self, number: int, turn: Turn, method: str, arguments: tuple[Any, ...]) -> None:
        """Deliver a message in its turn that nobody waits for; it waits for room here, behind those sent before it."""
        life = self._lives.get(number)
        if life is not None:
            await life.gates.enter(*turn)
            if not life.cell.dead:
                await life.cell.mailbox.put(Message(method, arguments))

    async def end(self, number: int) -> DataFlareError | None:
        """Answer when that cell has ended: its error, or None."""
        life = self._lives.get(number)
        return await asyncio.shield(life.end) if life is not None else self._ended.get(number)

    async def stop(self, number: int) -> None:
        """End a cell between turns."""
        life = self._lives.get(number)
        if life is not None:
            await life.cell.stop()

    async def shutdown(self) -> None:
        """End all cells: first those that the actors in here have spawned elsewhere, then their own, youngest first."""
        if self._system is not None:
            await self._system.shutdown()
        for number in sorted(self._lives, reverse=True):
            await self.stop(number)

    def _life(self, number: int) -> _Life:
        life = self._lives.get(number)
        if life is None:
            raise self._ended.get(number) or ActorDiedError("the actor has stopped")
        return life

    def _end(self, number: int, life: _Life, error: BaseException | None) -> None:
        told = portable(error, life.cell.name)
        del self._lives[number]
        life.gates.open()
        self._ended[number] = told
        while len(self._ended) > ENDED_CELLS_MAX:
            self._ended.popitem(last=False)
        life.end.set_result(told)

    def _ref(self, number: int, name: str) -> RayRef:
        handle = ray().get_runtime_context().current_actor
        return RayRef(handle, (process_id(), number), name)

    def _own_system(self) -> ActorSystem:
        if self._system is None:
            self._system = self._make_system()
        return self._system
