"""Sheets of Excel: read as CSV is, cells exact; written with dates as dates and nothing as a formula."""

from __future__ import annotations

import datetime as dt
import decimal
import zipfile
from typing import ClassVar

import pyarrow as pa
import pytest
import python_calamine
import xlsxwriter
from pydantic import ValidationError
from tests.unit.connectors.test_file_destination import FileSuite
from tests.unit.connectors.test_file_partitions import destination, some, write_all
from tests.unit.connectors.test_file_source import OPENED, read, source

from dataflare.connectors.file.source import FileSourceConfig
from dataflare.errors import DataError, UnavailableError, WorkflowError
from dataflare.formats.excel import encode, stream
from dataflare.formats.excel.read import Area, sheet_text
from dataflare.schema import Schema
from dataflare.testing.source_suite import SourceSuite

NOON = dt.datetime(2026, 1, 31, 12, 30, 15, 250_000)  # noqa: DTZ001 - cells have no zone


@pytest.fixture(autouse=True)
def _closed():
    yield
    while OPENED:
        OPENED.pop().close()


def write(path, sheets):
    """Write {sheet: {cell: value}}."""
    book = xlsxwriter.Workbook(path)
    looks = {dt.date: "yyyy-mm-dd", dt.datetime: "yyyy-mm-dd hh:mm:ss.000", dt.time: "hh:mm:ss"}
    formats = {kind: book.add_format({"num_format": text}) for kind, text in looks.items()}
    for name, cells in sheets.items():
        sheet = book.add_worksheet(name)
        for cell, value in cells.items():
            sheet.write(cell, value, *([formats[type(value)]] if type(value) in formats else []))
    book.close()


def table(rows, top=1, left=0):
    return {
        f"{chr(65 + left + c)}{top + r}": v for r, row in enumerate(rows) for c, v in enumerate(row) if v is not None
    }


def sheets_of(path):
    book = python_calamine.CalamineWorkbook.from_path(path)
    return {name: book.get_sheet_by_name(name).to_python() for name in book.sheet_names}


@pytest.fixture
def _parts(monkeypatch):
    """Let every sheet be large, and its parts be small."""
    monkeypatch.setattr(stream, "STREAMED_BYTES_MIN", 0)
    monkeypatch.setattr(stream, "PART_BYTES", 700)
    monkeypatch.setattr(stream, "_HEAD_BYTES_MAX", 1200)
    monkeypatch.setattr(stream, "_READ_BYTES", 100)


LOOKS = ["yyyy-mm-dd", "yyyy-mm-dd hh:mm:ss", "[h]:mm:ss", "hh:mm", "0.00", "General", "@"]


def all_kinds(path, rows=300):
    """Write a workbook with cells of every kind, blank rows and columns, and texts that are shared."""
    book = xlsxwriter.Workbook(path)
    book.add_worksheet("first").write("A1", "other")
    sheet, bold = book.add_worksheet("Köln & <Sales>"), book.add_format({"bold": True})
    looks = [book.add_format({"num_format": text}) for text in LOOKS]
    sheet.write_row(2, 1, ["n", "text", "when", "flag", "made", "rich"])
    for n in (n for n in range(3, rows) if n % 50 > 4):
        sheet.write_number(n, 1, n * 1.25)
        sheet.write_string(n, 2, f"text {n % 7} <&> \n 'ü'")
        sheet.write_number(n, 3, n * 3.25, looks[n % len(looks)])
        sheet.write_boolean(n, 4, n % 2 == 0)
        sheet.write_formula(n, 5, "=1/0" if n % 3 else '="a"', None, "#DIV/0!" if n % 3 else "a")
        sheet.write_rich_string(n, 6, "plain", bold, f"bold {n}", "</row>")
    sheet.write(rows, 8, "behind the others")
    book.close()


@pytest.mark.parametrize("area", ["", "B3:D40", "C:D", "B200"])
def test_a_large_sheet_is_read_in_parts_and_has_the_same_cells(tmp_path, monkeypatch, area):
    all_kinds(tmp_path / "a.xlsx")
    chosen = ("Köln & <Sales>", Area(area))
    with (tmp_path / "a.xlsx").open("rb") as file:
        whole = b"".join(sheet_text(file, "a", *chosen))
        monkeypatch.setattr(stream, "STREAMED_BYTES_MIN", 0)
        monkeypatch.setattr(stream, "PART_BYTES", 700)
        monkeypatch.setattr(stream, "_READ_BYTES", 100)
        monkeypatch.setattr(stream, "_HEAD_BYTES_MAX", 1200)
        made = []
        monkeypatch.setattr(stream.LargeSheet, "_book", counted(stream.LargeSheet._book, made))
        assert b"".join(sheet_text(file, "a", *chosen)) == whole
    assert len(made) > (20 if area in ("", "C:D", "B200") else 2)
    assert max(made) < 20_000


def counted(function, made):
    def run(*args):
        found = function(*args)
        made.append(len(found))
        return found

    return run


