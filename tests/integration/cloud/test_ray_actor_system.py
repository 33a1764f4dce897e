"""Actors on a real Ray node keep the promises of all actor systems, and those that a cluster adds."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dataflare.actor.cell import Actor
from dataflare.cloud.system import RayActorSystem
from dataflare.errors import ActorDiedError, DataError, Place, UnavailableError
from dataflare.testing.actor_suite import ActorSystemSuite, Echo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from dataflare.actor.contract import ActorSystem
    from dataflare.actor.ref import ActorRef

if find_spec("ray") is None:
    pytest.skip("Ray is not installed here: its environment is .venv-extras", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("node")
STORE_BYTES = 80 << 20


@pytest.fixture(scope="module")
def node() -> Iterator[None]:
    """Run one Ray node on loopback, behind a token of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        token = Path(folder, "token")
        token.touch(0o600)
        token.write_text("a token for this test alone, of no value elsewhere")
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Keeps all servers on loopback, on Linux too; `_node_ip_address` does not.
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        # Ray reads these once, when its library is loaded.
        assert "ray" not in sys.modules
        import ray

        ray.init(
            num_cpus=1,
            object_store_memory=STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            labels={"role": "worker"},
            logging_level="ERROR",
            _temp_dir=folder,
        )
        # Actors of this file travel by value: the node cannot import it.
        ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
        yield
        ray.shutdown()


@pytest.fixture
async def system() -> AsyncIterator[RayActorSystem]:
    system = RayActorSystem()
    yield system
    await system.shutdown()


@pytest.fixture
async def two_slots() -> AsyncIterator[RayActorSystem]:
    system = RayActorSystem(slots=2, labels={"role": "worker"})
    yield system
    await system.shutdown()


class TestRayActorSystem(ActorSystemSuite):
    async def system(self) -> ActorSystem:
        return RayActorSystem()


class Sender(Actor):
    """Uses an address that it was given."""

    async def forward(self, ref: ActorRef, numbers: list[int]) -> list[int]:
        return list(await asyncio.gather(*(ref.ask("add", n) for n in numbers)))

    async def hand_over(self, ref: ActorRef, other: ActorRef) -> int:
        return int(await other.ask("use", ref))

    async def use(self, ref: ActorRef) -> int:
        return int(await ref.ask("add", 1))


