"""Counts that must add up, and state that survives a change of owners."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflare.errors import StateError
from dataflare.executor.partition import KEY_GROUPS, groups_of, task_of
from dataflare.state.keyed import pack, unpack
from dataflare.state.ledger import LedgerError, add, check_edge, check_node, notes


def test_rows_that_are_unaccounted_for_are_an_error() -> None:
    check_node("n", {"in": 5, "out": 3, "filtered": 2}, ["filtered"])
    with pytest.raises(LedgerError, match="took 5 rows and accounts for 4"):
        check_node("n", {"in": 5, "out": 3, "filtered": 1}, ["filtered"])


def test_a_node_counts_only_in_the_ways_that_it_declares() -> None:
    with pytest.raises(LedgerError, match="absorbed"):
        check_node("n", {"in": 5, "out": 3, "absorbed": 2}, ["filtered"])


def test_an_edge_delivers_what_it_carries() -> None:
    check_edge("a -> b", 5, 5)
    with pytest.raises(LedgerError, match="a -> b"):
        check_edge("a -> b", 5, 4)


def test_counts_add_up_over_tasks() -> None:
    total = add({"n": {"in": 1}}, {"n": {"in": 2, "out": 2}, "m": {"in": 1}})
    assert total == {"n": {"in": 3, "out": 2}, "m": {"in": 1}}


@given(st.dictionaries(st.integers(0, KEY_GROUPS - 1), st.binary(max_size=50)), st.integers(1, 16))
def test_every_group_is_found_by_its_owner_and_by_nobody_else(groups: dict[int, bytes], owners: int) -> None:
    packed = pack(groups)
    parts = [unpack(packed, groups_of(index, owners)) for index in range(owners)]

    assert {k: v for part in parts for k, v in part.items()} == groups
    assert all(task_of(g, owners) == index for index, part in enumerate(parts) for g in part)


@given(st.integers(1, 300))
def test_all_groups_are_owned(owners: int) -> None:
    assert sorted(g for index in range(owners) for g in groups_of(index, owners)) == list(range(KEY_GROUPS))


def test_a_torn_snapshot_is_refused() -> None:
    packed = pack({1: b"abc", 2: b"def"})
    for cut in range(len(packed)):
        with pytest.raises(StateError):
            unpack(packed[:cut], range(KEY_GROUPS))


def test_rows_that_fail_a_rule_are_counted_beside_the_balance() -> None:
    kinds = {"in": 5, "out": 5, "rule.positive": 4, "rule.odd": 0}
    check_node("n", kinds, [])
    assert notes(kinds) == {"positive": 4, "odd": 0}
    with pytest.raises(LedgerError):
        check_node("n", {**kinds, "rules": 1}, [])
