"""The actor system that lives on a single event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.actor.cell import Actor, Cell
from dataflare.actor.contract import MAILBOX_MESSAGES_MAX, ActorSystem

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataflare.actor.ref import ActorRef


class LocalRef:
    """The address of an actor on this event loop."""

    __slots__ = ("cell", "name")

    def __init__(self, name: str, cell: Cell) -> None:
        """Point at a cell."""
        self.name, self.cell = name, cell

    async def ask(self, method: str, *arguments: Any) -> Any:
        """Call and wait for the answer."""
        return await self.cell.deliver(method, arguments)

    def tell(self, method: str, *arguments: Any) -> None:
        """Call and forget."""
        self.cell.post(method, arguments)

    def __repr__(self) -> str:
        """Name the actor."""
        return f"<actor {self.name}>"


class LocalActorSystem(ActorSystem):
    """Actors as tasks of the running event loop; batches pass by reference."""

    def __init__(self) -> None:
        """Start empty."""
        self._refs: dict[LocalRef, None] = {}

    async def spawn(
        self, kind: type[Actor], *arguments: Any, name: str, mailbox: int = MAILBOX_MESSAGES_MAX
    ) -> ActorRef:
        """Make an actor on this loop."""
        cell = Cell(kind(*arguments), name, mailbox)
        ref = self.make_ref(name, cell)
        self._refs[ref] = None
        cell.watch(lambda _: self._refs.pop(ref, None))
        cell.start(self, ref)
        return ref

    def make_ref(self, name: str, cell: Cell) -> LocalRef:
        """Return the address of a cell."""
        return LocalRef(name, cell)

    def watch(self, ref: ActorRef, callback: Callable[[BaseException | None], None]) -> None:
        """Call back at the end of the actor."""
        _cell(ref).watch(callback)

    async def stop(self, ref: ActorRef) -> None:
        """End the actor."""
        await _cell(ref).stop()

    async def shutdown(self) -> None:
        """End all, the youngest first."""
        for ref in reversed(list(self._refs)):
            await ref.cell.stop()


def _cell(ref: ActorRef) -> Cell:
    if not isinstance(ref, LocalRef):
        raise TypeError(f"{ref!r} is not an actor of this system")
    return ref.cell


__all__ = ["ActorSystem", "LocalActorSystem", "LocalRef"]
