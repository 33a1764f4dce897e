"""Masks: what is shown, what is not, and that nulls, short values and odd characters are no way around them."""

from __future__ import annotations

import datetime as dt
import decimal
import hashlib
import hmac

import pyarrow as pa
import pytest

from dataflare.errors import WorkflowError
from dataflare.security.coarsening import Beginning, Bucket, DateShift, Truncate
from dataflare.security.masking import Hash, Null, Partial, Redact, RedactJson, derived
from dataflare.security.nested import Leaves, changed, has_field

KEY = "k" * 32


def masked(mask, values, kind=None, ids=None):
    done = mask.apply(Leaves(pa.array(values, kind)), ids)
    assert done.failed is None or not any(done.failed.to_pylist())
    return done.values.to_pylist()


def test_redact_leaves_one_text_and_nulls():
    assert masked(Redact(), ["a", "", None]) == ["***", "***", None]
    assert masked(RedactJson('"'), ['{"a": 1}', None]) == ['"\\""', None]


def test_null_leaves_nothing_of_the_type():
    assert Null().apply(Leaves(pa.array([[1], None]))).values == pa.array([None, None], pa.list_(pa.int64()))


def test_a_hash_is_that_of_the_text_of_a_value():
    assert masked(Hash(), ["ä", None, "ä"]) == [hashlib.sha256("ä".encode()).hexdigest(), None] * 1 + [
        hashlib.sha256("ä".encode()).hexdigest()
    ]
    assert masked(Hash(), [17]) == [hashlib.sha256(b"17").hexdigest()]
    assert masked(Hash(), [b"\xff"]) == [hashlib.sha256(b"\xff").hexdigest()]
    assert masked(Hash(KEY), ["a"]) == [hmac.digest(KEY.encode(), b"a", "sha256").hex()]


@pytest.mark.parametrize(
    ("mask", "value", "shown"),
    [
        (Partial(first=1, keep_domain=True), "ann@example.com", "a**@example.com"),
        (Partial(first=1, keep_domain=True), "a@b@example.com", "a**@example.com"),
        (Partial(first=1, keep_domain=True), "a@example.com", "*@example.com"),
        (Partial(first=1, keep_domain=True), "no address", "n*********"),
        (Partial(first=1, keep_domain=True), "a\nb@example.com", "a**@example.com"),
        (Partial(last=4), "4111111111111111", "************1111"),
        (Partial(first=2, last=2), "äöüß", "****"),
        (Partial(first=2, last=2), "äöüße", "äö*ße"),
        (Partial(last=4), "", ""),
        (Partial(first=1, fill="x"), "äöü", "äxx"),
    ],
)
def test_partial_shows_an_end_but_never_the_whole(mask, value, shown):
    assert masked(mask, [value, None]) == [shown, None]


def test_numbers_go_down_to_the_beginning_of_their_interval():
    assert masked(Bucket(10), [17, -3, 20, None]) == [10, -10, 20, None]
    assert masked(Bucket(10), [17], pa.uint8()) == [10]
    assert masked(Bucket(200), [-128], pa.int8()) == [-200]
    assert masked(Bucket(10), [-(1 << 63), (1 << 63) - 1])[1] == 9223372036854775800
    assert masked(Bucket(0.5), [1.75, -0.1]) == [1.5, -0.5]
    kind = Bucket(10).type_after("decimal(3,2)")
    assert kind == "decimal(5,2)"
    rounded = Bucket(10).apply(Leaves(pa.array([decimal.Decimal("-9.99"), None], pa.decimal128(3, 2)))).values
    assert rounded.type == pa.decimal128(5, 2)
    assert rounded.to_pylist() == [decimal.Decimal("-10.00"), None]


def test_dates_go_down_to_their_month_and_texts_to_their_beginning():
    assert masked(Truncate("month"), [dt.date(2024, 5, 17), None]) == [dt.date(2024, 5, 1), None]
    moment = dt.datetime(2024, 5, 17, 12, 30, tzinfo=dt.UTC)
    assert masked(Truncate("year"), [moment], pa.timestamp("us", "UTC")) == [
        moment.replace(month=1, day=1, hour=0, minute=0)
    ]
    assert masked(Beginning(2), ["10115", "1", None]) == ["10", "1", None]


