"""The contract of actor systems."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataflare.actor.ref import ActorRef

MAILBOX_MESSAGES_MAX = 64


class ActorSystem(ABC):
    """Spawns, watches and stops actors. Messages from one sender to one actor arrive in order.

    One conformance suite (`dataflare.testing.actor_suite`) holds for every implementation.
    """

    @abstractmethod
    async def spawn(self, kind: type[Any], *arguments: Any, name: str, mailbox: int = MAILBOX_MESSAGES_MAX) -> ActorRef:
        """Make an actor of this class with these arguments; return its address once it takes messages."""

    @abstractmethod
    def watch(self, ref: ActorRef, callback: Callable[[BaseException | None], None]) -> None:
        """Call back once when that actor has ended, with its error or None; at once if it has."""

    @abstractmethod
    async def stop(self, ref: ActorRef) -> None:
        """End an actor between turns; return when it has ended. Its waiting callers get ActorDiedError."""

    @abstractmethod
    async def shutdown(self) -> None:
        """End all actors, the youngest first."""
