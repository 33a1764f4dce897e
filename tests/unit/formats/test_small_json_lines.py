"""Few rows are written without an engine, with the very text that the engine would write."""

import random

import pyarrow as pa
import pytest

from dataflare.formats.jsonl import encode, small
from dataflare.formats.jsonl.encode import JsonTexts

CHARACTERS = [*map(chr, (8, 9, 10, 12, 13, 34, 38, 47, 60, 92, 127, 0x85, 0x2028, 0xE9, 0x1F600)), *"abc xyz"]


def _rows(rng: random.Random, count: int) -> pa.Table:
    floats = [0.0, -0.0, 1.0, -2.5, 0.1, 1 / 3, 99999999999.5, 0.0001, 9.9e14, None]
    return pa.table(
        {
            "i": pa.array([rng.choice([None, rng.randrange(-(2**62), 2**62)]) for _ in range(count)], pa.int64()),
            "b": pa.array([rng.choice([True, False, None]) for _ in range(count)], pa.bool_()),
            "s": pa.array(["".join(rng.choices(CHARACTERS, k=5)) for _ in range(count)], pa.string()),
            "f": pa.array([rng.choice(floats) for _ in range(count)], pa.float64()),
            "g": pa.array([10 ** rng.uniform(-4, 15) * rng.choice([1, -1]) for _ in range(count)], pa.float64()),
        }
    )


def test_the_text_is_the_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = _rows(random.Random(3), small.ROWS_MAX)
    assert small.is_small(rows)
    monkeypatch.setattr(encode, "is_small", lambda _: False)
    texts = JsonTexts()
    try:
        assert small.small_lines(rows).to_pylist() == texts.lines(rows).to_pylist()
    finally:
        texts.close()


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1e15]), pa.array([1e-5]), pa.array([float("nan")]), pa.array([float("inf")]), pa.array(["\x1f"]),
        pa.array([{"a": 1}]), pa.array([[1]]), pa.array([0] * (small.ROWS_MAX + 1)), pa.array([b"x"]),
    ],
)  # fmt: skip
def test_what_both_would_write_otherwise_is_left_to_the_engine(column: pa.Array) -> None:
    assert not small.is_small(pa.table({"c": column}))