class Keeper(Actor):
    """Remembers the sizes of what it gets, spawns a child, watches it, and can lose its process."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.deaths: list[str] = []

    async def keep(self, number: int, data: bytes) -> None:
        self.seen.append(number)

    async def all_seen(self) -> list[int]:
        return self.seen

    async def spawn(self) -> ActorRef:
        child = await self.context.system.spawn(Echo, 10, name="child")
        self.context.watch(child)
        return child

    async def terminated(self, ref: ActorRef, error: BaseException | None) -> None:
        self.deaths.append(f"{ref.name}: {error}")

    async def all_deaths(self) -> list[str]:
        return self.deaths

    async def pid(self) -> int:
        return os.getpid()

    async def me(self) -> ActorRef:
        return self.context.ref

    async def refuse(self) -> None:
        raise DataError("bad", hint="correct it", place=Place("w.yaml", 3, 4))

    async def later(self) -> asyncio.Future[str]:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.05, future.set_result, "done")
        return future


async def failure_of(work: Any) -> BaseException | None:
    try:
        await work
    except (ActorDiedError, DataError) as error:
        return error
    return None


async def test_order_holds_where_large_and_small_messages_take_different_ways(system: RayActorSystem) -> None:
    ref = await system.spawn(Keeper, name="keeper", mailbox=4)
    large = b"x" * (1 << 20)  # goes through the object store; small arguments travel in the call
    asked = []
    for number in range(120):
        data = large if number % 4 == 0 else b""
        if number % 3 == 0:
            ref.tell("keep", number, data)
        else:
            asked.append(asyncio.ensure_future(ref.ask("keep", number, data)))
            await asyncio.sleep(0)  # the question is on its way before the next message
    await asyncio.gather(*asked)
    assert await ref.ask("all_seen") == list(range(120))


async def test_an_address_is_used_passed_on_and_compared(two_slots: RayActorSystem) -> None:
    echo = await two_slots.spawn(Echo, name="echo")
    one = await two_slots.spawn(Sender, name="one")
    two = await two_slots.spawn(Sender, name="two")

    assert await one.ask("forward", echo, [1, 2, 3]) == [1, 3, 6]
    assert await one.ask("hand_over", echo, two) == 7
    keeper = await two_slots.spawn(Keeper, name="keeper")
    assert await keeper.ask("me") == keeper
    assert await keeper.ask("me") != echo


async def test_slots_are_processes_and_are_shared(two_slots: RayActorSystem) -> None:
    refs = [await two_slots.spawn(Keeper, name=f"k{n}") for n in range(4)]
    pids = [await ref.ask("pid") for ref in refs]
    assert pids[0] == pids[2] != pids[1] == pids[3]
    assert os.getpid() not in pids


async def test_errors_cross_processes_with_all_that_they_say(system: RayActorSystem) -> None:
    ref = await system.spawn(Keeper, name="keeper")
    deaths: list[Any] = []
    system.watch(ref, deaths.append)
    error = await failure_of(ref.ask("refuse"))

    assert isinstance(error, DataError)
    assert (error.what, error.hint, error.place) == ("bad", "correct it", Place("w.yaml", 3, 4))
    await until(lambda: bool(deaths))
    assert isinstance(deaths[0], DataError)
    assert str(deaths[0]) == "w.yaml:3:4: bad (correct it)"


async def test_a_deferred_answer_crosses_processes(system: RayActorSystem) -> None:
    ref = await system.spawn(Keeper, name="keeper")
    waiting = asyncio.ensure_future(ref.ask("later"))
    assert await ref.ask("all_seen") == []
    assert await waiting == "done"


async def test_a_process_that_is_killed_ends_its_actors_for_everybody(two_slots: RayActorSystem) -> None:
    ref = await two_slots.spawn(Keeper, name="keeper")
    other = await two_slots.spawn(Keeper, name="other")
    deaths: list[Any] = []
    two_slots.watch(ref, deaths.append)
    waiting = asyncio.ensure_future(failure_of(ref.ask("later")))
    os.kill(await ref.ask("pid"), signal.SIGKILL)

    await until(lambda: bool(deaths))
    assert isinstance(deaths[0], ActorDiedError)
    assert isinstance(await failure_of(ref.ask("all_seen")), ActorDiedError)
    await waiting
    ref.tell("keep", 1, b"")
    await two_slots.stop(ref)
    assert await other.ask("all_seen") == []

    await failure_of(two_slots.spawn(Keeper, name="into the dead process"))
    again = await two_slots.spawn(Keeper, name="a"), await two_slots.spawn(Keeper, name="b")
    assert len({await r.ask("pid") for r in again}) == 2


async def test_an_actor_spawns_and_watches_others(system: RayActorSystem) -> None:
    keeper = await system.spawn(Keeper, name="keeper")
    child = await keeper.ask("spawn")
    assert await child.ask("add", 5) == 15
    assert isinstance(await failure_of(child.ask("die")), DataError)
    for _ in range(500):
        if await keeper.ask("all_deaths"):
            break
        await asyncio.sleep(0.02)
    assert await keeper.ask("all_deaths") == ["child: dead"]


async def test_a_watcher_of_the_dead_is_told_at_once(system: RayActorSystem) -> None:
    ref = await system.spawn(Echo, name="echo")
    await failure_of(ref.ask("die"))
    told: list[Any] = []
    system.watch(ref, told.append)
    await until(lambda: bool(told))
    assert isinstance(told[0], DataError)

    gone = await system.spawn(Echo, name="gone")
    await system.stop(gone)
    system.watch(gone, told.append)
    await until(lambda: len(told) == 2)
    assert told[1] is None


async def test_a_constructor_that_raises_does_so_where_it_was_called(system: RayActorSystem) -> None:
    with pytest.raises(TypeError, match="positional argument"):
        await system.spawn(Echo, 1, 2, 3, name="echo")
    assert await (await system.spawn(Echo, name="echo")).ask("add", 1) == 1


async def test_without_a_cluster_the_cure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with pytest.raises(UnavailableError, match=r"ray\.init"):
        await RayActorSystem().spawn(Echo, name="echo")


async def until(reached: Any) -> None:
    for _ in range(1500):
        if reached():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen")
