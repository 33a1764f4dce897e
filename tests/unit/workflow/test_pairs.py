"""Every mode of a source with every write mode: what is refused, what is warned of, and what is right."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from dataflare.component import Registry
from dataflare.workflow import load

if TYPE_CHECKING:
    from pathlib import Path

READ = "{{type: sqlite, mode: {}, config: {{path: shop.db, table: orders{}}}}}"
NEW = ", incremental: {{cursor_field: {}}}"
SOURCES = {
    "full": READ.format("full", ""),
    "by time": READ.format("incremental", NEW.format("at")),
    "by key": READ.format("incremental", NEW.format("id")),
    "with deletes": READ.format("incremental", NEW.format("at, deletes: {compare: keys}")),
    "again": READ.format("incremental", NEW.format("at, lag: 1h, overlap: all")),
    "streaming": "{type: generator, mode: streaming, config: {rows: 9, columns: {id: sequence, at: timestamp}}}",
    "changes": "{type: memory, config: {columns: {id: int64, at: timestamp}, changes: {key: [id]}, rows: []}}",
}
MODES = ("append", "overwrite", "merge", "delete_insert", "insert_only", "update", "scd2")
TABLE = {
    "full": ("", "", "deleted_rows_stay", "", "", "", "deleted_rows_stay"),
    "by time": ("rows_repeat", "new_rows_replace", "", "new_rows_replace", "changes_left_out", "", ""),
    "by key": ("", "new_rows_replace", "", "new_rows_replace", "", "", ""),
    "with deletes": ("REFUSED", "REFUSED", "", "REFUSED", "REFUSED", "REFUSED", ""),
    "again": ("ROWS_AGAIN rows_repeat", "new_rows_replace", "", "new_rows_replace", "changes_left_out", "", ""),
    "streaming": ("", "never_shown", "", "never_shown", "", "", ""),
    "changes": ("REFUSED", "REFUSED", "", "REFUSED", "REFUSED", "REFUSED", ""),
}
"""What is said in the order of MODES; a refusal is written large."""
INTO = "{{type: sqlite, inputs: [orders], write_mode: {}{}, config: {{path: out.db, table: orders{}}}}}"


def said(folder: Path, source: str, into: str, head: str = "") -> list[str]:
    """Return the codes of what is said of a source and a destination, those of errors large."""
    with closing(sqlite3.connect(folder / "shop.db")) as connection:
        connection.execute("create table if not exists orders (id integer primary key, at timestamp, email text)")
    text = f"id: pairs\n{head}sources:\n  orders: {source}\ndestinations:\n  out: {into}\n"
    (folder / "workflow.yaml").write_text(text)
    found = load(folder / "workflow.yaml", registry=Registry.installed(), environ={}, level="sample").findings
    assert all(f.hint and f.place.line for f in found if f.severity != "info")
    codes = [(f.severity, f.code.removeprefix("workflow.")) for f in found]
    return [c.upper() if s == "error" else c for s, c in codes if s != "info"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("source", SOURCES)
def test_what_is_said_of_a_mode_and_a_write_mode(tmp_path: Path, source: str, mode: str) -> None:
    key = "" if mode in ("append", "overwrite") else ", key: [id]"
    codes = said(tmp_path, SOURCES[source], INTO.format(mode, key, ""))
    expected = TABLE[source][MODES.index(mode)]
    if expected == "REFUSED":
        assert any(code.isupper() for code in codes)
    else:
        assert codes == expected.split()


def test_a_schedule_reads_a_whole_table_again_and_again(tmp_path: Path) -> None:
    schedule = "schedule: {type: interval, interval: 1h}\n"
    assert said(tmp_path, SOURCES["full"], INTO.format("append", "", ""), schedule) == ["rows_added_again"]
    assert said(tmp_path, SOURCES["full"], INTO.format("overwrite", "", ""), schedule) == []
    assert said(tmp_path, SOURCES["by key"], INTO.format("append", "", ""), schedule) == []


@pytest.mark.parametrize("mode", ["merge", "insert_only", "scd2"])
def test_a_key_that_several_rows_may_share_is_told(tmp_path: Path, mode: str) -> None:
    codes = said(tmp_path, SOURCES["by key"], INTO.format(mode, ", key: [email]", ""))
    assert codes == ["rows_share_keys"]
    assert said(tmp_path, SOURCES["by key"], INTO.format(mode, ", key: [id, email]", "")) == []


def test_deletes_that_nobody_heeds_are_told(tmp_path: Path) -> None:
    merge = INTO.format("merge", ", key: [id]", ", deletes: ignore")
    assert said(tmp_path, SOURCES["with deletes"], merge) == ["deletes_ignored"]
    file = "{type: file, inputs: [orders], write_mode: overwrite, config: {path: out, format: jsonl}}"
    assert said(tmp_path, SOURCES["with deletes"], file) == ["changes_replace"]
    log = INTO.format("append", "", ", changes: {op: what}")
    assert said(tmp_path, SOURCES["with deletes"], log) == []


def test_changes_are_applied_by_their_own_key_alone(tmp_path: Path) -> None:
    for source in ("with deletes", "changes"):
        assert said(tmp_path, SOURCES[source], INTO.format("merge", ", key: [at]", "")) == ["KEY_DIFFERS"]


def test_deletes_need_a_key_that_is_read(tmp_path: Path) -> None:
    source = SOURCES["with deletes"].replace("table: orders", "query: select id as at from orders")
    assert any(code.isupper() for code in said(tmp_path, source, INTO.format("merge", ", key: [at]", "")))
