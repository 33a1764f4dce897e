"""Keys find exactly their rows, whatever their types and however they are found."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from dataflare.processors import matching
from dataflare.processors.matching import KeyIndex, as_key, shared_type

DRAWS: dict[str, Any] = {
    "close": lambda r: r.randrange(-40, 40),
    "far": lambda r: r.choice([-(1 << 63), (1 << 63) - 1, 0, 1, 5_000_000_000, -7_000_000_000, 123, 9 << 40]),
    "text": lambda r: r.choice(["", "a", "b", "aa", "ä", "b\0", "zz"]),
    "decimal": lambda r: Decimal(r.randrange(-20, 20)) / 4,
    "bool": lambda r: r.random() < 0.5,
    "float": lambda r: r.choice([0.0, -0.0, 1.5, float("inf"), float("nan"), -2.0]),
}
TYPES = {
    "close": pa.int64(), "far": pa.int64(), "text": pa.string(), "decimal": pa.decimal128(12, 2), "bool": pa.bool_(),
    "float": pa.float64(),
}  # fmt: skip


def column(kind: str, seed: int, count: int) -> pa.ChunkedArray:
    chance = random.Random(seed)
    values = [None if chance.random() < 0.1 else DRAWS[kind](chance) for _ in range(count)]
    cut = chance.randrange(count + 1)
    found = pa.chunked_array([pa.array(values[:cut], TYPES[kind]), pa.array(values[cut:], TYPES[kind])])
    return as_key(found, TYPES[kind])


def expected(table: list[pa.ChunkedArray], batch: list[pa.ChunkedArray]) -> list[list[int]]:
    """Match row by row, as slow as can be."""
    rows = [tuple(map(repr, key)) for key in zip(*(c.to_pylist() for c in table), strict=True)]
    keys = [tuple(map(repr, key)) for key in zip(*(c.to_pylist() for c in batch), strict=True)]
    return [[n for n, row in enumerate(rows) if row == key and "None" not in key] for key in keys]


CASES = [
    ("close",),
    ("far",),
    ("text",),
    ("decimal",),
    ("bool",),
    ("float",),
    ("close", "text"),
    ("far", "bool", "text"),
]


@pytest.mark.parametrize("kinds", CASES, ids="-".join)
@pytest.mark.parametrize("hashed_max", [1 << 18, 0], ids=["hashed", "sorted"])
def test_a_key_finds_its_rows_and_no_other(
    kinds: tuple[str, ...], hashed_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "HASHED_MAX", hashed_max)
    if hashed_max == 0:
        monkeypatch.setattr(matching, "SPREAD_MAX", 0)
    for seed in range(30):
        count = random.Random(seed).choice([0, 1, 7, 120])
        table = [column(k, seed + n * 1000, count) for n, k in enumerate(kinds)]
        batch = [column(k, seed + n * 777 + 5, 60) for n, k in enumerate(kinds)]
        wanted = expected(table, batch)
        index = KeyIndex(table)

        assert index.first(batch).to_pylist() == [rows[0] if rows else None for rows in wanted]
        match = index.all(batch)
        parents = match.parents.to_pylist() if match.parents is not None else list(range(60))
        pairs = list(zip(parents, match.rows.to_pylist(), strict=True))
        assert pairs == [(n, row) for n, rows in enumerate(wanted) for row in (rows or [None])]
        counts: dict[Any, int] = {}
        for rows in expected(table, table):
            if rows:
                counts[tuple(rows)] = len(rows)
        assert (len(index), index.repeated) == (len(counts), sum(n > 1 for n in counts.values()))


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("int8", "int64", "int64"),
        ("uint8", "int16", "int64"),
        ("uint64", "int64", "decimal128(20, 0)"),
        ("uint64", "uint64", "uint64"),
        ("int64", "decimal(10,2)", "decimal128(22, 2)"),
        ("decimal(10,2)", "decimal(20,4)", "decimal128(20, 4)"),
        ("decimal(38,0)", "decimal(38,9)", None),
        ("string", "string", "string"),
        ("string", "int64", None),
        ("float32", "float64", "double"),
        ("float64", "int64", None),
        ("date", "date", "date32[day]"),
        ("date", "datetime", None),
        ("datetime", "timestamp", None),
        ("list<int64>", "list<int64>", None),
        ("null", "int64", "int64"),
    ],
)
def test_types_are_compared_only_where_that_is_exact(one: str, other: str, shared: str | None) -> None:
    found = [shared_type(one, other), shared_type(other, one)]
    assert [None if f is None else str(f) for f in found] == [shared, shared]
