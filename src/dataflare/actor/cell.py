"""One actor in its cell: a mailbox, one turn at a time, deferred replies, and a death that everybody hears of.

The same cell runs on every actor system. A handler may answer with a Future: the caller gets its result when it is
done, while the actor goes on with other messages. The reply to a batch is its credit.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from dataflare.actor.contract import MAILBOX_MESSAGES_MAX
from dataflare.actor.mailbox import Mailbox
from dataflare.actor.message import Message
from dataflare.errors import ActorDiedError, DataFlareError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataflare.actor.contract import ActorSystem
    from dataflare.actor.ref import ActorRef


class Actor:
    """What runs in a cell. Handlers are coroutines; one runs at a time.

    A handler that raises kills the actor, unless the error is an `Answer`, which goes to the caller alone.
    """

    context: ActorContext

    async def started(self) -> None:
        """Run before the first message."""

    async def stopped(self) -> None:
        """Run after the last message, however the actor ended; must not wait for other actors."""

    async def terminated(self, ref: ActorRef, error: BaseException | None) -> None:
        """Hear that a watched actor ended: by an error, or (None) stopped."""


class Answer(Exception):  # noqa: N818 - it is an answer, not a failure of the actor
    """Wraps an error that is the answer to the caller and no fault of the actor."""

    def __init__(self, error: DataFlareError) -> None:
        """Carry the error."""
        super().__init__(str(error))
        self.error = error


class ActorContext:
    """What an actor knows of its surroundings."""

    def __init__(self, system: ActorSystem, cell: Cell, ref: ActorRef) -> None:
        """Tie an actor to its cell."""
        self.system, self.ref, self._cell = system, ref, cell

    def note(self, method: str, *arguments: Any) -> None:
        """Send a message to oneself; never waits."""
        self._cell.mailbox.put_now(Message(method, arguments))

    def own(self, task: asyncio.Task[Any]) -> None:
        """Keep a task: it is cancelled with the actor, and its failure is the actor's."""
        self._cell.own(task)

    def watch(self, ref: ActorRef) -> None:
        """Have `terminated` called when that actor ends."""
        self.system.watch(ref, lambda error: self.note("terminated", ref, error))

    def fail(self, error: BaseException) -> None:
        """Die of this error."""
        self._cell.fail(error)

    def turn(self) -> tuple[str, float]:
        """Return what the actor is doing now and for how many seconds; an idle one does nothing for 0."""
        return self._cell.turn()


class Cell:
    """Runs one actor until it is stopped or dies."""

    def __init__(self, actor: Actor, name: str, capacity: int = MAILBOX_MESSAGES_MAX) -> None:
        """Wrap the actor; `run` starts it."""
        self.actor, self.name, self.mailbox = actor, name, Mailbox(capacity)
        self.dead = False
        self.error: BaseException | None = None
        self._turn: tuple[str, float] | None = None
        self._watchers: list[Callable[[BaseException | None], None]] = []
        self._owned: set[asyncio.Task[Any]] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self, system: ActorSystem, ref: ActorRef) -> None:
        """Begin to take messages."""
        self.actor.context = ActorContext(system, self, ref)
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"actor {self.name}")

    async def deliver(self, method: str, arguments: tuple[Any, ...]) -> Any:
        """Put a message in and wait for its answer."""
        return await (await self.enqueue(method, arguments))

    async def enqueue(self, method: str, arguments: tuple[Any, ...]) -> asyncio.Future[Any]:
        """Put a message in; return the future of its answer."""
        if self.dead:
            raise self._death()
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        await self.mailbox.put(Message(method, arguments, reply))
        if self.dead:
            self._reject()
        return reply

    def post(self, method: str, arguments: tuple[Any, ...]) -> None:
        """Put a message in without waiting."""
        if not self.dead:
            self.mailbox.put_soon(Message(method, arguments))

    def watch(self, callback: Callable[[BaseException | None], None]) -> None:
        """Call back once when the actor has ended; at once if it has."""
        if self.dead:
            callback(self.error)
        else:
            self._watchers.append(callback)

    def own(self, task: asyncio.Task[Any]) -> None:
        """Tie the life of a task to the actor's."""
        self._owned.add(task)
        task.add_done_callback(self._owned_done)

    def fail(self, error: BaseException) -> None:
        """End the actor by an error from outside a turn."""
        if not self.dead and self.error is None:
            self.error = error
            if self._task is not None:
                self._task.cancel()

    def turn(self) -> tuple[str, float]:
        """Return the method of the present turn and how long it has taken, in seconds."""
        if self._turn is None:
            return "", 0.0
        return self._turn[0], asyncio.get_running_loop().time() - self._turn[1]

    async def stop(self) -> None:
        """End the actor between turns and wait until it has ended."""
        if self._task is None or self.dead:
            return
        self._task.cancel()
        await asyncio.wait([self._task])

    def _owned_done(self, task: asyncio.Task[Any]) -> None:
        self._owned.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)

    async def _run(self) -> None:
        message = None
        try:
            await self.actor.started()
            while True:
                message = await self.mailbox.get()
                self._turn = (message.method, asyncio.get_running_loop().time())
                await self._take(message)
                message = self._turn = None
        except asyncio.CancelledError:
            pass  # stopped from outside, or failed by `fail`, which has set the error
        except BaseException as error:  # noqa: BLE001 - a cell is where failures become deaths
            self.error = self.error or error
        finally:
            await self._end(message)

    async def _take(self, message: Message) -> None:
        try:
            result = await getattr(self.actor, message.method)(*message.arguments)
        except Answer as answer:
            if message.reply is not None and not message.reply.done():
                message.reply.set_exception(answer.error)
            return
        if message.reply is None or message.reply.done():
            return
        if isinstance(result, asyncio.Future):
            result.add_done_callback(partial(_copy, message.reply))
        else:
            message.reply.set_result(result)

    async def _end(self, message: Message | None) -> None:
        self.dead = True
        for task in list(self._owned):
            task.cancel()
        if message is not None and message.reply is not None and not message.reply.done():
            message.reply.set_exception(self._death())
        self._reject()
        try:
            await self.actor.stopped()
        except BaseException as error:  # noqa: BLE001 - the death must be told all the same
            self.error = self.error or error
        for callback in self._watchers:
            callback(self.error)
        self._watchers.clear()

    def _reject(self) -> None:
        for message in self.mailbox.drain():
            if message.reply is not None and not message.reply.done():
                message.reply.set_exception(self._death())

    def _death(self) -> DataFlareError:
        if isinstance(self.error, DataFlareError):
            return self.error
        reason = f"died: {type(self.error).__name__}: {self.error}" if self.error else "has stopped"
        return ActorDiedError(f"actor {self.name} {reason}")


def _copy(reply: asyncio.Future[Any], done: asyncio.Future[Any]) -> None:
    if reply.done():
        return
    if done.cancelled():
        reply.cancel()
    elif (error := done.exception()) is not None:
        reply.set_exception(error)
    else:
        reply.set_result(done.result())
