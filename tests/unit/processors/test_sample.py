"""Samples: the same rows give the same sample, however they come."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.unit.processors.shaping import opened, planned, through

from dataflare.batch import Batch
from dataflare.errors import WorkflowError
from dataflare.processors.sample import Sample
from dataflare.schema import Schema

SCHEMA = Schema.of({"id": "int64", "who": "string", "x": "float64"})


def rows_of(count: int, start: int = 0) -> pa.Table:
    columns = {"id": range(start, start + count), "who": [f"w{n % 50}" for n in range(count)], "x": [0.5] * count}
    return pa.table(columns).cast(SCHEMA.to_arrow())


def ids(rows: list[dict[str, Any]]) -> list[int]:
    return [row["id"] for row in rows]


def test_a_rate_takes_about_that_share() -> None:
    for rate, least, most in ((0.1, 1850, 2150), ("50%", 9800, 10200)):
        assert least < len(through(Sample, rows_of(20_000), SCHEMA, rate=rate)) < most
    assert through(Sample, rows_of(100), SCHEMA, rate=0) == []
    assert len(through(Sample, rows_of(100), SCHEMA, rate=1)) == 100


def test_a_sample_is_pinned() -> None:
    """A run that goes on after an upgrade draws as before it; these numbers must never change."""
    assert ids(through(Sample, rows_of(40), SCHEMA, rate=0.2, by="id")) == [0, 4, 5, 8, 12, 13, 18, 19, 30, 39]
    assert ids(through(Sample, rows_of(40), SCHEMA, reservoir=5, by=["id"], seed=3)) == [10, 13, 34, 38, 39]


def test_rows_of_a_key_share_their_fate_in_every_table() -> None:
    found = through(Sample, rows_of(5_000), SCHEMA, rate=0.3, by="who")
    kept = {row["who"] for row in found}
    assert 5 < len(kept) < 30
    assert len(found) == 100 * len(kept)
    other = pa.table({"who": [f"w{n}" for n in range(50)]})
    assert {row["who"] for row in through(Sample, other, rate=0.3, by="who")} == kept


def test_another_seed_draws_others() -> None:
    drawn = [set(ids(through(Sample, rows_of(1000), SCHEMA, rate=0.5, seed=seed))) for seed in range(6)]
    for one in range(6):
        for two in range(one):
            assert 180 < len(drawn[one] & drawn[two]) < 320
    few = [len(through(Sample, rows_of(4), SCHEMA, rate=0.5, by="who", seed=seed)) for seed in range(200)]
    assert len(set(few)) == 5


def test_a_reservoir_is_of_its_size_in_the_order_of_arrival_and_any_row_may_be_in_it() -> None:
    drawn = set()
    for seed in range(40):
        found = ids(through(Sample, rows_of(200), SCHEMA, reservoir=20, seed=seed))
        assert len(found) == 20
        assert found == sorted(found)
        drawn |= set(found)
    assert len(drawn) > 190
    assert len(through(Sample, rows_of(7), SCHEMA, reservoir=20)) == 7
    assert through(Sample, rows_of(0), SCHEMA, reservoir=20) == []


def test_a_reservoir_is_drawn_of_the_rows_not_of_their_order() -> None:
    rows = rows_of(500)
    places = list(range(500))
    random.Random(1).shuffle(places)
    one = ids(through(Sample, rows, SCHEMA, reservoir=50))
    two = ids(through(Sample, rows.take(places), SCHEMA, reservoir=50))
    assert sorted(two) == one


@settings(deadline=None, max_examples=40)
@given(
    config=st.sampled_from([{"rate": 0.4}, {"every": 3}, {"every": 1}, {"every": 100}, {"reservoir": 9}]),
    sizes=st.lists(st.integers(0, 30), min_size=1, max_size=6),
    killed=st.integers(0, 5),
)
def test_batches_and_kills_change_nothing(config: dict[str, Any], sizes: list[int], killed: int) -> None:
    component = opened(Sample, SCHEMA, **config)
    found, at = [], 0
    for number, size in enumerate(sizes):
        if number == killed:
            state = component.snapshot()
            list(component.process(Batch(rows_of(11, 10_000))))  # lost with the process
            component = opened(Sample, SCHEMA, **config)
            component.restore(state)
        found += [r for b in component.process(Batch(rows_of(size, at))) for r in b.rows.to_pylist()]
        at += size
    found += [r for b in component.finish() for r in b.rows.to_pylist()]
    whole = pa.concat_tables([rows_of(size, sum(sizes[:n])) for n, size in enumerate(sizes)])
    assert ids(found) == ids(through(Sample, whole, SCHEMA, **config))


def test_every_takes_the_first_and_every_nth() -> None:
    assert ids(through(Sample, rows_of(10), SCHEMA, every=4)) == [0, 4, 8]


def test_what_became_of_the_rows_is_told() -> None:
    component = opened(Sample, SCHEMA, every=4)
    list(component.process(Batch(rows_of(10))))
    assert component.fates() == {"filtered": 7}
    component = opened(Sample, SCHEMA, reservoir=4)
    list(component.process(Batch(rows_of(10))))
    assert component.fates() == {"absorbed": 10}
    assert component.holds()
    list(component.finish())
    assert component.fates() == {"expanded": 4}
    assert list(component.finish()) == []


def test_what_is_held_is_bounded() -> None:
    component = opened(Sample, SCHEMA, reservoir=10)
    for start in range(0, 1000, 15):
        list(component.process(Batch(rows_of(15, start))))
        assert sum(t.num_rows for t in component._held) <= 20 + 15


def test_a_reservoir_is_one_and_the_order_matters_to_numbers_only() -> None:
    assert [p.together for p in opened(Sample, SCHEMA, reservoir=5).ports(1)] == [True]
    assert [p.together for p in opened(Sample, SCHEMA, rate=0.5).ports(1)] == [False]
    assert "order" in opened(Sample, SCHEMA, every=5).varies()
    assert opened(Sample, SCHEMA, reservoir=5).varies() == ""


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "one of rate, every and reservoir"),
        ({"rate": 0.1, "every": 2}, "one of rate, every and reservoir"),
        ({"every": 2, "by": "id"}, "by goes with rate or reservoir"),
        ({"rate": "110%"}, "between 0% and 100%"),
        ({"every": 0}, "greater than or equal to 1"),
    ],
)
def test_settings_that_mean_nothing_are_told(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Sample.spec.config(**config)


def test_columns_that_are_not_there_are_told() -> None:
    with pytest.raises(WorkflowError, match="by: there is no column 'ib'"):
        planned(Sample, SCHEMA, rate=0.1, by="ib")