@pytest.mark.usefixtures("_parts")
class TestLargeSheets(SourceSuite):
    @pytest.fixture(autouse=True)
    def files(self, tmp_path):
        self.path = tmp_path
        write(tmp_path / "a.xlsx", {"a": table([("id", "x"), *((n, f"text {n}") for n in range(300))])})

    def new(self, **changes):
        return source(self.path, path="*.xlsx", split_bytes=500, context=changes)


@pytest.mark.usefixtures("_parts")
def test_a_large_sheet_that_is_damaged_or_not_there_is_told(tmp_path):
    all_kinds(tmp_path / "a.xlsx")
    data = bytearray((tmp_path / "a.xlsx").read_bytes())
    with zipfile.ZipFile(tmp_path / "a.xlsx") as archive:
        at = archive.getinfo("xl/worksheets/sheet2.xml").header_offset + 200
    data[at : at + 50] = b"\xff" * 50
    (tmp_path / "b.xlsx").write_bytes(data)
    with pytest.raises(DataError, match=r"b\.xlsx.*not a workbook that can be read"):
        read(source(tmp_path, path="b.xlsx", sheet=2, range="B3", columns={"n": "float64"}))
    with pytest.raises(DataError, match=r"there is no sheet 'nobody'"):
        read(source(tmp_path, path="a.xlsx", sheet="nobody", columns={"n": "float64"}))


class TestSheets(SourceSuite):
    @pytest.fixture(autouse=True)
    def files(self, tmp_path):
        self.path = tmp_path
        rows = [["id", "text", "day"], *([n, f'a "{n}",\nb', dt.date(2026, 1, 1 + n % 31)] for n in range(300))]
        write(tmp_path / "a.xlsx", {"one": table(rows)})

    def new(self, **changes):
        return source(self.path, path="a.xlsx", split_bytes=1500, context=changes)


class TestFolderOfWorkbooks(FileSuite):
    config: ClassVar = {"format": "excel"}


def test_cells_are_read_exactly(tmp_path):
    rows = [
        ["id", "x", "day", "at", "clock", "flag", "code", "gap"],
        [1, 0.1, NOON.date(), NOON, dt.time(1, 2, 3), True, "007", None],
        [2, 1e300, NOON.date(), NOON, dt.time(23, 0), False, "x", "ü"],
    ]
    write(tmp_path / "a.xlsx", {"one": table(rows)})
    one = source(tmp_path, path="a.xlsx")
    types = "id int64, x float64, day date, at datetime, clock string, flag bool, code string, gap string"
    assert str(one.streams()[""].schema) == types
    found = read(one)[""]
    assert [list(r.values()) for r in found] == [
        [1, 0.1, NOON.date(), NOON, "01:02:03", True, "007", None],
        [2, 1e300, NOON.date(), NOON, "23:00:00", False, "x", "ü"],
    ]


def test_a_sheet_is_chosen_by_its_name_or_number(tmp_path):
    write(tmp_path / "a.xlsx", {"one": table([["a"], [1]]), "zwei": table([["b"], [2]])})
    assert read(source(tmp_path, path="a.xlsx"))[""] == [{"a": 1}]
    assert read(source(tmp_path, path="a.xlsx", sheet="zwei"))[""] == [{"b": 2}]
    assert read(source(tmp_path, path="a.xlsx", sheet=2))[""] == [{"b": 2}]
    with pytest.raises(DataError, match=r"a\.xlsx.*no sheet 'drei'.*'one', 'zwei'"):
        source(tmp_path, path="a.xlsx", sheet="drei")
    with pytest.raises(DataError, match="2 sheets, not 3"):
        source(tmp_path, path="a.xlsx", sheet=3)


def test_a_range_says_which_cells(tmp_path):
    cells = {"A1": "a title", **table([["id", "name", "more"], [1, "x", 5], [2, "y", 6]], top=4, left=2), "C9": "sum"}
    write(tmp_path / "a.xlsx", {"one": cells})
    whole = [{"id": 1, "name": "x", "more": 5}, {"id": 2, "name": "y", "more": 6}]
    assert read(source(tmp_path, path="a.xlsx", range="C4:E6"))[""] == whole
    assert read(source(tmp_path, path="a.xlsx", range="c4:d5"))[""] == [{"id": 1, "name": "x"}]
    assert [r["id"] for r in read(source(tmp_path, path="a.xlsx", range="C4"))[""]] == ["1", "2", "sum"]
    named = {"columns": {"n": "int64"}, "header": False, "context": {"schemas": {}}}
    assert read(source(tmp_path, path="a.xlsx", range="C5:C6", **named))[""] == [{"n": 1}, {"n": 2}]
    for text in ("C4:B2", "4C", "C9:C2"):
        with pytest.raises(ValidationError, match="range"):
            FileSourceConfig(path="a.xlsx", range=text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", (0, 0, None, None)), ("B3:F100", (1, 2, 6, 100)), ("B:F", (1, 0, 6, None)), ("AA1", (26, 0, None, None)),
     ("C", (2, 0, 3, None)), ("B3:F", (1, 2, 6, None))],
)  # fmt: skip
def test_ranges_are_understood(text, expected):
    area = Area(text)
    assert (area.left, area.top, area.right, area.bottom) == expected


