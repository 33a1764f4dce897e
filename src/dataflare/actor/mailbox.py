"""A bounded first-in first-out mailbox: a full one makes the sender wait, which is how backpressure travels."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataflare.actor.message import Message


class Mailbox:
    """Messages in order of arrival, at most `capacity` of them; an actor's own notes to itself are never refused."""

    def __init__(self, capacity: int) -> None:
        """Hold up to `capacity` messages of others."""
        self._capacity = capacity
        self._messages: deque[Message] = deque()
        self._getter: asyncio.Future[None] | None = None
        self._putters: deque[tuple[asyncio.Future[None] | None, Message]] = deque()

    def __len__(self) -> int:
        """Count the waiting messages."""
        return len(self._messages)

    async def put(self, message: Message) -> None:
        """Add a message; wait while the mailbox is full. Senders get in strictly in the order in which they came."""
        if len(self._messages) < self._capacity and not self._putters:
            self.put_now(message)
            return
        room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._putters.append((room, message))
        await room

    def put_soon(self, message: Message) -> None:
        """Add a message whose sender does not wait; it never overtakes one who waits."""
        if self._putters:
            self._putters.append((None, message))
        else:
            self.put_now(message)

    def put_now(self, message: Message) -> None:
        """Add a message of the actor to itself, or of its system, whatever the mailbox holds."""
        self._messages.append(message)
        if self._getter is not None and not self._getter.done():
            self._getter.set_result(None)

    async def get(self) -> Message:
        """Take the oldest message; wait while there is none. One reader."""
        while not self._messages:
            self._getter = asyncio.get_running_loop().create_future()
            await self._getter
        message = self._messages.popleft()
        self._let_in()
        return message

    def drain(self) -> list[Message]:
        """Take all messages at once, those of waiting senders too, who go on."""
        messages = list(self._messages)
        self._messages.clear()
        for room, message in self._putters:
            if room is None or not room.done():
                messages.append(message)
            if room is not None and not room.done():
                room.set_result(None)
        self._putters.clear()
        return messages

    def _let_in(self) -> None:
        """Add the messages of waiting senders while there is room.

        Here, not when they wake: between the two another sender would find room and get in before them.
        """
        while self._putters and len(self._messages) < self._capacity:
            room, message = self._putters.popleft()
            if room is None or not room.done():
                self.put_now(message)
            if room is not None and not room.done():
                room.set_result(None)
