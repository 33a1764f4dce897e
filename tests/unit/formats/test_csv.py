"""CSV: record ends, types, bad rows, and what is written comes back."""

from __future__ import annotations

import csv
import datetime as dt
import io
import random
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataflare.errors import WorkflowError
from dataflare.formats.csv.decode import CsvDecoder
from dataflare.formats.csv.encode import CsvEncoder
from dataflare.formats.csv.infer import first_record, infer, unique_names
from dataflare.formats.csv.options import CsvOptions
from dataflare.formats.csv.records import records, whole_records
from dataflare.formats.jsonl.encode import JsonTexts
from dataflare.schema import Schema

PLAIN = CsvOptions()
FIELDS = st.lists(st.text(alphabet='ab",\n\r é', max_size=6), min_size=2, max_size=2)


def decode(data, types, names=None, options=PLAIN):
    schema = Schema.of(types)
    return CsvDecoder(schema, names or schema.names, options).decode(data)


def encode(rows, options=PLAIN):
    sink, texts = io.BytesIO(), JsonTexts()
    encoder = CsvEncoder(sink, texts, rows.column_names, options)
    encoder.write(rows)
    encoder.finish()
    texts.close()
    return sink.getvalue()


def written(rows, **dialect):
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n", **dialect).writerows(rows)
    return text.getvalue().encode()


# ---- records --------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@example([['aaaa"', 'aaaa"\n']], 19)
@given(st.lists(FIELDS, min_size=1, max_size=12), st.integers(0, 200))
def test_records_end_where_a_csv_reader_says(rows, cut):
    parts = [written([row]) for row in rows]
    data = b"".join(parts)
    ends, at = [], 0
    for part in parts:
        at += len(part)
        ends.append(at)
    assert [r.end for r in records(data, PLAIN)] == ends
    assert all(r.closed for r in records(data, PLAIN))
    cut = min(cut, len(data))
    whole = whole_records(data[:cut], PLAIN, cut)
    assert whole == 0 or whole in ends
    before = [e for e in ends if e <= cut]
    assert whole or not before, "a whole record was there"


@settings(max_examples=100, deadline=None)
@given(st.lists(FIELDS, min_size=1, max_size=12))
def test_what_a_csv_writer_wrote_is_read(rows):
    found = decode(written(rows, quoting=csv.QUOTE_ALL), {"a": "string", "b": "string"})
    assert not found.rejected
    assert [list(r.values()) for r in found.rows.to_pylist()] == rows


def test_escaped_quotes_do_not_end_a_field():
    options = CsvOptions(escape="\\")
    data = b'1,"a \\" , b\nc"\n2,"x\\\\"\n3,plain \\" \n'
    assert len(list(records(data, options))) == 3
    found = decode(data, {"id": "int64", "s": "string"}, options=options)
    assert found.rows["s"].to_pylist() == ['a " , b\nc', "x\\", 'plain " ']
    assert whole_records(data[:-1], options, len(data) - 1) == data.rindex(b"3,")


def test_without_quotes_every_line_is_a_record():
    options = CsvOptions(quote="")
    found = decode(b'1,"a\n2,b"\n', {"id": "int64", "s": "string"}, options=options)
    assert found.rows["s"].to_pylist() == ['"a', 'b"']


def test_blank_lines_and_other_line_ends_are_no_rows():
    found = decode(b"1\r\n\r\n2\n\n3\r4", {"a": "int64"})
    assert found.rows["a"].to_pylist() == [1, 2, 3, 4]
    assert decode(b"", {"a": "int64"}).rows.num_rows == 0
    assert decode(b"\n\r\n", {"a": "int64"}).rows.num_rows == 0


@pytest.mark.parametrize("settings", [{"delimiter": ""}, {"delimiter": "ab"}, {"quote": ","}, {"delimiter": "\n"}])
def test_impossible_dialects_are_refused(settings):
    with pytest.raises(WorkflowError):
        CsvOptions(**settings)


