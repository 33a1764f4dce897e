"""Messages pass a gate in the order of their numbers, whatever the order in which they come."""

import asyncio
import random

import pytest

from dataflare.cloud import order
from dataflare.cloud.order import Gate, Gates
from dataflare.errors import StalledError


@pytest.mark.parametrize("seed", range(20))
async def test_any_order_of_arrival_becomes_the_order_of_sending(seed: int) -> None:
    gates, passed = Gates(), []

    async def arrive(sender: str, number: int) -> None:
        await gates.enter(sender, number)
        passed.append((sender, number))

    messages = [(sender, number) for sender in "ab" for number in range(50)]
    random.Random(seed).shuffle(messages)
    tasks = []
    for message in messages:
        tasks.append(asyncio.create_task(arrive(*message)))
        if random.Random(f"{seed}{message}").random() < 0.5:
            await asyncio.sleep(0)
    await asyncio.gather(*tasks)

    for sender in "ab":
        assert [n for s, n in passed if s == sender] == list(range(50))


async def test_a_message_does_not_pass_before_those_that_were_sent_before_it() -> None:
    gate = Gate()
    early = asyncio.create_task(gate.enter(1))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not early.done()
    await gate.enter(0)
    await early


async def test_too_many_early_messages_mean_that_one_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "EARLY_MESSAGES_MAX", 3)
    gate = Gate()
    waiting = [asyncio.create_task(gate.enter(n)) for n in (1, 2, 3)]
    await asyncio.sleep(0)
    with pytest.raises(StalledError, match="message 0 has not arrived"):
        await gate.enter(4)
    await gate.enter(0)
    await asyncio.gather(*waiting)


async def test_an_open_gate_lets_all_pass_that_wait_and_come() -> None:
    gates = Gates()
    waiting = asyncio.create_task(gates.enter("a", 3))
    await asyncio.sleep(0)
    gates.open()
    await waiting
    await gates.enter("a", 9)


async def test_a_caller_that_gives_up_does_not_hold_up_those_behind() -> None:
    gate = Gate()
    given_up, behind = (asyncio.create_task(gate.enter(n)) for n in (1, 2))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.sleep(0)
    await gate.enter(0)
    await asyncio.wait_for(behind, 30)


async def test_senders_that_are_idle_are_forgotten_but_not_those_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "SENDERS_MAX", 2)
    gates = Gates()
    waiting = asyncio.create_task(gates.enter("waits", 1))
    await asyncio.sleep(0)
    for n in range(5):
        await gates.enter(f"s{n}", 0)
    assert len(gates._gates) <= 3
    await gates.enter("waits", 0)
    await waiting
