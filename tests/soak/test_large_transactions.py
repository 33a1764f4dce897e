"""A transaction of a million rows: it comes whole, in order and once, and the run stays within 300 MB."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.changes import part_order
from tests.chaos.paths import PATHS, ChangePath, change_path
from tests.chaos.test_memory import peak_of_run
from tests.soak.figures import amount, note

if TYPE_CHECKING:
    from pathlib import Path

ROWS, BEFORE = amount("ROWS", 1_000_000), 100
BYTES_MAX = 300 * 10**6
TEXT = "long value of a row"
TOTALS = "count(*), sum(n), sum(id), sum(length(v))"
pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


def insert_at_once(path: ChangePath) -> None:
    """Write the rows in one transaction."""
    if path.source == "postgres" and path.spot is not None:
        values = f"1000000 + n, '{TEXT} ' || n, n, md5(n::text) from generate_series(1, {ROWS}) n"
        path.spot.run(f"insert into {{}}.items select {values}")
    elif path.base is not None:
        path.base.run(
            f"insert into items select 1000000 + seq, concat('{TEXT} ', seq), seq, md5(seq) from seq_1_to_{ROWS}"
        )


def in_order(path: ChangePath) -> None:
    """Assert that files have the rows as they were written."""
    files = sorted((path.case.folder / "items").glob("part-*.parquet"), key=part_order)
    at = 0
    for file in files:
        rows = pq.read_table(file, columns=["id", "_op"])
        ids = rows.filter(pc.equal(rows["_op"], "insert"))["id"].to_pylist()
        assert ids == list(range(1_000_001 + at, 1_000_001 + at + len(ids)))
        at += len(ids)
    assert at == ROWS


@pytest.mark.parametrize(("source", "destination"), PATHS)
def test_a_transaction_of_a_million_rows_comes_whole(tmp_path: Path, source: str, destination: str) -> None:
    with change_path(source, destination, tmp_path, BEFORE) as path:
        peak_of_run(tmp_path, "--until", "now")
        insert_at_once(path)
        peak = peak_of_run(tmp_path, "--until", "now")
        if destination == "files":
            in_order(path)
        else:
            assert path.asked(destination, TOTALS, "items_copy") == path.asked(source, TOTALS, "items")
    note("large transactions", path=f"{source} to {destination}", rows=ROWS, peak_bytes=peak)
    assert peak <= BYTES_MAX, f"{peak / 1e6:.0f} MB"