# ---- values ---------------------------------------------------------------------------------------------------------


def test_nulls_are_what_the_options_say_unless_quoted():
    options = CsvOptions(nulls=("", "NA"))
    found = decode(b'1,NA\n,""\n3,"NA"\nNA,x\n', {"id": "int64", "s": "string"}, options=options)
    assert found.rows.to_pylist() == [
        {"id": 1, "s": None}, {"id": None, "s": ""}, {"id": 3, "s": "NA"}, {"id": None, "s": "x"},
    ]  # fmt: skip


def test_timestamps_may_have_a_zone_or_not_even_side_by_side():
    found = decode(b"2025-01-01 01:00:00\n2025-01-01T02:00:00+01:00\n2025-01-01\n", {"at": "timestamp"})
    assert not found.rejected
    assert [v.hour for v in found.rows["at"].to_pylist()] == [1, 1, 0]
    assert str(found.rows.schema.types[0]) == "timestamp[us, tz=UTC]"
    found = decode(b"2025-01-01 01:00:00\n2025-01-01T02:00:00Z\n", {"at": "datetime"})
    assert found.rows["at"].to_pylist() == [dt.datetime(2025, 1, 1, 1)]  # noqa: DTZ001 - no zone is meant
    assert [r.reason for r in found.rejected] == ["column 'at' is not datetime"]


def test_all_types_come_back_as_they_were_written():
    moment = dt.datetime(2025, 3, 1, 12, 30, 0, 123456)  # noqa: DTZ001 - no zone is meant
    types = {
        "i": "int64", "u": "uint8", "f": "float64", "b": "bool", "d": "date", "t": "time", "ts": "timestamp",
        "dt": "datetime", "dec": "decimal(12,2)", "s": "string", "j": "json",
    }  # fmt: skip
    schema = Schema.of(types).to_arrow()
    values = [
        1, 255, 0.1, True, moment.date(), moment.time(), moment.replace(tzinfo=dt.UTC), moment,
        Decimal("10.50"), 'a,"b"\nc', '{"x": [1]}',
    ]  # fmt: skip
    rows = pa.Table.from_pylist(
        [dict(zip(types, values, strict=True)), dict.fromkeys(types), {**dict.fromkeys(types), "s": ""}], schema=schema
    )
    data = encode(rows)
    header, end = first_record(data, PLAIN)
    assert header == list(types)
    assert decode(data[end:], types).rows.equals(rows)


def test_nested_and_binary_values_are_written_as_text():
    rows = pa.table({"l": [[1, None], None], "b": [b"\xff\x00", None], "s": [{"x": "q"}, None]})
    assert encode(rows) == b'l,b,s\n"[1,null]",/wA=,"{""x"":""q""}"\n,,\n'
    with pytest.raises(WorkflowError, match="declare it as json"):
        decode(b"", {"l": "list<int64>"})


def test_a_null_in_the_only_column_does_not_become_a_blank_line():
    assert encode(pa.table({"s": pa.array([None, "x"])})) == b's\n""\nx\n'


def test_columns_come_by_name_and_absent_ones_are_null():
    found = decode(b"1,2,3\n", {"c": "int64", "x": "date", "a": "string"}, names=["a", "b", "c"])
    assert found.rows.to_pylist() == [{"c": 3, "x": None, "a": "1"}]
    assert str(found.rows.schema.field("x").type) == "date32[day]"


# ---- bad rows -------------------------------------------------------------------------------------------------------


def test_every_kind_of_bad_row_comes_out_with_its_line_and_reason():
    data = b'1,a\nx,b\n2\n3,c,d\n4,\xff\n5,"two\nlines"\n6,"open\n7,g\n'
    found = decode(data, {"id": "int64", "s": "string"})
    assert found.rows["id"].to_pylist() == [1, 5, 7]
    assert [(r.line, r.raw, r.reason) for r in found.rejected] == [
        (1, "x,b", "column 'id' is not int64"),
        (2, "2", "the row has not 2 columns"),
        (3, "3,c,d", "the row has not 2 columns"),
        (4, "4,\\xff", "column 's' is not valid UTF-8"),
        (7, '6,"open', "a quote is never closed"),
    ]


