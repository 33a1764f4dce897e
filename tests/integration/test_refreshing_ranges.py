"""`dataflare refresh --keys` takes a range as it is written, or says what is wrong with it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from tests.chaos.processes import dataflare

if TYPE_CHECKING:
    from pathlib import Path

WORKFLOW = """
id: ranges
sources: {raw: {type: file, config: {path: raw.csv, columns: {id: "decimal(20,2)", v: string}}}}
destinations: {shop: {type: sqlite, inputs: [raw], write_mode: merge, key: [id], config: {path: shop.db, table: t}}}
"""
KEYS = ["123456789012345677.00", "123456789012345678.00", "123456789012345679.00"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "raw.csv").write_text("id,v\n" + "".join(f"{key},right\n" for key in KEYS))
    (tmp_path / "workflow.yaml").write_text(WORKFLOW)
    assert dataflare(tmp_path, "run", "workflow.yaml").code == 0
    with closing(sqlite3.connect(tmp_path / "shop.db")) as file, file:
        file.execute("update t set v = 'wrong'")
    return tmp_path


def test_a_range_of_long_numbers_keeps_all_of_its_digits(folder: Path) -> None:
    done = dataflare(folder, "refresh", "workflow.yaml", "--keys", f"{KEYS[1]}..{KEYS[1]}")
    assert (done.code, done.out) == (0, "shop: 1 put; equal, 1 row compared\n"), done
    with closing(sqlite3.connect(folder / "shop.db")) as file:
        assert file.execute("select id from t where v = 'right'").fetchall() == [(KEYS[1],)]


@pytest.mark.parametrize(
    ("keys", "what", "cure"),
    [
        ("9..1", "--keys 9..1 is empty: 9 is above 1", "write --keys 1..9"),
        ("x..1", "'x' is no decimal(20,2)", "write --keys 1000..2000"),
        ("1..nan", "'nan' is no decimal(20,2)", "write --keys 1000..2000"),
    ],
)
def test_what_is_no_range_is_refused(folder: Path, keys: str, what: str, cure: str) -> None:
    done = dataflare(folder, "refresh", "workflow.yaml", "--keys", keys)
    assert (done.code, done.err) == (2, f"error: {what}\n  hint: {cure}\n")


@pytest.mark.parametrize(
    ("option", "text", "cure"),
    [("--sample", "abc", "write --sample 5%"), ("--pause", "5", "write --pause 10s"), ("--where", "z = 1", "id, v")],
)
def test_an_option_that_cannot_be_read_is_told_with_how_it_is_written(
    folder: Path, option: str, text: str, cure: str
) -> None:
    done = dataflare(folder, "verify", "workflow.yaml", option, text)
    assert (done.code, cure in done.err.partition("hint:")[2]) == (2, True), done
