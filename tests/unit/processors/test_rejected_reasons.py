"""Reasons of rejected rows hold no value of the row, many rows at a time as one by one."""

from __future__ import annotations

import json
import random
import re

import pyarrow as pa
import pytest

from dataflare.processors.python_rejects import Telling, without_values
from dataflare.schema import Column, Schema

SCHEMA = Schema.of({"id": "int64", "name": "string", "at": "timestamp", "raw": "binary", "parts": "list<string>"})
BEYOND_PYTHON = 1 << 58
"""Microseconds: the year 11103."""


def rows() -> pa.Table:
    moments = pa.array([0, BEYOND_PYTHON, None, 5_000_000], pa.int64()).cast(pa.timestamp("us", "UTC"))
    columns = [[1, 2, None, 4], ["Ada", "B.", "", None], moments, [b"\x01", b"", None, b"x"], [["u"], [], None, ["v"]]]
    return pa.table(columns, names=SCHEMA.names).cast(SCHEMA.to_arrow())


def test_many_rows_are_told_as_each_alone() -> None:
    telling, table = Telling("n", SCHEMA, SCHEMA.names), rows()
    why = {3: "no 4 of v", 0: "Ada is 1, not Adam or 12", 1: "B. is B.", 2: "None is no value"}
    told = telling.errors_table(table, why).to_pylist()
    assert [r["error"] for r in told] == [
        "no <id> of <parts>",
        "<name> is <id>, not Adam or 12",
        "<name> is <name>",
        "None is no value",
    ]
    assert [r["error"] for r in told] == [telling.reason(text, table, row) for row, text in why.items()]
    assert [json.loads(r["row"])["id"] for r in told] == [4, 1, 2, None]
    assert json.loads(told[2]["row"])["at"].startswith("11103")
    assert json.loads(told[1]["row"]) == {
        "id": 1, "name": "Ada", "at": "1970-01-01T00:00:00+00:00", "raw": "01", "parts": ["u"],
    }  # fmt: skip
    assert {r["node"] for r in told} == {"n"}


def test_tagged_values_are_hidden_and_what_a_function_says_of_them() -> None:
    schema = Schema((Column("id", "int64"), Column("name", "string", tags=("pii",))))
    table = pa.table({"id": [1], "name": ["Ada"]})
    (told,) = Telling("n", schema, ["name"]).errors_table(table, {0: "ValueError: Ada"}).to_pylist()
    assert "Ada" not in json.dumps(told)


@pytest.mark.parametrize("seed", range(4))
def test_values_are_found_as_words_of_their_own_the_longest_first(seed: int) -> None:
    rng = random.Random(seed)
    pieces = ["a", "a b", "1", "1.5", "_", "é", " ", "'a'", "-"]
    for _ in range(1000):
        record = {f"c{n}": "".join(rng.choices(pieces, k=rng.randint(1, 2))) for n in range(rng.randint(1, 4))}
        reason = "".join(rng.choices([*pieces, "no ", '"', ": "], k=rng.randint(0, 10)))
        words = {text: name for name, value in record.items() for text in (repr(value), value) if text.strip()}
        longest_first = sorted(words, key=len, reverse=True)
        pattern = "|".join(rf"(?<!\w){re.escape(text)}(?!\w)" for text in longest_first) or "(?!)"
        wanted = re.sub(pattern, lambda found, words=words: f"<{words[found[0]]}>", reason)
        assert without_values(reason, record) == wanted
