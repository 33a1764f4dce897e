"""Few rows are read and written without an engine: the very rows, and the very text, of the engine."""

import random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflare.formats.jsonl import encode, few, small
from dataflare.formats.jsonl.decode import JsonlDecoder
from dataflare.formats.jsonl.encode import JsonTexts
from dataflare.schema import Schema

SCHEMA = Schema.of({"i": "int64", "u": "uint8", "f": "double", "b": "bool", "s": "string"})
SLOW = JsonlDecoder(SCHEMA)
SLOW._few._is_plain = False  # the engine alone
FAST = JsonlDecoder(SCHEMA)

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
    written = small.small_lines(rows)
    assert written is not None
    monkeypatch.setattr(encode, "small_lines", lambda _: None)
    texts = JsonTexts()
    try:
        assert written.to_pylist() == texts.lines(rows).to_pylist()
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
    assert small.small_lines(pa.table({"c": column})) is None


TEXTS = st.sampled_from(
    [
        *("0", "-0", "7", "-7", "255", "256", "9007199254740993", "9223372036854775807", "9223372036854775808", "1e2"),
        *("1.0", "1.5", "0.1", "-1e-7", "1e400", "01", "1.", ".5", "+1", "NaN", "Infinity", "null", "true", "false"),
        *('"x"', '""', '"i"', '"\\u0069"', '"7"', '"1.5"', '"true"', '"é"', "[1]", '{"i": 1}', "", "nul", '"a\tb"'),
    ]
)
NAMES = st.sampled_from(['"i"', '"u"', '"f"', '"b"', '"s"', '"other"', '"I"', '"\\u0069"', "i"])
LINES = st.lists(st.tuples(NAMES, st.sampled_from([":", " : "]), TEXTS), max_size=4).map(
    lambda found: "{" + ", ".join(map("".join, found)) + "}"
)


@pytest.mark.once
@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.one_of(LINES, st.sampled_from(["", "  ", "[]", "7", "{} {}", "{}x", " {} "])), min_size=1, max_size=4),
    st.sampled_from(["", "\n"]),
)
def test_the_rows_are_those_that_the_engine_reads(lines: list[str], end: str) -> None:
    data = ("\n".join(lines) + end).encode()
    fast, slow = FAST.decode(data), SLOW.decode(data)
    found, expected = (repr((each.rows.to_pylist(), each.rejected)) for each in (fast, slow))  # in a text NaN is NaN
    assert found == expected


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ('{"i": 1, "u": 2, "f": 0.5, "b": true, "s": "a"}', True),
        ('{"s": null, "other": [1, {"a": 2}]}', True),
        ('{"i": 1, "i": 2}', False),
        ('{"i": "1"}', False),
        ('{"f": 1}', False),
        ('{"u": 256}', False),
        ('{"s": "i"}', False),
        ('{"s": "\\n"}', False),
    ],
)
def test_only_plain_lines_are_read_without_the_engine(line: str, read: bool) -> None:
    assert (few.FewLines(SCHEMA).read(line.encode()) is not None) is read


def test_broken_text_is_not_read() -> None:
    assert few.FewLines(SCHEMA).read(b'{"other": "\xff"}') is None
