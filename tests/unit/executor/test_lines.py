"""A chain that reads JSON lines itself: what comes out is what comes out of decoded rows, or nothing has happened."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflare.batch import Batch, Encoded
from dataflare.executor.lines import TRIALS, Lines
from dataflare.expression.chain import Chain
from dataflare.expression.step import Step
from dataflare.formats.jsonl.decode import JsonlDecoder
from dataflare.schema import Schema

SCHEMA = Schema.of(
    {"id": "int64", "kind": "string", "user": "struct<id: int64, name: string>", "tags": "list<int32>",
     "at": "timestamp", "more": "json", "price": "decimal(8,2)", "raw": "binary"}
)  # fmt: skip
CHAINS = [
    [Step("f", condition="kind = 'a'")],
    [Step("f", condition="kind <> 'b'"), Step("m", columns=(("id", "id"), ("n", "user.id + 1"), ("t", "tags[1]")))],
    [Step("m", columns=(("user", '"user"'), ("k", "more->>'x'"), ("raw", "raw"), ("cents", "price * 100")))],
    [Step("m", columns=(("kind", "kind"), ("n", "cast(user.name as int64)"))), Step("f", condition="n > 1")],
    [Step("f", condition="id > 0"), Step("g", condition="kind = 'a'"), Step("m", columns=(("at", "at"),))],
    [Step("m", columns=(("b", "kind"), ("kind", "id")))],
]  # fmt: skip
LINE = st.fixed_dictionaries(
    {},
    optional={
        "id": st.none() | st.integers(-3, 3) | st.sampled_from([2**53 + 1, 1.5, "7", True]),
        "kind": st.none() | st.sampled_from(["a", "b", 3, "é\U0001f600"]),
        "user": st.none() | st.fixed_dictionaries({"id": st.integers(0, 9), "name": st.sampled_from(["1", "22", "x"])}),
        "tags": st.none() | st.lists(st.integers(-2, 2) | st.just(2.5), max_size=2),
        "at": st.sampled_from(["2025-01-01T00:00:00Z", "2025-01-01 10:00:00+02", None, "never"]),
        "more": st.sampled_from([{"x": 1}, [1, 2], "s", None, 5]),
        "price": st.sampled_from([1, 1.25, "2.50", 1.255, None]),
        "raw": st.sampled_from(["eA==", None, "no base64"]),
        "other": st.integers(),
    },
)


def block(rows) -> Batch:
    return Batch(Encoded("".join(f"{r}\n" for r in rows).encode(), "jsonl", judged=False))


def both_ways(steps, batch):
    """Return what a chain makes of lines that it reads itself (None: it does not), and of rows that were decoded."""
    with contextlib.ExitStack() as stack:
        chain = stack.enter_context(contextlib.closing(Chain(steps, SCHEMA, policies=["dead_letter"] * len(steps))))
        lines = stack.enter_context(contextlib.closing(Lines(SCHEMA, 256 << 20)))
        decoder = stack.enter_context(contextlib.closing(JsonlDecoder(SCHEMA)))
        decoded = decoder.decode(batch.payload.data)
        return chain.take(lines.reading(batch)), decoded, chain.run(decoded.rows)


@pytest.mark.once
@settings(max_examples=60, deadline=None)
@given(st.lists(LINE, max_size=6), st.sampled_from(CHAINS))
def test_lines_that_are_taken_give_what_decoded_rows_give(rows, steps):
    taken, decoded, expected = both_ways(steps, block([json.dumps(r) for r in rows]))
    if decoded.rejected or expected.rejected:
        assert taken is None
    else:
        assert taken is not None, "all rows are good"
        assert (taken[0], taken[1].counts, taken[1].rejected) == (len(rows), expected.counts, ())
        assert taken[1].rows.equals(expected.rows)


def test_blank_lines_count_as_nothing():
    good = '{"id":1,"kind":"a"}'
    taken, _, expected = both_ways(CHAINS[0], block(["", good, "  ", "", '{"kind":"b"}', good, ""]))
    assert taken is not None
    assert (taken[0], taken[1].rows.num_rows) == (3, 2)
    assert taken[1].counts == expected.counts


def test_the_epochs_time_is_that_of_the_epoch():
    times = [1_700_000_000_000_000]
    chain = Chain([Step("m", columns=(("t", "epoch_us(now())"),))], SCHEMA, epoch_time=lambda: times[-1])
    lines = Lines(SCHEMA, 256 << 20)
    with contextlib.closing(chain), contextlib.closing(lines):
        seen = []
        for _ in range(2):
            _, result = chain.take(lines.reading(block(['{"id":1}'])))
            seen += result.rows.column(0).to_pylist()
            times.append(times[-1] + 5)
    assert seen == [1_700_000_000_000_000, 1_700_000_000_000_005]


def test_what_must_be_decoded_again_and_again_is_no_longer_tried():
    lines = Lines(SCHEMA, 256 << 20)
    bad = block(["no json"])
    chain = Chain(CHAINS[0], SCHEMA)
    with contextlib.closing(lines), contextlib.closing(chain):
        for _ in range(TRIALS):
            assert chain.take(lines.reading(bad)) is None
        assert lines.reading(block(['{"kind":"a"}'])) is None


def test_other_bytes_are_not_read():
    with contextlib.closing(Lines(SCHEMA, 256 << 20)) as lines:
        assert lines.reading(Batch(Encoded(b"x", "pgcopy", 1))) is None


@pytest.mark.parametrize(
    "kind", ["struct<a: int64, b: struct<c: uint8, d: string>>", "map<string, int64>", "list<int64>"]
)
def test_nested_integers_come_out_as_they_are(kind):
    value = {"struct": {"a": 1, "b": {"c": 255, "d": "x"}}, "map": {"k": 2**62}, "list": [2**53 + 1, None]}[
        kind.partition("<")[0]
    ]
    schema = Schema.of({"v": kind})
    chain, lines = Chain([Step("m", columns=(("w", "v"),))], schema), Lines(schema, 256 << 20)
    with contextlib.closing(chain), contextlib.closing(lines):
        data = (json.dumps({"v": value}) + "\n{}\n").encode()
        count, result = chain.take(lines.reading(Batch(Encoded(data, "jsonl", judged=False))))
    expected = list(value.items()) if kind.startswith("map") else value
    assert (count, result.rows.to_pylist()) == (2, [{"w": expected}, {"w": None}])
