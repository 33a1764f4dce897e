"""Attempts, proposals, marks, retention, rollback and savepoints on a state store."""

import pytest

from dataflare.component import Config, Epoch
from dataflare.errors import FencedError, StateError
from dataflare.security.codec import Codec
from dataflare.state.checkpoint import CheckpointManager, Proposal
from dataflare.testing.simulation.world import World, store_of


def _manager(world: World, retained: int = 5) -> CheckpointManager:
    return CheckpointManager(store_of(world)(Config()), Codec(), "w", retained=retained)


def _sealed(manager: CheckpointManager, epoch: int, *, commit: bool = True, **fields: object) -> Proposal:
    state = {"op": [manager.save_state(f"{epoch}-{manager.attempt}-1/op/0", f"state {epoch}".encode())]}
    proposal = Proposal(epoch, manager.attempt, positions={"s": {"count": epoch}}, state=state, **fields)  # type: ignore[arg-type]
    manager.seal(proposal)
    if commit:
        manager.mark_committed(proposal)
        manager.retire(proposal)
    return proposal


@pytest.fixture
def world() -> World:
    return World()


def test_attempts_are_numbered_and_the_newest_proposal_is_found(world: World) -> None:
    first = _manager(world)
    assert first.begin_attempt(0) == 1
    _sealed(first, 1)
    second = _manager(world)
    assert second.begin_attempt(0) == 2
    newest = second.newest(None, has_decider=False)

    assert newest is not None
    assert newest.key == Epoch(1, 1)
    assert second.load_state(newest.state["op"][0]) == b"state 1"


def test_an_older_attempt_finds_its_slot_taken(world: World) -> None:
    old = _manager(world)
    old.begin_attempt(0)
    _manager(world).begin_attempt(0)

    with pytest.raises(FencedError, match="overtaken"):
        _sealed(old, 1)


def test_retention_never_frees_the_slot_that_fences_an_old_attempt(world: World) -> None:
    old = _manager(world)
    old.begin_attempt(0)
    new = _manager(world, retained=1)
    new.begin_attempt(0)
    for epoch in range(1, 20):
        _sealed(new, epoch)

    with pytest.raises(FencedError):
        _sealed(old, 1)


def test_the_decider_names_the_proposal_that_counts(world: World) -> None:
    manager = _manager(world)
    manager.begin_attempt(0)
    _sealed(manager, 1)
    _sealed(manager, 2, commit=False)

    assert manager.newest(Epoch(1, 1), has_decider=True).epoch == 1  # type: ignore[union-attr]
    assert manager.newest(Epoch(2, 1), has_decider=True).epoch == 2  # type: ignore[union-attr]


def test_a_destination_that_belongs_to_another_state_is_refused(world: World) -> None:
    manager = _manager(world)
    manager.begin_attempt(0)
    with pytest.raises(StateError, match="unknown to this state"):
        manager.newest(Epoch(7, 3), has_decider=True)
    _sealed(manager, 1)
    with pytest.raises(StateError, match="does not hold it"):
        manager.newest(None, has_decider=True)


def test_a_proposal_that_no_decider_named_never_happened(world: World) -> None:
    manager = _manager(world)
    manager.begin_attempt(0)
    _sealed(manager, 1, commit=False)

    assert manager.newest(None, has_decider=True) is None


def test_retention_keeps_so_many_committed_epochs_and_their_state(world: World) -> None:
    manager = _manager(world, retained=2)
    manager.begin_attempt(0)
    for epoch in range(1, 8):
        _sealed(manager, epoch)

    assert [c.epoch for c in manager.checkpoints()] == [6, 7]
    assert {k for k in world.values if "/state/" in k} == {f"default/w/state/{n}-1-1/op/0" for n in (6, 7)}


def test_a_damaged_proposal_is_reported_and_not_skipped(world: World) -> None:
    manager = _manager(world)
    manager.begin_attempt(0)
    _sealed(manager, 1)
    key = next(k for k in world.values if k.endswith("log/0000000002"))
    world.values[key] = world.values[key][:-1]

    with pytest.raises(StateError, match="damaged"):
        _manager(world).newest(None, has_decider=False)


def test_a_missing_snapshot_is_reported(world: World) -> None:
    manager = _manager(world)
    with pytest.raises(StateError, match="missing"):
        manager.load_state("state/1-1-1/op/0")


@pytest.mark.parametrize("has_decider", [True, False])
def test_a_rollback_is_what_the_next_run_resumes_from(world: World, has_decider: bool) -> None:
    manager = _manager(world)
    manager.begin_attempt(0)
    for epoch in (1, 2, 3):
        _sealed(manager, epoch)
    decided = Epoch(3, 1) if has_decider else None
    rolled = _manager(world).rollback(2, decided, has_decider=has_decider, now=0)

    newest = _manager(world).newest(decided, has_decider=has_decider)
    assert newest == rolled
    assert (newest.epoch, newest.positions["s"]["count"], newest.handles) == (4, 2, {})


def test_a_savepoint_carries_positions_and_state_to_another_store(world: World) -> None:
    manager = _manager(world)
    manager.begin_attempt(0)
    _sealed(manager, 1)
    data = manager.export(None)

    other = _manager(World())
    other.restore(data, None, 0)
    newest = other.newest(None, has_decider=False)
    assert newest is not None
    assert newest.positions == {"s": {"count": 1}}
    assert other.load_state(newest.state["op"][0]) == b"state 1"


def _segmented(world: World) -> CheckpointManager:
    """Seal three epochs: the first segment is written in epoch 1, the second in 2, and dropped in 3."""
    manager = _manager(world, retained=2)
    manager.begin_attempt(0)
    names: list[str] = []
    for epoch in (1, 2, 3):
        if epoch < 3:
            names.append(manager.save_state(f"{epoch}-1-1/op/0.1", f"segment {epoch}".encode()))
        else:
            names.pop()
        _sealed(manager, epoch, segments={"op": list(names)})
    return manager


def _segments(world: World) -> list[str]:
    return sorted(k.rpartition("state/")[2] for k in world.values if k.endswith("/op/0.1"))


def test_a_segment_stays_as_long_as_a_kept_epoch_refers_to_it(world: World) -> None:
    manager = _segmented(world)
    assert _segments(world) == ["1-1-1/op/0.1", "2-1-1/op/0.1"]
    _sealed(manager, 4, segments={"op": ["state/1-1-1/op/0.1"]})
    assert _segments(world) == ["1-1-1/op/0.1"]
    _sealed(manager, 5)
    _sealed(manager, 6)
    assert _segments(world) == []


def test_a_segment_of_an_epoch_that_never_was_is_removed(world: World) -> None:
    manager = _segmented(world)
    manager.save_state("4-1-1/op/0.1", b"of an attempt that died")
    later = _manager(world, retained=2)
    later.begin_attempt(0)
    _sealed(later, 4)
    assert _segments(world) == ["1-1-1/op/0.1"]


def test_a_savepoint_carries_segments(world: World) -> None:
    other_world = World()
    other = _manager(other_world)
    restored = other.restore(_segmented(world).export(2), None, 0)
    assert [other.load_state(k) for k in restored.segments["op"]] == [b"segment 1", b"segment 2"]


def test_an_epoch_whose_segment_is_gone_is_not_gone_back_to(world: World) -> None:
    _segmented(world)
    del world.values["default/w/state/2-1-1/op/0.1"]
    with pytest.raises(StateError, match="missing"):
        _manager(world).rollback(2, None, has_decider=False, now=0)
