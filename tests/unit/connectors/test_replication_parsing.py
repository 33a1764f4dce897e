"""Texts of PostgreSQL become values, a column at a time; what is none is told without being shown."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataflare.connectors.postgres.replication.listing import split
from dataflare.connectors.postgres.replication.parsing import parsed
from dataflare.errors import DataError

STEADY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""As on a machine that is slow and busy."""
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def values(texts: list[Any], kind: str, source: str = "") -> list[Any]:
    encoded = [t.encode() if isinstance(t, str) else t for t in texts]
    found: list[Any] = parsed(pa.array(encoded, pa.binary()), kind, source, "s.t.c").to_pylist()
    return found


def shown(items: list[str | None], *, bounds: bool) -> str:
    """Write an array as the server does; it quotes what could be mistaken."""
    told = []
    for item in items:
        if item is None:
            told.append("NULL")
        elif not item or item.upper() == "NULL" or any(c in '{}",\\' or c.isspace() for c in item):
            told.append('"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"')
        else:
            told.append(item)
    return ("[0:9]=" if bounds else "") + "{" + ",".join(told) + "}"


@STEADY
@given(
    st.lists(st.one_of(st.none(), st.lists(st.one_of(st.none(), TEXTS, st.text('{}",\\ \n', max_size=6)), max_size=5)))
)
def test_arrays_are_taken_apart_as_they_were_put_together(arrays: list[list[str | None] | None]) -> None:
    texts = [None if a is None else shown(a, bounds=len(a) == 2).encode() for a in arrays]
    items, offsets = split(pa.array(texts, pa.binary()))
    told = items.cast(pa.string()).to_pylist()
    found = [told[a:b] for a, b in pairwise(offsets)]
    assert found == [a or [] for a in arrays]
    assert values(texts, "list<string>") == arrays


@pytest.mark.parametrize(
    "text", ["", "{", "}", "1", "{1", "1}", "{1}x", "}{", '{"a}', '{a"}', "{a\\}", "{\\", "{1},{2}"]
)
def test_what_is_no_array_is_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"s\.t\.c: "):
        values([text, "{ok}"], "list<string>")


def test_an_array_of_several_dimensions_is_refused() -> None:
    with pytest.raises(DataError, match="several dimensions"):
        values(["{1,2}", "{{1,2},{3,4}}"], "list<int64>")


@STEADY
@given(st.lists(st.one_of(st.none(), st.binary(max_size=9))))
def test_bytes_come_back(items: list[bytes | None]) -> None:
    texts = [None if i is None else "\\x" + i.hex() for i in items]
    assert values(texts, "binary") == items


@pytest.mark.parametrize("text", ["abc", "\\x0", "\\x0g", "\\", ""])
def test_what_is_no_hexadecimal_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="a value is no binary"):
        values(["\\x00", text], "binary")


@STEADY
@given(st.lists(st.one_of(st.none(), st.dates()), min_size=1))
def test_dates_by_the_longer_way_are_those_of_the_shorter(days: list[dt.date | None]) -> None:
    texts = [None if d is None else d.isoformat() for d in days]
    assert values(texts, "date") == days
    *found, far, before = parsed(pa.array([*texts, "10000-01-01", "0001-12-31 BC"]).cast("binary"), "date", "", "t.c")
    assert [f.as_py() for f in found] == days
    assert far.value == (dt.date(9999, 12, 31) - dt.date(1970, 1, 1)).days + 1
    assert before.value == (dt.date(1, 1, 1) - dt.date(1970, 1, 1)).days - 1


