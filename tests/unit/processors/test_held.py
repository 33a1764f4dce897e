"""Rows that wait: in order, on disk, in segments that are written once, and by key with other tasks after a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflare.component import StageContext
from dataflare.component.context import KEY_GROUPS
from dataflare.executor.partition import groups_of, partitions
from dataflare.processors.held import HeldRows
from dataflare.testing.stage import HeldSegments

SCHEMA = pa.schema([("n", pa.int64()), ("k", pa.string())])


def context(segments: HeldSegments, index: int = 0, parallelism: int = 1) -> Any:
    runtime: Any = None
    return StageContext(runtime, "w", "n", index=index, parallelism=parallelism, segments=segments)


def table(first: int, count: int) -> pa.Table:
    numbers = range(first, first + count)
    return pa.table({"n": list(numbers), "k": [f"key {n % 37}" for n in numbers]}, schema=SCHEMA)


@pytest.fixture
def holding() -> Iterator[Callable[..., HeldRows]]:
    with ExitStack() as stack:

        def make(*arguments: Any) -> HeldRows:
            return stack.enter_context(closing(HeldRows(SCHEMA, *arguments)))

        yield make


def numbers(held: HeldRows) -> list[int]:
    return [n for t in held.all() for n in t["n"].to_pylist()]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 300), st.sampled_from(["", "told", "again"])), max_size=12), st.integers(1, 20000)
)
def test_rows_keep_their_order_through_files_segments_and_restarts(steps: list[tuple[int, str]], memory: int) -> None:
    segments, at = HeldSegments(), 0
    held = HeldRows(SCHEMA, memory, context(segments))
    for count, then in steps:
        held.add(table(at, count))
        at += count
        assert held._bytes <= memory or not any(p.rows is not None for p in held._parts)
        if then:
            told = held.told()
            assert [t["segment"] for t in told] == held.segments()
            if then == "again":
                held.close()
                held = HeldRows(SCHEMA, memory, context(segments))
                held.restore(told)
    assert (held.rows, numbers(held)) == (at, list(range(at)))
    assert [n for t in held.take() for n in t["n"].to_pylist()] == list(range(at))
    assert (held.rows, held.bytes, numbers(held), held.told()) == (0, 0, [], [])


def test_a_full_segment_is_written_once_and_the_last_few_rows_when_they_change(
    holding: Callable[..., HeldRows],
) -> None:
    segments = HeldSegments()
    held = holding(20_000, context(segments))
    assert (held.told(), segments.kept) == ([], {})
    for number in range(30):
        held.add(table(100 * number, 100))
        held.told()
        before = len(segments.kept)
        held.told()
        assert len(segments.kept) == before
    full = [p for p in held._parts if p.segment]
    assert len(full) >= 2
    assert len(segments.kept) == 30
    assert len(held.segments()) <= len(full) + 1


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (2, 5), (5, 2), (3, 3)])
def test_rows_by_key_go_to_the_tasks_that_own_them(holding: Callable[..., HeldRows], before: int, after: int) -> None:
    segments, keys, told = HeldSegments(), ["k"], []
    for index, part in partitions(table(0, 500), keys, before):
        held = holding(4000, context(segments, index, before), keys)
        held.add(part)
        told += held.told()
    for tasks in (after, before):  # and back: what was cut stays cut
        told_next, found = [], []
        for index in range(tasks):
            held = holding(4000, context(segments, index, tasks), keys)
            held.restore(told)
            mine = numbers(held)
            assert set(mine) == {
                n for at, p in partitions(table(0, 500), keys, tasks) if at == index for n in p["n"].to_pylist()
            }
            found += mine
            told_next += held.told()
        assert sorted(found) == list(range(500))
        told = told_next


def test_rows_without_keys_go_to_one_task(holding: Callable[..., HeldRows]) -> None:
    segments, told = HeldSegments(), []
    for index in range(3):
        held = holding(4000, context(segments, index, 3))
        held.add(table(100 * index, 100))
        told += held.told()
    found = []
    for index in range(2):
        held = holding(4000, context(segments, index, 2))
        held.restore(told)
        found += numbers(held)
    assert sorted(found) == list(range(300))


def test_the_file_has_no_name_and_no_other_reader(holding: Callable[..., HeldRows]) -> None:
    held = holding(1000, context(HeldSegments()))
    held.add(table(0, 3000))
    assert held._file is not None
    link = Path(f"/proc/self/fd/{held._file.fileno()}").readlink()
    assert link.name.endswith("(deleted)")
    assert not link.exists()


@pytest.mark.parametrize("parallelism", [1, 2, 3, 7, 255, 256])
def test_the_key_groups_of_a_task_are_those_that_rows_are_sent_by(parallelism: int) -> None:
    owned = [context(HeldSegments(), n, parallelism).key_groups for n in range(parallelism)]
    assert owned == [groups_of(n, parallelism) for n in range(parallelism)]
    assert sum(map(len, owned)) == KEY_GROUPS
