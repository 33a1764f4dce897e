"""Nobody gets into a mailbox before a sender who already waits."""

import asyncio

from dataflare.actor.mailbox import Mailbox
from dataflare.actor.message import Message


async def test_a_newcomer_does_not_overtake_a_sender_who_waits_for_the_room_that_came_free() -> None:
    box = Mailbox(1)
    await box.put(Message("first"))
    waiting = asyncio.create_task(box.put(Message("waited")))
    await asyncio.sleep(0)
    await box.get()

    async def reader() -> list[str]:
        return [(await box.get()).method for _ in range(2)]

    reading = asyncio.create_task(reader())
    await box.put(Message("newcomer"))
    assert await reading == ["waited", "newcomer"]
    await waiting


async def test_draining_takes_the_messages_of_those_who_wait_and_lets_them_go_on() -> None:
    box = Mailbox(1)
    await box.put(Message("first"))
    waiting = [asyncio.create_task(box.put(Message(n))) for n in ("given up", "waits")]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)

    assert [m.method for m in box.drain()] == ["first", "waits"]
    await waiting[1]
    assert len(box) == 0


async def test_one_who_does_not_wait_never_overtakes_one_who_does() -> None:
    box = Mailbox(1)
    await box.put(Message("first"))
    waiting = asyncio.create_task(box.put(Message("asked")))
    await asyncio.sleep(0)
    box.put_soon(Message("told"))

    assert [(await box.get()).method for _ in range(3)] == ["first", "asked", "told"]
    await waiting
