"""Files that are not what they are called, through the whole engine: told as what they are, before a row is lost."""

from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING

import pytest
from tests.chaos.processes import Ended, lines, run
from tests.integration.test_bad_input_files import COLUMNS, ids, workflow

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def told_as(folder: Path, name: str, content: bytes, settings: str = "") -> Ended:
    """Run over one file, whose columns are to be guessed unless `settings` declare them."""
    (folder / name).write_bytes(content)
    workflow(folder, name, settings=settings or "allow_empty: false")
    return run(folder)


OTHERS: dict[str, tuple[str, bytes, str, str]] = {
    "gzip": ("in.csv", gzip.compress(b"id,name\n1,a\n"), "packed by gzip", ".gz"),
    "gzip as JSON": ("in.jsonl", gzip.compress(b'{"id": 1}\n'), "packed by gzip", ".gz"),
    "zip": ("in.csv", b"PK\x03\x04" + bytes(100), "zip file or a spreadsheet", "unpack it"),
    "parquet": ("in.csv", b"PAR1\x15" + bytes(100), "a Parquet file", "format: parquet"),
    "UTF-16": ("in.csv", "id,name\n1,a\n".encode("utf-16"), "UTF-16", "encoding: utf-16"),
}


@pytest.mark.parametrize("columns", [COLUMNS, ""], ids=["declared", "guessed"])
@pytest.mark.parametrize("case", OTHERS)
def test_a_file_that_is_something_else_is_told_as_what_it_is(tmp_path: Path, case: str, columns: str) -> None:
    """A gzip file that is called .csv had no rows, without a word."""
    name, content, word, cure = OTHERS[case]
    told = told_as(tmp_path, name, content, columns)
    assert told.code in (1, 2), told.out
    assert told.error["code"] == "data.invalid"
    assert word in told.error["message"]
    assert cure in told.error["hint"]
    assert name in told.err
    assert ids(tmp_path) == []


@pytest.mark.parametrize("header", ["PAR1,name", "BZh,name", "1f8b,name"])
def test_names_that_resemble_other_files_are_names(tmp_path: Path, header: str) -> None:
    assert told_as(tmp_path, "in.csv", f"{header}\n1,a\n".encode()).code == 0


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ('[{"id": 1}, {"id": 2}]', "a JSON array"),
        ('[\n{"id": 1},\n{"id": 2}\n]\n', "a JSON array"),
        ('{\n  "id": 1\n}\n', "several lines"),
    ],
)
def test_json_that_is_no_lines_is_told_with_the_cure(tmp_path: Path, content: str, word: str) -> None:
    told = told_as(tmp_path, "in.jsonl", content.encode())
    assert told.code == 2
    assert word in told.error["message"]
    assert "one object a line" in told.error["hint"]


@pytest.mark.parametrize("columns", ["columns: {id: int64}", ""], ids=["declared", "guessed"])
def test_a_header_in_another_encoding_is_told(tmp_path: Path, columns: str) -> None:
    """Its names held replacement characters."""
    told = told_as(tmp_path, "in.csv", "id,né\n1,a\n".encode("latin-1"), columns)
    assert told.code == 1
    assert "0xe9" in told.error["message"]
    assert (told.error["file"], told.error["line"]) == ("in.csv", 1)
    assert "encoding: latin-1" in told.error["hint"]
    assert told_as(tmp_path, "in.csv", "id,né\n1,a\n".encode("latin-1"), "encoding: latin-1").code == 0
    assert lines(tmp_path / "out") == [{"id": 1, "né": "a"}]


@pytest.mark.parametrize(("name", "header", "cure"), [("in.csv", "id;name", "';'"), ("in.csv", "id\tname", '"\\t"')])
def test_another_delimiter_is_suspected(tmp_path: Path, name: str, header: str, cure: str) -> None:
    told = told_as(tmp_path, name, f"{header}\n1;a\n".encode())
    assert told.code == 0
    assert f"set delimiter: {cure}" in told.error["message"]


def test_files_of_several_formats_are_not_guessed_as_one(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text('{"id": 2}\n')
    (tmp_path / "a.csv").write_text("id\n1\n")
    workflow(tmp_path, "*.[cj]s*", settings="allow_empty: false")
    told = run(tmp_path)
    assert told.code == 2
    assert "a.csv (csv), b.jsonl (jsonl)" in told.error["message"]

    workflow(tmp_path, "*.[cj]s*", settings="columns: {id: int64}")
    assert run(tmp_path).code == 0
    assert sorted(ids(tmp_path)) == [1, 2]


def test_a_file_without_header_among_others_is_told_before_its_first_row_is_lost(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,name\n1,x\n")
    (tmp_path / "b.csv").write_text("2,y\n")
    workflow(tmp_path, "*.csv", settings="allow_empty: false")
    told = run(tmp_path)
    assert told.code == 2
    assert "b.csv: the file has none of the columns of a.csv: it has '2', 'y'" in told.error["message"]


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_told_as_what_it_is(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "in.csv")
    for settings in (COLUMNS, "allow_empty: false"):
        workflow(tmp_path, "in.csv", settings=settings)
        told = run(tmp_path)
        assert told.code == 3
        assert "folder" in told.error["message"]


@pytest.mark.parametrize("columns", [COLUMNS, "allow_empty: false"], ids=["declared", "guessed"])
def test_a_header_of_a_megabyte_is_told(tmp_path: Path, columns: str) -> None:
    told = told_as(tmp_path, "in.csv", b"id," + b"x" * 900_000 + b"\n1,a\n", columns)
    assert told.code in (1, 2)
    assert "in.csv" in told.err
    assert "the first record is none" in told.error["message"]


def test_a_line_of_50_megabytes_is_a_row_like_others(tmp_path: Path) -> None:
    assert told_as(tmp_path, "in.csv", b"id,name\n1," + b"x" * (50 << 20) + b"\n2,b\n", COLUMNS).code == 0
    assert [(r["id"], len(r["name"])) for r in lines(tmp_path / "out")] == [(1, 50 << 20), (2, 1)]


def test_a_quote_that_is_never_closed_before_very_many_short_lines_costs_a_line_each(tmp_path: Path) -> None:
    """What was wrong with a block grew with the square of its bad rows: this did not end in five minutes."""
    (tmp_path / "in.csv").write_bytes(b'id,name\n1,"' + b"x\n" * 200_000 + b"2,b\n")
    workflow(tmp_path, "in.csv", "skip")
    told = run(tmp_path)
    assert told.code == 0
    assert ids(tmp_path) == [2]
    assert told.rows("orders") == {"in": 200_001, "out": 1, "skipped": 200_000}
