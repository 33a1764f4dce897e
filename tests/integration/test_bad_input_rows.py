"""Rows that cannot be read, through the whole engine: told by file and line, left out, or kept as dead letters."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.chaos.processes import Ended, lines, run

if TYPE_CHECKING:
    from pathlib import Path

WORKFLOW = """
id: bad
runtime: {{checkpoint: {{interval: 50ms}}, state: {{type: sqlite, path: state}}}}
sources:
  orders:
    type: file
    config: {{path: "{path}", {settings}}}
    on_error: {{action: {action}}}
destinations:
  rows: {{type: file, inputs: [orders], config: {{path: out, format: jsonl}}}}
"""
DEAD = """  dead: {type: file, inputs: ["*.errors"], config: {path: dead, format: jsonl}}
"""
COLUMNS = "columns: {id: int64, name: string, qty: int64}"
GARBAGE = bytes((n * n * 7 + n // 3) % 256 for n in range(5000))
LONG = b"x" * (20 << 20)


def attempt(folder: Path, files: dict[str, Any], action: str, *, path: str = "", settings: str = COLUMNS) -> Ended:
    """Run a workflow over these files; with dead letters where that is the action."""
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    text = WORKFLOW.format(path=path or next(iter(files)), settings=settings, action=action)
    (folder / "workflow.yaml").write_text(text + (DEAD if action == "dead_letter" else ""))
    return run(folder)


def reasons(folder: Path) -> dict[tuple[str, int], str]:
    """Return why each dead letter is dead, by file and line; all of them name their node and hold their text."""
    found = lines(folder / "dead")
    assert all(r["node"] == "orders" and r["row"] for r in found)
    told = {(r["file"], r["line"]): r["error"] for r in found}
    assert len(told) == len(found), "twice"
    return told


def counted(told: Ended, folder: Path, *, good: int, bad: int) -> None:
    """Assert that each row was counted once, and is either at the destination or among the dead letters."""
    assert told.code == 0, told.err
    fates = told.rows("orders")
    assert fates == {k: n for k, n in {"in": good + bad, "out": good, "dead": bad}.items() if n}
    assert len(lines(folder / "out")) == good
    assert len(lines(folder / "dead")) == bad


MALFORMED = 'id,name,qty\n1,a,2\n2,b\n3,c,x\n4,d,5,6\n5,"e,6\n6,f,7\n'
WHY = {
    ("in.csv", 3): "the row has not 3 columns",
    ("in.csv", 4): "column 'qty' is not int64",
    ("in.csv", 5): "the row has not 3 columns",
    ("in.csv", 6): "a quote is never closed",
}


def test_a_malformed_row_fails_the_run_with_file_line_reason_and_cure(tmp_path: Path) -> None:
    told = attempt(tmp_path, {"in.csv": MALFORMED}, "fail")
    assert told.code == 1
    assert told.summary["status"] == "failed"
    error = told.error
    assert error == told.summary["error"]
    assert (error["code"], error["file"], error["line"], error["path"]) == ("data.invalid", "in.csv", 3, "orders")
    assert error["message"] == WHY["in.csv", 3]
    assert "on_error: {action: dead_letter}" in error["hint"]
    assert lines(tmp_path / "out") == []


def test_malformed_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    told = attempt(tmp_path, {"in.csv": MALFORMED}, "skip")
    assert told.code == 0
    assert told.rows("orders") == {"in": 6, "out": 2, "skipped": 4}
    assert [r["id"] for r in lines(tmp_path / "out")] == [1, 6]


def test_malformed_rows_become_dead_letters_with_file_line_and_reason(tmp_path: Path) -> None:
    told = attempt(tmp_path, {"in.csv": MALFORMED}, "dead_letter")
    counted(told, tmp_path, good=2, bad=4)
    assert reasons(tmp_path) == WHY


def test_many_malformed_rows_in_many_splits_are_neither_lost_nor_told_twice(tmp_path: Path) -> None:
    rows = [f"{n},n{n},{'many' if n % 7 == 0 else n}" + (",more" if n % 11 == 0 else "") for n in range(6000)]
    told = attempt(
        tmp_path,
        {"in.csv": "\n".join(["id,name,qty", *rows]) + "\n"},
        "dead_letter",
        settings=f"split_bytes: 3kB, {COLUMNS}",
    )
    bad = {n for n in range(6000) if n % 7 == 0 or n % 11 == 0}
    counted(told, tmp_path, good=6000 - len(bad), bad=len(bad))
    assert {line - 2 for _, line in reasons(tmp_path)} == bad
    assert [r["id"] for r in lines(tmp_path / "out")] == [n for n in range(6000) if n not in bad]


def test_bytes_that_are_no_utf_8_are_dead_letters(tmp_path: Path) -> None:
    told = attempt(tmp_path, {"in.csv": b"id,name,qty\n1,a,2\n2,b\xff,3\n3,\xe4\n4,d,5\n"}, "dead_letter")
    counted(told, tmp_path, good=2, bad=2)
    why = {("in.csv", 3): "column 'name' is not valid UTF-8", ("in.csv", 4): "the row has not 3 columns"}
    assert reasons(tmp_path) == why
    assert lines(tmp_path / "dead")[0]["row"] == r"2,b\xff,3"


def test_a_file_in_another_encoding_than_declared_is_named(tmp_path: Path) -> None:
    told = attempt(tmp_path, {"in.csv": "id,name,qty\n1,a,2\n".encode("utf-16")}, "skip")
    assert (told.code, told.error["file"]) == (1, "in.csv")
    assert "encoding" in told.error["hint"]


@pytest.mark.parametrize("content", [b"id,name,qty\n1,a,2\n", b"\xff\xfei\0d\0,\0\x00\xd8"])
def test_a_file_that_is_not_the_declared_utf_16_is_named(tmp_path: Path, content: bytes) -> None:
    told = attempt(tmp_path, {"in.csv": content}, "dead_letter", settings=f"encoding: utf-16, {COLUMNS}")
    assert (told.code, told.error["code"], told.error["file"]) == (1, "data.invalid", "in.csv")
    assert "the file is not utf-16" in told.error["message"]
    assert told.error["hint"] == "say the right encoding"


def test_binary_garbage_among_rows_is_dead_letters(tmp_path: Path) -> None:
    told = attempt(tmp_path, {"in.csv": b"id,name,qty\n1,a,2\n" + GARBAGE + b"\n2,b,3\n"}, "dead_letter")
    dead = len(lines(tmp_path / "dead"))
    assert dead > 10
    counted(told, tmp_path, good=2, bad=dead)
    assert [r["id"] for r in lines(tmp_path / "out")] == [1, 2]
    assert told.err == ""


@pytest.mark.parametrize("action", ["fail", "skip", "dead_letter"])
def test_a_file_of_binary_garbage_is_named_whatever_the_policy(tmp_path: Path, action: str) -> None:
    told = attempt(tmp_path, {"in.csv": GARBAGE}, action)
    assert (told.code, told.error["code"], told.error["file"]) == (1, "data.invalid", "in.csv")
    assert "the header is not valid UTF-8" in told.error["message"]
    assert told.error["hint"]


def test_a_line_of_20_megabytes_is_a_row_like_others(tmp_path: Path) -> None:
    content = b"id,name,qty\n1,a,2\n2," + LONG + b",3\n3,c,4\n"
    told = attempt(tmp_path, {"in.csv": content}, "fail")
    assert told.code == 0, told.err
    assert told.rows("rows") == {"in": 3, "out": 3}
    assert [(r["id"], len(r["name"]), r["qty"]) for r in lines(tmp_path / "out")] == [
        (1, 1, 2),
        (2, len(LONG), 3),
        (3, 1, 4),
    ]


def test_a_bad_line_of_20_megabytes_is_a_dead_letter_like_others(tmp_path: Path) -> None:
    content = b"id,name,qty\n1,a,2\n2," + LONG + b"\n3,c,4\n"
    told = attempt(tmp_path, {"in.csv": content}, "dead_letter")
    counted(told, tmp_path, good=2, bad=1)
    assert reasons(tmp_path) == {("in.csv", 3): "the row has not 3 columns"}
    assert len(lines(tmp_path / "dead")[0]["row"]) == len(LONG) + 2


JSON_LINES = [
    '{"id":1,"name":"a","qty":2}',
    "nonsense",
    '{"id":2',
    "[1]",
    '{"id":"x","name":"b","qty":1}',
    "\0",
    '{"id":4,"name":"d","qty":1.5}',
    '{"id":99999999999999999999,"name":"d","qty":1}',
    '{"id":1e999999999,"name":"d","qty":1}',
    "NaN",
    '{"id":6,"name":"f","qty":NaN}',
    '{"id":6,"name":"f","qty":-Infinity}',
    '{"id":7,"name":"g","qty":8}',
]


def test_json_garbage_is_dead_letters(tmp_path: Path) -> None:
    told = attempt(tmp_path, {"in.jsonl": "\n".join(JSON_LINES) + "\n"}, "dead_letter")
    counted(told, tmp_path, good=2, bad=11)
    why = reasons(tmp_path)
    assert [line for _, line in sorted(why)] == list(range(2, 13))
    assert why["in.jsonl", 2] == "the line is not JSON: Expecting value at column 1"
    assert why["in.jsonl", 4] == "the line is not a JSON object"
    assert why["in.jsonl", 5] == "column 'id' is not int64"
    assert why["in.jsonl", 7] == why["in.jsonl", 11] == why["in.jsonl", 12] == "column 'qty' is not int64"
    assert sorted(r["id"] for r in lines(tmp_path / "out")) == [1, 7]


def test_binary_json_garbage_is_dead_letters(tmp_path: Path) -> None:
    told = attempt(tmp_path, {"in.jsonl": json.dumps({"id": 1}).encode() + b"\n" + GARBAGE}, "dead_letter")
    counted(told, tmp_path, good=1, bad=len(lines(tmp_path / "dead")))
    assert ("in.jsonl", 3) in reasons(tmp_path)


def test_a_json_line_of_20_megabytes_is_a_row_like_others(tmp_path: Path) -> None:
    content = b'{"id":1}\n{"id":2,"name":"' + LONG + b'"}\n{"id":3}\n'
    told = attempt(tmp_path, {"in.jsonl": content}, "fail")
    assert told.code == 0, told.err
    assert [(r["id"], len(r["name"] or "")) for r in lines(tmp_path / "out")] == [(1, 0), (2, len(LONG)), (3, 0)]


# ---- many files --------------------------------------------------------------------------------------------------


def test_missing_columns_are_null_and_told(tmp_path: Path) -> None:
    files = {"in-1.csv": "id,name,qty\n1,a,2\n", "in-2.csv": "id,name\n2,b\n"}
    told = attempt(tmp_path, files, "fail", path="in-*.csv")
    assert told.code == 0
    assert [r["qty"] for r in lines(tmp_path / "out")] == [2, None]
    warning = json.loads(told.err)
    assert (warning["severity"], warning["code"]) == ("warning", "file.missing_columns")
    assert "in-2.csv lacks 'qty'" in warning["message"]


@pytest.mark.parametrize(
    ("second", "setting", "word"),
    [
        ("id,name\n2,b\n", "missing_columns", "the file lacks 'qty'"),
        ("id,name,qty,more\n2,b,3,4\n", "extra_columns", "does not know: 'more'"),
    ],
)
def test_missing_and_extra_columns_can_be_errors(tmp_path: Path, second: str, setting: str, word: str) -> None:
    files = {"in-1.csv": "id,name,qty\n1,a,2\n", "in-2.csv": second}
    told = attempt(tmp_path, files, "dead_letter", path="in-*.csv", settings=f"{setting}: error, {COLUMNS}")
    assert (told.code, told.error["file"]) == (1, "in-2.csv")
    assert word in told.error["message"]
    assert "contract: {columns: evolve}" in told.error["hint"]


def test_columns_in_another_order_are_matched_by_name(tmp_path: Path) -> None:
    files = {"in-1.csv": "id,name,qty\n1,a,2\n", "in-2.csv": "more,qty,id,name\nx,3,2,b\n"}
    told = attempt(tmp_path, files, "fail", path="in-*.csv")
    assert told.code == 0
    assert lines(tmp_path / "out") == [{"id": 1, "name": "a", "qty": 2}, {"id": 2, "name": "b", "qty": 3}]


def drifting() -> dict[str, str]:
    """Return nine files, of which the fifth, which no sample sees, has text where the others have numbers."""
    return {f"in-{n}.csv": f"id,name,qty\n{n},a,{'many' if n == 5 else n}\n" for n in range(1, 10)}


def test_types_that_drift_between_files_fail_by_file_and_line(tmp_path: Path) -> None:
    told = attempt(tmp_path, drifting(), "fail", path="in-*.csv", settings="format: csv")
    assert (told.code, told.error["file"], told.error["line"]) == (1, "in-5.csv", 2)
    assert told.error["message"] == "column 'qty' is not int64"
    assert "declare other types under `columns`" in told.error["hint"]

    (tmp_path / "in-5.csv").write_text("id,name,qty\n5,a,5\n")
    assert run(tmp_path).code == 0
    assert [r["id"] for r in lines(tmp_path / "out")] == list(range(1, 10))


def test_types_that_drift_between_files_are_dead_letters(tmp_path: Path) -> None:
    told = attempt(tmp_path, drifting(), "dead_letter", path="in-*.csv", settings="format: csv")
    counted(told, tmp_path, good=8, bad=1)
    assert reasons(tmp_path) == {("in-5.csv", 2): "column 'qty' is not int64"}


# ---- the share of bad rows ---------------------------------------------------------------------------------------


def limited(folder: Path, rows: int, bad: int, rate: str) -> Ended:
    """Run over rows of which some are bad, with a limit, in one epoch."""
    body = "".join(f"{n},a,{'x' if n < bad else n}\n" for n in range(rows))
    policy = "{action: dead_letter, max_rate: " + rate + "}"
    (folder / "in.csv").write_text("id,name,qty\n" + body)
    text = WORKFLOW.format(path="in.csv", settings=COLUMNS, action="X").replace("{action: X}", policy)
    (folder / "workflow.yaml").write_text(text.replace("50ms", "60s") + DEAD)
    return run(folder)


def test_more_bad_rows_than_allowed_fail_with_the_numbers(tmp_path: Path) -> None:
    told = limited(tmp_path, rows=2000, bad=21, rate="1%")
    assert (told.code, told.error["code"], told.error["path"]) == (1, "data.invalid", "orders")
    assert told.error["message"] == "21 of 2,000 rows were rejected, more than the 1.00% allowed"
    assert "on_error.max_rate" in told.error["hint"]
    assert lines(tmp_path / "out") == lines(tmp_path / "dead") == []


def test_as_many_bad_rows_as_allowed_pass(tmp_path: Path) -> None:
    counted(limited(tmp_path, rows=2000, bad=20, rate="1%"), tmp_path, good=1980, bad=20)


def test_the_share_of_bad_rows_is_also_judged_where_epochs_are_small(tmp_path: Path) -> None:
    body = "".join(f"{n},a,{'x' if n % 2 else n}\n" for n in range(6000))
    (tmp_path / "in.csv").write_text("id,name,qty\n" + body)
    text = WORKFLOW.format(path="in.csv", settings=f"split_bytes: 1kB, {COLUMNS}", action="X")
    text = text.replace("{action: X}", "{action: dead_letter, max_rate: 1%}").replace("50ms", "1ms")
    (tmp_path / "workflow.yaml").write_text(text + DEAD)
    assert run(tmp_path).code == 1
