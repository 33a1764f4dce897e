"""The address of an actor on a Ray cluster: it travels in messages, and keeps the order of what is sent through it."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from dataflare.cloud.library import process_id, translated
from dataflare.errors import ActorDiedError, DataFlareError

if TYPE_CHECKING:
    from collections.abc import Callable

ASKS_MAX = 1024
"""How many unanswered questions one process may have to one actor; the next one waits."""

Address = tuple[str, int]
"""The process of a host, and a cell in it."""


class Failure:
    """An error that is the answer: it travels as a value, so that Ray does not wrap it."""

    def __init__(self, error: BaseException) -> None:
        """Carry the error."""
        self.error = error


class Stream:
    """What this process sends to one actor: numbered, and bounded.

    Shared by all addresses of the actor that this process holds. When none is left it is forgotten, and nothing of
    it is under way; the next one counts anew under another name.
    """

    def __init__(self, sender: str) -> None:
        """Start at 0 under a name that no other stream of the cluster has."""
        self.sender = sender
        self.broken = ""
        self.room = asyncio.Semaphore(ASKS_MAX)
        self._number = 0

    def send(self, call: Callable[[int], Any]) -> Any:
        """Submit a message under the next number; one that cannot be submitted takes none."""
        if self.broken:
            raise ActorDiedError(self.broken)
        submitted = call(self._number)
        self._number += 1
        return submitted


class _Streams:
    """The streams of this process, by actor."""

    def __init__(self) -> None:
        self._streams: WeakValueDictionary[Address, Stream] = WeakValueDictionary()
        self._numbers = count()

    def of(self, address: Address) -> Stream:
        """Return the stream to an actor."""
        stream = self._streams.get(address)
        if stream is None:
            stream = self._streams[address] = Stream(f"{process_id()}/{next(self._numbers)}")
        return stream


# One for the whole process: an address that is unpickled has nobody else to ask.
_STREAMS = _Streams()


class RayRef:
    """The address of an actor: a host, and a cell in it."""

    def __init__(self, handle: Any, address: Address, name: str) -> None:
        """Point at a cell; `handle` is Ray's handle of its host."""
        self.handle, self.address, self.name = handle, address, name
        self._stream = _STREAMS.of(address)
        self._told: set[asyncio.Future[Any]] = set()

    async def ask(self, method: str, *arguments: Any) -> Any:
        """Call and wait for the answer."""
        stream = self._stream
        async with stream.room:
            sent = stream.send(lambda n: self.handle.ask.remote(self.address[1], (stream.sender, n), method, arguments))
            answer = await self._answer(sent)
        if isinstance(answer, Failure):
            raise answer.error
        return answer

    def tell(self, method: str, *arguments: Any) -> None:
        """Call and forget."""
        stream = self._stream
        if not stream.broken:
            sent = stream.send(
                lambda n: self.handle.tell.remote(self.address[1], (stream.sender, n), method, arguments)
            )
            told = asyncio.ensure_future(self._answer(sent))
            self._told.add(told)
            told.add_done_callback(self._forget)

    async def _answer(self, sent: Any) -> Any:
        """Wait for an answer; when the actor's process is gone nothing more can be sent to it."""
        try:
            with translated(self.name):
                return await sent
        except ActorDiedError as error:
            self._stream.broken = error.what
            raise

    def _forget(self, told: asyncio.Future[Any]) -> None:
        self._told.discard(told)
        if not told.cancelled():
            told.exception()

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as an address; the process that it comes to numbers its own messages."""
        return RayRef, (self.handle, self.address, self.name)

    def __eq__(self, other: object) -> bool:
        """Tell whether both lead to the same actor."""
        return isinstance(other, RayRef) and other.address == self.address

    def __hash__(self) -> int:
        """Hash the address."""
        return hash(self.address)

    def __repr__(self) -> str:
        """Name the actor."""
        return f"<actor {self.name}>"


def portable(error: BaseException | None, name: str) -> DataFlareError | None:
    """Return an error that every process of the cluster can read: ours as it is, a foreign one told by ours."""
    if error is None or isinstance(error, DataFlareError):
        return error
    return ActorDiedError(f"actor {name} died: {type(error).__name__}: {error}")
