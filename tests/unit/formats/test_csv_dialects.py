"""CSV as it is found and as it is wanted: words, numbers, dates, comments, quotes."""

from __future__ import annotations

import csv
import datetime as dt
import io
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.formats.test_csv import decode, encode

from dataflare.errors import DataError, WorkflowError
from dataflare.formats.csv.encode import header_line
from dataflare.formats.csv.infer import infer
from dataflare.formats.csv.options import CsvOptions
from dataflare.formats.csv.records import records, whole_records

GERMAN = CsvOptions(
    delimiter=";",
    decimal=",",
    thousands=".",
    true_words=("ja", "wahr"),
    false_words=("nein",),
    moments=("%d.%m.%Y", "%d.%m.%Y %H:%M:%S"),
)
TYPES = {"n": "int64", "x": "float64", "d": "decimal(12,2)", "b": "bool", "day": "date", "at": "datetime"}
LINE = b"1.234;-1.234,5;9.999,99;wahr;31.01.2026;31.01.2026 12:30:00\n"


def test_numbers_words_and_dates_are_read_as_the_dialect_says():
    found = decode(LINE + b";;;;;\n", TYPES, options=GERMAN)
    first, nulls = found.rows.to_pylist()
    assert first == {
        "n": 1234,
        "x": -1234.5,
        "d": Decimal("9999.99"),
        "b": True,
        "day": dt.date(2026, 1, 31),
        "at": dt.datetime(2026, 1, 31, 12, 30),  # noqa: DTZ001 - a reading of a clock on a wall
    }
    assert set(nulls.values()) == {None}


def test_their_types_are_guessed():
    sample = LINE + b"7;2,5;3;nein;2026-02-01;01.02.2026 00:00:01\n"
    guessed = infer(sample, list(TYPES), GERMAN)
    assert guessed == {**TYPES, "d": "float64"}
    assert infer(b"007;1.5\n", ["zip", "x"], GERMAN) == {"zip": "string", "x": "string"}


@pytest.mark.parametrize(
    ("column", "text"),
    [("n", "1,5"), ("x", "eins"), ("n", "1.5"), ("b", "true"), ("day", "31.01.2026 12:00:00"), ("at", "31/1")],
)
def test_what_is_written_otherwise_is_a_bad_row_of_that_column(column, text):
    values = dict(zip(TYPES, LINE.decode().strip().split(";"), strict=True))
    bad = ";".join({**values, column: text}.values()).encode() + b"\n"
    found = decode(LINE + bad + LINE, TYPES, options=GERMAN)
    assert found.rows.num_rows == 2
    (rejected,) = found.rejected
    assert rejected.line == 1
    assert column in rejected.reason
    assert text not in rejected.reason


def test_what_a_dialect_writes_it_reads():
    rows = pa.table(
        {
            "n": pa.array([1234567, None]),
            "x": pa.array([-0.5, 12.25]),
            "d": pa.array([Decimal("1.50"), None], pa.decimal128(12, 2)),
            "b": pa.array([True, False]),
            "day": pa.array([dt.date(2026, 1, 31), None]),
            "at": pa.array([dt.datetime.fromisoformat("2026-01-31T23:59:58"), None], pa.timestamp("us")),
        }
    )
    text = encode(rows, GERMAN)
    assert text.splitlines()[1] == b"1234567;-0,5;1,50;ja;31.01.2026;31.01.2026 23:59:58"
    assert decode(text.split(b"\n", 1)[1], TYPES, options=GERMAN).rows.to_pylist() == rows.to_pylist()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.text(alphabet="ab;'\\\n ", max_size=5), min_size=2, max_size=2), min_size=1, max_size=8))
def test_quotes_and_escapes_come_back(values):
    options = CsvOptions(delimiter=";", quote="'", escape="\\", header=False, line_end="\r\n", quote_all=True)
    rows = pa.table({"a": [v[0] for v in values], "b": [v[1] for v in values]})
    assert decode(encode(rows, options), {"a": "string", "b": "string"}, options=options).rows.to_pylist() == (
        rows.to_pylist()
    )


def test_python_reads_what_is_quoted_throughout():
    options = CsvOptions(quote_all=True, line_end="\r\n")
    text = encode(pa.table({"a": ['x"y', None], "n": [1, 2]}), options).decode()
    assert list(csv.reader(io.StringIO(text, newline=""))) == [["a", "n"], ['x"y', "1"], ["", "2"]]


def test_without_quotes_nothing_is_written_that_reads_otherwise():
    options = CsvOptions(quote="")
    assert encode(pa.table({"a": ['x"', "y"]}), options) == b'a\nx"\ny\n'
    with pytest.raises(DataError, match="holds the delimiter"):
        encode(pa.table({"a": ["x,y"], "b": [1]}), options)
    with pytest.raises(WorkflowError, match="without quotes"):
        header_line(["a,b"], options)


# ---- comments -------------------------------------------------------------------------------------------------------

NOTED = CsvOptions(comment="#")
COMMENTED = b'# a "quote that nobody closes\n1,"x\n# no comment"\n#\n2,#y\n# the end'


def test_comments_are_no_records_and_a_sign_inside_quotes_is_text():
    found = decode(COMMENTED, {"a": "int64", "b": "string"}, options=NOTED)
    assert found.rows.to_pylist() == [{"a": 1, "b": "x\n# no comment"}, {"a": 2, "b": "#y"}]
    assert [COMMENTED[r.start : r.start + 1] for r in records(COMMENTED, NOTED)] == [b"1", b"2"]


@pytest.mark.parametrize("cut", range(len(COMMENTED)))
def test_no_cut_takes_a_comment_for_an_open_quote(cut):
    whole = whole_records(COMMENTED, NOTED, cut)
    assert whole in (0, 30, 49, 51, 56)
    both = [*records(COMMENTED[:whole], NOTED), *records(COMMENTED[whole:], NOTED)]
    assert len(both) == 2


def test_bad_rows_keep_their_lines_among_comments():
    found = decode(b"# one\n1\n# two\nx\n", {"a": "int64"}, options=NOTED)
    assert [(r.line, r.raw) for r in found.rejected] == [(3, "x")]


@pytest.mark.parametrize(
    "wrong",
    [
        {"comment": ","},
        {"decimal": ""},
        {"decimal": ".", "thousands": "."},
        {"true_words": ("yes",)},
        {"true_words": ("x",), "false_words": ("x",)},
        {"comment": "//"},
    ],
)
def test_impossible_dialects_are_refused(wrong):
    with pytest.raises(WorkflowError):
        CsvOptions(**wrong)
