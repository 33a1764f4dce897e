"""The address of an actor: all that others may hold of it."""

from __future__ import annotations

from typing import Any, Protocol


class ActorRef(Protocol):
    """An address that can be sent to, compared and passed on; it never leads to the actor's own fields."""

    name: str

    async def ask(self, method: str, *arguments: Any) -> Any:
        """Call and wait for the answer.

        Raises the error that the handler answered with, or ActorDiedError when the actor is or goes dead.
        """
        ...

    def tell(self, method: str, *arguments: Any) -> None:
        """Call and forget; a message to a dead actor is dropped."""
        ...