@pytest.mark.parametrize("share", [0.0001, 0.02, 0.5, 1.0])
def test_good_and_bad_rows_add_up_at_any_share(share):
    chance = random.Random(5)
    bad = [chance.random() < share for _ in range(20_000)]
    lines = [f"{'no' if b else n},{n}.5,2025-01-01 00:00:00\n" for n, b in enumerate(bad)]
    found = decode("".join(lines).encode(), {"n": "int64", "f": "float64", "at": "timestamp"})
    assert found.rows["f"].to_pylist() == [n + 0.5 for n, b in enumerate(bad) if not b]
    assert [r.line for r in found.rejected] == [n for n, b in enumerate(bad) if b]


def test_values_that_only_the_reader_can_judge_are_found():
    lines = [f"{n}\n" for n in range(3000)]
    lines[700], lines[1500] = "99999999999999999999\n", "-\n"
    found = decode("".join(lines).encode(), {"n": "int64"})
    assert [r.line for r in found.rejected] == [700, 1500]
    found = decode(b"2025-01-01\n2025-13-01\n", {"d": "date"})
    assert [r.raw for r in found.rejected] == ["2025-13-01"]
    found = decode(b"1.25\n1.255\n", {"d": "decimal(5,2)"})
    assert [r.raw for r in found.rejected] == ["1.255"]


def test_a_null_where_none_may_be_is_a_bad_row():
    column = Schema.from_json([{"name": "id", "type": "int64", "nullable": False}, {"name": "s", "type": "string"}])
    found = CsvDecoder(column, ["id", "s"], PLAIN).decode(b"1,a\n,b\n")
    assert [(r.line, r.reason) for r in found.rejected] == [(1, "column 'id' is not int64, or is null")]


def test_reasons_hold_no_value_of_the_row():
    found = decode(b"secret,1\n1,secret\n", {"a": "int64", "b": "int64"})
    assert not any("secret" in r.reason for r in found.rejected)


# ---- guessing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-5", "0"], "int64"),
        (["1", "2.5", "1e3"], "float64"),
        (["1.5", "nan"], "float64"),
        (["01234", "5"], "string"),
        (["-01"], "string"),
        (["00.5"], "string"),
        (["12345678901234567890"], "string"),
        (["true", "False"], "bool"),
        (["0", "1"], "int64"),
        (["yes", "no"], "string"),
        (["2025-01-01"], "date"),
        (["2025-13-01"], "string"),
        (["2025-01-01 10:00:00", "2025-01-01"], "datetime"),
        (["2025-01-01T10:00:00Z"], "timestamp"),
        (["2025-01-01T10:00:00+02:00", "2025-01-01"], "timestamp"),
        (["1", "x"], "string"),
        (["", ""], None),
        (["", "7"], "int64"),
        (["nan"], "string"),
    ],
)
def test_types_are_guessed(values, kind):
    data = "".join(f"{v},.\n" for v in values).encode()
    assert infer(data, ["v", "dot"], PLAIN)["v"] == kind


def test_a_torn_end_of_the_sample_is_not_judged():
    assert infer(b"1,2\n3,4\n5", ["a", "b"], PLAIN) == {"a": "int64", "b": "int64"}
    assert infer(b'1,"x\n2,3', ["a", "b"], PLAIN)["a"] in ("int64", None)


def test_header_names_are_made_unique():
    fields, end = first_record(b'id,"a, b",,id\r\nrest', PLAIN)
    assert unique_names(fields) == ["id", "a, b", "column_3", "id_2"]
    assert end == len(b'id,"a, b",,id\r\n')
