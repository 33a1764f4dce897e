"""Keeps the order of messages over a transport that promises none: numbers of the sender, a gate at the receiver."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from dataflare.errors import StalledError

EARLY_MESSAGES_MAX = 10_000
SENDERS_MAX = 10_000


class Gate:
    """Lets the messages of one sender to one actor pass by their numbers, 0, 1, 2, ...

    A message that comes early waits for those before it. At most `EARLY_MESSAGES_MAX` wait: one more raises
    StalledError, since a message before them must be lost.
    """

    def __init__(self) -> None:
        """Expect number 0."""
        self._next = 0
        self._open = False
        self._early: dict[int, asyncio.Future[None]] = {}

    async def enter(self, number: int) -> None:
        """Return when it is this message's turn. Its caller must hand it over before it next waits."""
        if number > self._next and not self._open:
            if len(self._early) >= EARLY_MESSAGES_MAX:
                raise StalledError(f"message {self._next} has not arrived, {len(self._early):,} after it have")
            turn = self._early[number] = asyncio.get_running_loop().create_future()
            try:
                await turn
            except asyncio.CancelledError:
                if not turn.cancelled():
                    self._passed(number)
                raise
        self._passed(number)

    def open(self) -> None:
        """Let all pass from now on: the actor has ended, and answers so to everybody."""
        self._open = True
        early, self._early = self._early, {}
        for turn in early.values():
            if not turn.done():
                turn.set_result(None)

    def _passed(self, number: int) -> None:
        """Wake the message after this one; those whose callers gave up while they waited count as passed."""
        self._next = max(self._next, number + 1)
        while (turn := self._early.pop(self._next, None)) is not None:
            if not turn.done():
                turn.set_result(None)
                return
            self._next += 1

    @property
    def idle(self) -> bool:
        """Whether no message waits."""
        return not self._early


class Gates:
    """The gates of one actor, by sender; of those that are idle the ones used longest ago are forgotten."""

    def __init__(self) -> None:
        """Know no sender."""
        self._gates: OrderedDict[str, Gate] = OrderedDict()

    async def enter(self, sender: str, number: int) -> None:
        """Return when it is the turn of this sender's message."""
        gate = self._gates.get(sender)
        if gate is None:
            gate = self._gates[sender] = Gate()
            self._forget()
        self._gates.move_to_end(sender)
        await gate.enter(number)

    def open(self) -> None:
        """Let everybody pass who waits."""
        for gate in self._gates.values():
            gate.open()

    def _forget(self) -> None:
        for sender in list(self._gates)[: max(0, len(self._gates) - SENDERS_MAX)]:
            if self._gates[sender].idle:
                del self._gates[sender]