def test_dates_of_one_id_move_together_within_bounds_and_never_by_nothing():
    shift = DateShift(KEY, 3)
    dates = [dt.date(2024, 5, 17)] * 200
    ids = pa.array([f"id-{n}" for n in range(200)])
    moves = {(d - dates[0]).days for d in masked(shift, dates, ids=ids)}
    assert moves == {-3, -2, -1, 1, 2, 3}
    again = masked(shift, [dt.date(2020, 1, 1), dt.date(2020, 1, 9)], ids=pa.array(["x", "x"]))
    assert (again[1] - again[0]).days == 8
    moment = dt.datetime(2020, 1, 1, 5, tzinfo=dt.UTC)
    (moved,) = masked(shift, [moment], pa.timestamp("us", "UTC"), ids=pa.array(["x"]))
    assert moved - moment == again[0] - dt.date(2020, 1, 1)


def test_a_date_that_cannot_be_moved_fails_and_is_null():
    values = pa.array([1, 2, None, (1 << 31) - 2], pa.int32()).cast(pa.date32())
    done = DateShift(KEY, 3).apply(Leaves(values), pa.array(["a", None, None, "a"]))
    assert done.failed.to_pylist() == [False, True, False, True]
    assert [v.is_valid for v in done.values] == [True, False, False, False]


@pytest.mark.parametrize(
    ("mask", "kind"),
    [
        (Redact(), "int64"),
        (Hash(), "struct<a: string>"),
        (Hash(), "list<string>"),
        (Partial(last=1), "json"),
        (Bucket(10), "string"),
        (Bucket(0.5), "int64"),
        (Bucket(0.001), "decimal(3,2)"),
        (Truncate("hour"), "date"),
        (Truncate("month"), "string"),
        (Beginning(1), "date"),
        (DateShift(KEY, 1), "string"),
    ],
)
def test_a_method_that_does_not_fit_the_type_is_refused_with_a_cure(mask, kind):
    with pytest.raises(WorkflowError) as raised:
        mask.type_after(kind)
    assert raised.value.hint


@pytest.mark.parametrize("key", ["", "short"])
def test_a_key_that_is_soon_guessed_is_refused(key):
    with pytest.raises(WorkflowError, match="key"):
        Hash(key)


def test_keys_of_different_purposes_differ():
    assert derived(KEY, "a", 64)[:32] != derived(KEY, "b", 64)[:32]
    assert len(derived(KEY, "a", 33)) == 33


NESTED = pa.array(
    [
        {"a": "x", "items": [{"n": "p", "k": 1}, None, {"n": None, "k": 2}]},
        None,
        {"a": None, "items": None},
        {"a": "z", "items": []},
        {"a": "w", "items": [{"n": "q", "k": 3}]},
    ]
)


@pytest.mark.parametrize("start", [0, 1, 3])
def test_a_field_deep_inside_is_changed_and_all_around_it_stays(start):
    rows = NESTED.slice(start)
    seen = []

    def change(leaves):
        seen.extend([] if leaves.rows is None else leaves.rows.to_pylist())
        return pa.array([None if v is None else v.upper() for v in leaves.values.to_pylist()], pa.string())

    def expected(row):
        if row is None or row["items"] is None:
            return row
        return row | {"items": [i and i | {"n": i["n"] and i["n"].upper()} for i in row["items"]]}

    assert changed(rows, ("items", "n"), change).to_pylist() == [expected(r) for r in rows.to_pylist()]
    assert seen == [n for n, r in enumerate(rows.to_pylist()) if r for _ in r["items"] or ()]
    assert has_field(NESTED.type, ("items", "n"))
    assert not has_field(NESTED.type, ("items", "m"))
    with pytest.raises(KeyError):
        changed(rows, ("items", "m"), change)
