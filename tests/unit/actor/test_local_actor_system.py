"""The local actor system keeps the promises of all actor systems, and bounds its mailboxes."""

import asyncio

from dataflare.actor.cell import Actor
from dataflare.actor.mailbox import Mailbox
from dataflare.actor.message import Message
from dataflare.actor.system import ActorSystem, LocalActorSystem
from dataflare.testing.actor_suite import ActorSystemSuite


class TestLocalActorSystem(ActorSystemSuite):
    async def system(self) -> ActorSystem:
        return LocalActorSystem()


async def test_a_full_mailbox_makes_senders_wait_in_their_order() -> None:
    box = Mailbox(2)
    senders = [asyncio.create_task(box.put(Message(str(n)))) for n in range(10)]
    await asyncio.sleep(0)
    assert len(box) == 2
    assert sum(s.done() for s in senders) == 2

    order = []
    for _ in range(10):
        order.append((await box.get()).method)
        box_size = len(box)
        assert box_size <= 2
        await asyncio.sleep(0)
    assert order == [str(n) for n in range(10)]


async def test_a_cancelled_sender_gives_its_place_to_the_next() -> None:
    box = Mailbox(1)
    await box.put(Message("first"))
    one, two = (asyncio.create_task(box.put(Message(n))) for n in ("one", "two"))
    await asyncio.sleep(0)
    one.cancel()
    assert (await box.get()).method == "first"
    await two
    assert (await box.get()).method == "two"


class _Owner(Actor):
    async def adopt(self) -> None:
        async def fail() -> None:
            raise OSError(5, "gone")

        self.context.own(asyncio.get_running_loop().create_task(fail()))


async def test_the_failure_of_an_owned_task_is_the_actors() -> None:
    system = LocalActorSystem()
    ref = await system.spawn(_Owner, name="owner")
    deaths: list[object] = []
    system.watch(ref, deaths.append)
    await ref.ask("adopt")
    for _ in range(10):
        await asyncio.sleep(0)
    assert isinstance(deaths[0], OSError)
