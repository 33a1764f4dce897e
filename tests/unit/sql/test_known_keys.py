"""Keys that were told are remembered in layers, and compared with those that are there in any amount of memory."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflare.errors import StateError
from dataflare.expression.keys import key_groups
from dataflare.sql.known_keys import Comparison, KeyLayers, Layer, layers_told, wants_whole
from dataflare.testing.stage import HeldSegments

SCHEMA = pa.schema([("id", pa.int64()), ("name", pa.string())])


def keys(numbers: Any) -> pa.Table:
    return pa.table([pa.array(numbers, pa.int64()), pa.array([f"n{n}" for n in numbers])], schema=SCHEMA)


def compared(
    segments: HeldSegments, layers: list[Layer], there: list[pa.Table], memory: int
) -> tuple[list[int], list[int]]:
    """Return the keys that are gone and those that stay, sorted."""
    found = Comparison(segments, SCHEMA.names, memory, key_groups, SCHEMA).run(layers, iter(there))
    parts = [part for part in found if part is not None]
    gone, stay = (sorted(n for part in parts for n in part[side].column("id").to_pylist()) for side in (0, 1))
    return gone, stay


steps = st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 40), min_size=1)), max_size=12)


@settings(deadline=None)
@given(steps, st.lists(st.integers(0, 50)), st.sampled_from([1 << 30, 200, 1]))
def test_what_is_gone_is_what_was_told_last_and_is_not_there(
    steps: list[tuple[bool, list[int]]], there: list[int], memory: int
) -> None:
    segments, known = HeldSegments(), set[int]()
    told: list[Layer] = []
    for gone, numbers in steps:
        layers = KeyLayers(segments, told)
        layers.add(keys(numbers), gone=gone)
        told = layers.told()
        known = known - set(numbers) if gone else known | set(numbers)
    parts = [keys(there[:7]), keys(there[7:])]
    assert compared(segments, told, parts, memory) == (sorted(known - set(there)), sorted(known & set(there)))


def test_the_last_layer_is_written_again_until_it_is_full_and_none_twice_without_need() -> None:
    segments = HeldSegments()
    layers = KeyLayers(segments, [])
    layers.add(keys(range(10)))
    first = layers.told()
    assert layers.told() == first
    assert len(segments.kept) == 1
    layers.add(keys(range(10, 20)))
    second = layers.told()
    assert [layer["rows"] for layer in second] == [20]
    layers.add(keys(range(5)), gone=True)
    assert [(layer["rows"], layer.get("gone", False)) for layer in layers.told()] == [(20, False), (5, True)]
    layers.add(keys(range(800_000)))
    layers.add(keys([1]))
    assert [layer["rows"] for layer in layers.told()] == [20, 5, 800_000, 1]
    assert [layer["rows"] for layer in layers.full()] == [20, 5, 800_000]


def test_many_layers_or_large_ones_are_written_as_a_whole() -> None:
    base: Layer = {"segment": "a", "rows": 1000, "bytes": 1, "base": True}
    small: Layer = {"segment": "b", "rows": 1, "bytes": 1}
    assert not wants_whole([base, small])
    assert wants_whole([base, {**small, "rows": 501}])
    assert wants_whole([base] + [small] * 65)
    assert not wants_whole([base] * 100)


def test_layers_of_several_splits_are_in_the_order_of_their_windows() -> None:
    positions = {
        "t#10": {"number": 10, "layers": [{"segment": "c"}]},
        "t#9": {"number": 9, "layers": [{"segment": "b"}]},
        "t#keys1": {"number": 8, "layers": [{"segment": "a"}]},
        "t#11": None,
    }
    assert [layer["segment"] for layer in layers_told(positions)] == ["a", "b", "c"]


def test_keys_in_a_wider_type_are_the_same_keys_and_others_are_refused() -> None:
    segments = HeldSegments()
    layers = KeyLayers(segments, [])
    layers.add(pa.table({"id": pa.array([1, 2], pa.int16()), "name": ["n1", "n2"]}))
    assert compared(segments, layers.told(), [keys([1])], 1 << 20) == ([2], [1])
    other = KeyLayers(segments, [])
    other.add(pa.table({"code": ["n1"]}))
    with pytest.raises(StateError, match="the keys that are known are not those of now: code"):
        compared(segments, other.told(), [keys([1])], 1 << 20)


def test_a_million_keys_are_compared_in_a_part_of_the_memory_that_they_take() -> None:
    segments = HeldSegments()
    layers = KeyLayers(segments, [])
    for begin in range(0, 1_000_000, 100_000):
        layers.add(keys(range(begin, begin + 100_000)))
    told = layers.told()
    there = [keys([n for n in range(begin, begin + 100_000) if n % 1000]) for begin in range(0, 1_000_000, 100_000)]
    before = pa.total_allocated_bytes()
    most = 0
    comparison = Comparison(segments, SCHEMA.names, 1 << 20, key_groups, SCHEMA)
    gone: list[int] = []
    for part in comparison.run(told, iter(there)):
        most = max(most, pa.total_allocated_bytes() - before)
        if part is not None:
            gone += part[0].column("id").to_pylist()
    assert sorted(gone) == list(range(0, 1_000_000, 1000))
    assert most < 12 << 20
