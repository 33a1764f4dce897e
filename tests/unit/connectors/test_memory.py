"""The memory connectors: the contracts, typed rows, buckets."""

from __future__ import annotations

import datetime as dt

import pytest

from dataflare.connectors.memory.destination import MemoryDestination, MemoryDestinationConfig
from dataflare.connectors.memory.source import MemorySource, MemorySourceConfig
from dataflare.errors import DataError, UnavailableError
from dataflare.testing.destination_suite import SUITE_SCHEMA, DestinationSuite, rows
from dataflare.testing.source_suite import SourceSuite, rows_of
from dataflare.testing.stage import batches_of, splits_of, staged


@pytest.fixture(autouse=True)
def _empty_buckets():
    MemoryDestination.buckets.clear()
    yield
    MemoryDestination.buckets.clear()


class TestMemorySource(SourceSuite):
    def new(self, **changes):
        records = [{"id": n, "name": f"n{n}", "tags": ["a"] * (n % 3)} for n in range(25)]
        return staged(MemorySource(MemorySourceConfig(rows=records, partitions=3, batch_rows=4)), **changes)


class TestBucketSource(SourceSuite):
    def new(self, **changes):
        MemorySource.buckets.put("b", rows(range(10)).rows)
        return staged(MemorySource(MemorySourceConfig(bucket="b", batch_rows=3)), **changes)


class TestMemoryDestination(DestinationSuite):
    def new(self, **changes):
        return staged(MemoryDestination(MemoryDestinationConfig()), schemas={"0": SUITE_SCHEMA}, **changes)

    def visible(self):
        found = MemoryDestination.buckets.rows("default")
        return found.to_pylist() if found is not None else []

    def left_over(self):
        return len(MemoryDestination.buckets.staged("default"))


def test_rows_are_typed_by_columns_or_by_guess():
    records = [{"at": "2026-01-01T00:00:00Z", "n": 1}, {"at": None, "n": 2.5, "more": {"x": 1}}]
    guessed = MemorySource(MemorySourceConfig(rows=records)).declared()[""].schema
    assert str(guessed) == "at timestamp, n float64, more struct<x: int64>"
    one = staged(MemorySource(MemorySourceConfig(rows=records, columns={"at": "timestamp", "n": "string"})))
    found = rows_of(b for s in splits_of(one) for b in batches_of(one, s))[""]
    assert found[0] == {"at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "n": "1"}


def test_a_row_that_is_not_of_its_type_is_told():
    one = staged(MemorySource(MemorySourceConfig(rows=[{"n": 1}, {"n": "x"}], columns={"n": "int64"})))
    with pytest.raises(DataError, match="row 2: column 'n' is not int64"):
        list(splits_of(one))


def test_an_unknown_bucket_needs_columns():
    with pytest.raises(UnavailableError, match="declare columns"):
        staged(MemorySource(MemorySourceConfig(bucket="nothing")))
    one = staged(MemorySource(MemorySourceConfig(bucket="nothing", columns={"id": "int64"})))
    assert rows_of(b for s in splits_of(one) for b in batches_of(one, s))[""] == []


def test_either_rows_or_a_bucket():
    for settings in ({}, {"rows": [{"a": 1}], "bucket": "b"}):
        with pytest.raises(ValueError, match="either rows or bucket"):
            MemorySourceConfig(**settings)
