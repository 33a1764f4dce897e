"""Files that differ from the plan: columns that come and go, types that change, and what the contract says of them."""

from __future__ import annotations

import datetime as dt
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.unit.connectors.test_file_arrow import write as write_arrow
from tests.unit.connectors.test_file_source import OPENED, read, source

from dataflare.component.judging import Judge
from dataflare.errors import DataError, WorkflowError
from dataflare.schema import Schema
from dataflare.testing.source_suite import SourceSuite

TYPES = {"id": "int64", "x": "int64"}


@pytest.fixture(autouse=True)
def _closed():
    yield
    while OPENED:
        OPENED.pop().close()


def held(tmp_path, contract, events=None, **config):
    """Return a source whose plan has `TYPES`, guessed from the first file, and a contract."""
    planned = {"": Schema.of(TYPES)}
    return source(tmp_path, events, context={"contract": contract, "schemas": planned}, **config)


def csv_files(tmp_path):
    (tmp_path / "1.csv").write_text("id,x\n1,1\n")
    (tmp_path / "2.csv").write_text("id,more\n2,2\n")


def parquet_files(tmp_path):
    pq.write_table(pa.table({"id": [1], "x": [1]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"id": [2], "more": ["m"]}), tmp_path / "2.parquet")


@pytest.mark.parametrize("make", [csv_files, parquet_files])
@pytest.mark.parametrize(
    ("word", "told"),
    [("evolve", ["file.missing_columns", "file.extra_columns"]), ("discard", ["file.missing_columns"]), (None, None)],
)
def test_columns_may_come_and_go(tmp_path, make, word, told):
    make(tmp_path)
    events = []
    one = held(tmp_path, {"columns": word} if word else {}, events, path="[12].*")
    assert read(one)[""] == [{"id": 1, "x": 1}, {"id": 2, "x": None}]
    assert [e.code for e in events] == (told or ["file.missing_columns", "file.extra_columns"])


@pytest.mark.parametrize("make", [csv_files, parquet_files])
def test_frozen_columns_may_not(tmp_path, make):
    make(tmp_path)
    with pytest.raises(DataError, match=r"2\..*lacks 'x'"):
        read(held(tmp_path, {"columns": "freeze"}, path="[12].*"))
    for file in tmp_path.glob("2.*"):
        file.unlink()
    (tmp_path / "3.csv").write_text("id,x,more\n3,3,3\n")
    with pytest.raises(DataError, match=r"3\.csv.*does not know: 'more'"):
        read(held(tmp_path, {"columns": "freeze"}, path="3.csv"))


def test_the_word_of_the_contract_counts_more_than_the_settings(tmp_path):
    csv_files(tmp_path)
    one = held(tmp_path, {"columns": "evolve"}, path="*.csv", missing_columns="error", extra_columns="error")
    assert len(read(one)[""]) == 2


def test_frozen_types_may_be_narrower_and_nothing_else(tmp_path):
    pq.write_table(pa.table({"id": pa.array([1], pa.int16()), "x": [1]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"id": [2], "x": [2.0]}), tmp_path / "2.parquet")
    frozen = {"data_type": "freeze"}
    assert read(held(tmp_path, frozen, path="1.parquet"))[""] == [{"id": 1, "x": 1}]
    with pytest.raises(DataError, match=r"2\.parquet.*'x' is float64 in this file, not int64"):
        read(held(tmp_path, frozen, path="2.parquet"))
    assert read(held(tmp_path, {"data_type": "evolve"}, path="2.parquet"))[""] == [{"id": 2, "x": 2}]


class TestRowsThatDoNotFit(SourceSuite):
    @pytest.fixture(autouse=True)
    def files(self, tmp_path):
        self.path = tmp_path
        pq.write_table(pa.table({"id": range(100), "x": range(100)}), tmp_path / "1.parquet", row_group_size=10)
        texts = [str(n) if n % 7 else f"no {n}" for n in range(100)]
        pq.write_table(pa.table({"id": range(100), "x": texts}), tmp_path / "2.parquet", row_group_size=10)
        pq.write_table(pa.table({"id": range(9), "x": [[n] for n in range(9)]}), tmp_path / "3.parquet")

    def new(self, **changes):
        return source(self.path, path="*.parquet", columns=TYPES, split_bytes=400,
                      context={"on_error": "dead_letter", **changes})  # fmt: skip

    def test_they_are_put_aside_with_a_reason_and_no_value_in_it(self):
        found = read(self.new())
        assert len(found[""]) == 100 + 85
        assert len(found["errors"]) == 15 + 9
        first, last = found["errors"][0], found["errors"][-1]
        assert first["error"] == "column 'x': a value of type string is no int64"
        assert (first["file"], first["line"], json.loads(first["raw"])) == ("2.parquet", None, {"id": 0, "x": "no 0"})
        assert last["error"] == "column 'x': a value of type list<element: int64> is no int64"

    def test_they_end_a_run_that_has_no_place_for_them(self):
        with pytest.raises(DataError, match=r"2\.parquet.*not all of it fits in int64"):
            read(self.new(on_error="fail"))


def test_rows_of_arrow_that_do_not_fit_are_put_aside_too(tmp_path):
    write_arrow(tmp_path / "a.arrow", [pa.table({"id": [1, 2, 3], "x": [1.0, 2.5, 3.0]})])
    found = read(source(tmp_path, path="a.arrow", columns=TYPES, context={"on_error": "skip"}))
    assert found[""] == [{"id": 1, "x": 1}, {"id": 3, "x": 3}]
    assert [json.loads(r["raw"])["x"] for r in found["errors"]] == [2.5]


def test_a_row_is_bad_once_and_nulls_are_never():
    rows = pa.table({"a": ["1", "x", None, "y"], "b": ["2026-01-01", "no", None, "2026-01-02"], "c": [dt.date.min] * 4})
    schema = Schema.of({"a": "int64", "b": "date", "c": "date", "d": "int64"})
    found = Judge(schema, "evolve", "file", "f").misfits(rows)
    assert list(found) == [1, 3]
    assert found[1].startswith("column 'a'")


def test_the_sample_is_what_the_settings_say(tmp_path):
    for number in range(9):
        kind = "x" if number == 4 else number
        (tmp_path / f"{number}.csv").write_text(f"id\n{kind}\n")
    assert str(source(tmp_path, path="*.csv").streams()[""].schema) == "id int64"
    assert str(source(tmp_path, path="*.csv", sample_files=9).streams()[""].schema) == "id string"
    assert str(source(tmp_path, path="*.csv", sample_files=1).streams()[""].schema) == "id int64"
    (tmp_path / "long.csv").write_text("id\n" + "1\n" * 100_000 + "x\n")
    assert str(source(tmp_path, path="long.csv", sample_bytes="2kB").streams()[""].schema) == "id int64"
    assert str(source(tmp_path, path="long.csv").streams()[""].schema) == "id string"


@pytest.mark.parametrize("path", ["a.parquet", "a.avro", "a.xlsx"])
def test_files_that_are_read_whole_are_not_followed(tmp_path, path):
    one = source(tmp_path, path=path, columns=TYPES, context={"mode": "streaming"})
    with pytest.raises(WorkflowError, match="cannot be followed"):
        one.open()
