"""What travels between actors: a method name, its arguments, and perhaps somebody who waits for the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio


@dataclass(frozen=True, slots=True)
class Message:
    """One call. `reply` is None for `tell`."""

    method: str
    arguments: tuple[Any, ...] = ()
    reply: asyncio.Future[Any] | None = None