def test_bad_rows_are_told_with_their_row(tmp_path):
    write(tmp_path / "a.xlsx", {"one": table([["id", "n"], [1, 1], [None, None], [2, "many"], [3, 3]])})
    config = {"columns": {"id": "int64", "n": "int64"}}
    with pytest.raises(DataError, match=r"a\.xlsx:4: .*'n'"):
        read(source(tmp_path, path="a.xlsx", context={"schemas": {}}, **config))
    found = read(source(tmp_path, path="a.xlsx", context={"schemas": {}, "on_error": "dead_letter"}, **config))
    assert [r["id"] for r in found[""]] == [1, 3]
    assert [(r["line"], r["raw"]) for r in found["errors"]] == [(4, "2,many")]


def test_what_is_no_workbook_is_named(tmp_path):
    (tmp_path / "a.xlsx").write_bytes(b"id\n1\n")
    with pytest.raises(DataError, match=r"a\.xlsx: not a workbook"):
        source(tmp_path, path="a.xlsx")
    write(tmp_path / "whole.xlsx", {"one": table([["a"], [1]])})
    (tmp_path / "b.xlsx").write_bytes((tmp_path / "whole.xlsx").read_bytes()[:-300])
    with pytest.raises(DataError, match=r"b\.xlsx: not a workbook"):
        source(tmp_path, path="b.xlsx")
    (tmp_path / "c.csv").write_bytes((tmp_path / "whole.xlsx").read_bytes())
    with pytest.raises(DataError, match=r"let its name end in \.xlsx"):
        source(tmp_path, path="c.csv")


# ---- written --------------------------------------------------------------------------------------------------------


def test_types_are_cells_of_their_kind(tmp_path):
    schema = Schema.of({
        "n": "int64", "price": "decimal(20,2)", "x": "float64", "day": "date", "at": "timestamp", "clock": "time",
        "flag": "bool", "text": "string", "tags": "list<int64>", "raw": "binary",
    })  # fmt: skip
    values = [
        [5, decimal.Decimal("1.50"), 0.1, NOON.date(), NOON.replace(tzinfo=dt.UTC), dt.time(1, 2, 3), True, "=1+1",
         [1, 2], b"x"],
        [2**60, decimal.Decimal("123456789012345678.90"), float("nan"), dt.date(1850, 1, 1), None, None, False,
         "http://x", None, None],
    ]  # fmt: skip
    rows = pa.Table.from_pylist([dict(zip(schema.names, v, strict=True)) for v in values], schema.to_arrow())
    write_all(destination(tmp_path, "o.xlsx", schema, sheet="Sales"), rows)
    (name, found), = sheets_of(tmp_path / "o.xlsx").items()  # fmt: skip
    assert name == "Sales"
    assert found[0] == schema.names
    assert found[1] == [5.0, 1.5, 0.1, NOON.date(), NOON, dt.time(1, 2, 3), True, "=1+1", "[1,2]", "eA=="]
    assert found[2] == [
        str(2**60), "123456789012345678.90", "nan", "1850-01-01", "", "", False, "http://x", "", ""
    ]  # fmt: skip


def test_a_full_sheet_is_followed_by_another(tmp_path, monkeypatch):
    monkeypatch.setattr(encode, "SHEET_ROWS_MAX", 6)
    write_all(destination(tmp_path, "o.xlsx"), some())
    found = sheets_of(tmp_path / "o.xlsx")
    assert list(found) == ["Sheet1", "Sheet1 2", "Sheet1 3"]
    assert [r[0] for rows in found.values() for r in rows[1:]] == list(range(12))
    assert all(rows[0] == ["id", "day", "land"] for rows in found.values())


def test_texts_too_long_for_a_cell_are_told(tmp_path):
    made = destination(tmp_path, "o", format="excel")
    with pytest.raises(DataError, match=r"'land': a text of 40,000 signs"):
        write_all(made, pa.table({"id": [1], "day": [None], "land": ["x" * 40_000]}))
    made.close()


def test_a_workbook_is_replaced_and_not_appended_to(tmp_path):
    write_all(destination(tmp_path, "o.xlsx"), some(2))
    write_all(destination(tmp_path, "o.xlsx", changes={"write_mode": "overwrite", "attempt": 2}), some(3), epoch=2)
    assert len(sheets_of(tmp_path / "o.xlsx")["Sheet1"]) == 4
    made = destination(tmp_path, "o.xlsx", changes={"attempt": 3})
    with pytest.raises(UnavailableError, match="the rows are kept"):
        write_all(made, some(4), epoch=3)
    (tmp_path / "o.xlsx").rename(tmp_path / "old.xlsx")  # the cure
    made.finish()
    made.close()
    assert len(sheets_of(tmp_path / "o.xlsx")["Sheet1"]) == 5


def test_workbooks_are_not_packed(tmp_path):
    with pytest.raises(WorkflowError, match="excel is not written with zstd"):
        destination(tmp_path, "o.xlsx", compression="zstd").open()
