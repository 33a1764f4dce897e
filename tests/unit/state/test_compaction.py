"""The log does not grow with restarts, and what is removed from it still fences; damaged records are replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dataflare.component import Config, Epoch
from dataflare.errors import FencedError, StateError
from dataflare.security.codec import Codec
from dataflare.state.checkpoint import CheckpointManager, Proposal
from dataflare.testing.simulation.world import World, store_of

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def world() -> World:
    return World()


def manager_of(world: World, retained: int = 5) -> CheckpointManager:
    return CheckpointManager(store_of(world)(Config()), Codec(), "w", retained=retained)


def sealed(manager: CheckpointManager, epoch: int, *, commit: bool = True) -> Proposal:
    state = {"op": [manager.save_state(f"{epoch}-{manager.attempt}-1/op/0", b"state")]}
    proposal = Proposal(epoch, manager.attempt, positions={"s": {"count": epoch}}, state=state)
    manager.seal(proposal)
    if commit:
        manager.mark_committed(proposal)
        manager.retire(proposal)
    return proposal


def commit_one(manager: CheckpointManager, epoch: int) -> None:
    sealed(manager, epoch)


def do_nothing(manager: CheckpointManager, epoch: int) -> None:
    del manager, epoch


@pytest.mark.parametrize("work", [commit_one, do_nothing])
def test_the_state_does_not_grow_with_restarts(world: World, work: Callable[[CheckpointManager, int], None]) -> None:
    sizes, last = [], None
    for restart in range(1, 60):
        manager = manager_of(world, retained=2)
        assert manager.begin_attempt(0) == restart
        work(manager, restart)
        sizes.append(len(world.values))
        last = manager.newest(None, has_decider=False)
    assert len({*sizes[5:]}) == 1, sizes
    assert last is None or (last.epoch, last.attempt) == (59, 59)


@pytest.mark.parametrize("restarts", [1, 2, 5])
@pytest.mark.parametrize("commits", [0, 1, 9])
def test_an_attempt_whose_slot_was_removed_is_fenced(world: World, restarts: int, commits: int) -> None:
    first = manager_of(world, retained=1)
    first.begin_attempt(0)
    sealed(first, 1)
    old = manager_of(world, retained=1)
    old.begin_attempt(0)
    for _ in range(restarts):
        new = manager_of(world, retained=1)
        new.begin_attempt(0)
    for epoch in range(2, 2 + commits):
        sealed(new, epoch)
    before = new.proposals()

    with pytest.raises(FencedError, match="overtaken"):
        sealed(old, 99)
    assert new.proposals() == before
    assert manager_of(world).newest(None, has_decider=False) == before[-1]


def test_what_an_old_attempt_wrote_before_it_saw_the_compaction_is_read_by_nobody(world: World) -> None:
    old = manager_of(world)
    old.begin_attempt(0)
    for _ in range(2):
        manager_of(world).begin_attempt(0)
    assert old.records.create("log/0000000002", {"kind": "sealed", "epoch": 7, "attempt": 1})  # and it dies here

    assert manager_of(world).proposals() == []
    assert manager_of(world).begin_attempt(0) == 4
    assert "default/w/log/0000000002" not in world.values


def test_an_attempt_that_was_slow_to_begin_takes_a_slot_at_the_end(world: World) -> None:
    slow = manager_of(world)
    slow.begin_attempt(0)
    create, done = slow.records.create, []

    def late(key: str, value: dict[str, object]) -> bool:
        if not done:
            done.append([manager_of(world).begin_attempt(0) for _ in range(3)])
        return create(key, value)

    slow.records.create = late  # type: ignore[method-assign,assignment]
    assert slow.begin_attempt(0) == 5
    assert manager_of(world).begin_attempt(0) == 6


# ---- damage --------------------------------------------------------------------------------------------------------


def damaged_world(world: World, key: str) -> str:
    """Make two attempts with epochs 1 to 3, all committed, and spoil one record of them."""
    first = manager_of(world)
    first.begin_attempt(0)
    sealed(first, 1)
    second = manager_of(world)
    second.begin_attempt(0)
    sealed(second, 2)
    sealed(second, 3)
    found = next(k for k in sorted(world.values, reverse=True) if key in k)
    world.values[found] = world.values[found][:-1]
    return found.removeprefix("default/w/")


KEYS = ["log/0000000002", "log/0000000003", "log/0000000005", "compacted/", "committed/0000000003"]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("has_decider", [True, False])
def test_a_rollback_works_beside_a_damaged_record_and_replaces_it(world: World, key: str, has_decider: bool) -> None:
    spoiled = damaged_world(world, key)
    decided = Epoch(3, 2) if has_decider else None
    manager = manager_of(world)
    damaged = manager.damaged()
    assert list(damaged) == [spoiled]
    assert damaged[spoiled].place.path == f"default/w/{spoiled}"

    manager.pass_over(damaged)
    target = 1 if key == "log/0000000005" else 2 if key != "log/0000000002" else 3
    rolled = manager.rollback(target, decided, has_decider=has_decider, now=0)
    assert rolled.epoch > 3
    assert rolled.attempt > 2
    assert manager_of(world).damaged() == {}
    assert manager_of(world).newest(decided, has_decider=has_decider) == rolled
    assert manager_of(world).begin_attempt(0) > rolled.attempt


@pytest.mark.parametrize("key", KEYS[1:])
def test_a_run_beside_a_damaged_record_is_refused_also_after_a_rollback_that_failed(world: World, key: str) -> None:
    damaged_world(world, key)
    manager = manager_of(world)
    manager.pass_over(manager.damaged())
    with pytest.raises(StateError, match="no committed epoch 9"):
        manager.rollback(9, None, has_decider=False, now=0)
    manager.begin_attempt(0)  # as far as a rollback comes that is killed before it is sealed

    again = manager_of(world)
    if key == "compacted/":
        assert again.newest(None, has_decider=False).epoch == 3  # type: ignore[union-attr]
        return
    with pytest.raises(StateError, match="damaged"):
        again.checkpoints()


def test_a_savepoint_can_be_imported_beside_a_damaged_record(world: World) -> None:
    other = World()
    source = manager_of(other)
    source.begin_attempt(0)
    sealed(source, 1)
    damaged_world(world, "log/0000000005")
    manager = manager_of(world)
    manager.pass_over(manager.damaged())
    rolled = manager.restore(source.export(None), None, 0)
    assert rolled.epoch > 3
    assert manager_of(world).newest(None, has_decider=False) == rolled


def test_a_rollback_to_an_epoch_whose_snapshot_is_torn_is_refused(world: World) -> None:
    spoiled = damaged_world(world, "state/2-")
    manager = manager_of(world)
    assert manager.damaged() == {}
    with pytest.raises(StateError, match="damaged") as told:
        manager.rollback(2, None, has_decider=False, now=0)
    assert told.value.place.path == f"default/w/{spoiled}"
    assert manager.newest(None, has_decider=False).epoch == 3  # type: ignore[union-attr]