@STEADY
@given(st.lists(st.one_of(st.none(), st.datetimes()), min_size=1))
def test_times_by_the_longer_way_are_those_of_the_shorter(times: list[dt.datetime | None]) -> None:
    texts = [None if t is None else t.isoformat(" ") for t in times]
    zoned = [None if t is None else f"{t}+00" for t in texts]
    with_zone = [None if t is None else t.replace(tzinfo=dt.UTC) for t in times]
    assert values(texts, "datetime") == times
    assert values(zoned, "timestamp") == with_zone
    for kind, wanted, told, far in (
        ("datetime", times, texts, "20000-01-01 00:00:00"),
        ("timestamp", with_zone, zoned, "20000-01-01 00:00:00+00"),
    ):
        found = parsed(pa.array([*told, far]).cast("binary"), kind, "", "t.c")
        assert found[:-1].to_pylist() == wanted
        assert found.is_valid()[-1].as_py()
    clock = [None if t is None else t.time() for t in times]
    told = [None if t is None else t.isoformat() for t in clock]
    assert values(told, "time") == clock
    assert parsed(pa.array([*told, "24:00:00"]).cast("binary"), "time", "", "t.c")[:-1].to_pylist() == clock


def test_a_date_that_no_timestamp_holds_is_told() -> None:
    with pytest.raises(DataError, match="a value is no timestamp"):
        values(["5874897-12-31"], "timestamp", "date")
    with pytest.raises(DataError, match="a value is no int16"):
        values(["1.50"], "int16", "numeric")


def test_intervals_have_signs_of_their_own() -> None:
    texts = ["1 year 2 mons -3 days +04:05:06.789", "-1 years -2 mons", "-00:00:00.000001", "00:00:00", "1 day", None]
    assert values(texts, "interval") == [
        pa.MonthDayNano([14, -3, 14_706_789_000_000]),
        pa.MonthDayNano([-14, 0, 0]),
        pa.MonthDayNano([0, 0, -1000]),
        pa.MonthDayNano([0, 0, 0]),
        pa.MonthDayNano([0, 1, 0]),
        None,
    ]


def test_booleans_and_addresses_as_text_are_as_a_cast_makes_them() -> None:
    assert values(["t", "f", None], "bool") == [True, False, None]
    assert values(["t", "f", None], "string", "bool") == ["true", "false", None]
    assert values(["{t,NULL}"], "list<string>", "_bool") == [["true", None]]
    assert values(["10.0.0.1", "10.0.0.0/8", "::1", None], "string", "inet") == [
        "10.0.0.1/32",
        "10.0.0.0/8",
        "::1/128",
        None,
    ]


@pytest.mark.parametrize(
    ("text", "kind", "told"),
    [
        ("NaN", "decimal(38,9)", "NaN is no decimal"),
        ("-Infinity", "decimal(38,9)", "infinity is no decimal"),
        ("1.0000000001", "decimal(38,9)", "a number has more digits than decimal"),
        ("1e99", "decimal(38,9)", "a number has more digits than decimal"),
        ("secret", "decimal(38,9)", "a value is no decimal"),
        ("99999", "int16", "a value is no int16"),
        ("secret", "int64", "a value is no int64"),
        ("-infinity", "date", "infinity is no date"),
        ("secret", "timestamp", "a value is no timestamp"),
        ("", "interval", "a value is no interval"),
        ("2562047789:00:00", "interval", "a value is no interval"),
        ("secret", "bool", "a value is no bool"),
        ("secret", "struct<a: int64>", "a value is no struct"),
        (b"\xff", "string", "a text is not UTF-8"),
        (b"\xff", "int64", "a text is not UTF-8"),
    ],
)
def test_a_value_that_does_not_fit_is_told_by_its_kind(text: Any, kind: str, told: str) -> None:
    with pytest.raises(DataError, match=rf"^s\.t\.c: {told}") as caught:
        values(["1", text] if kind.startswith(("decimal", "int")) else [text, None], kind)
    assert "secret" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    "kind",
    [
        *("bool", "int64", "float64", "decimal(12,2)", "string", "json", "binary", "date", "time", "timestamp"),
        *("datetime", "interval", "list<int64>", "list<string>", "list<binary>", "list<interval>"),
    ],
)
def test_a_column_without_values_is_one(kind: str) -> None:
    assert values([], kind) == []
    assert values([None, None], kind) == [None, None]
