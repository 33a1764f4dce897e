"""A journal on a disk that gets full: what was confirmed is there, what was not left no trace, and room helps."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from dataflare.errors import UnavailableError
from dataflare.journal import Journal
from tests.chaos.test_disk import Disk, pytestmark

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["pytestmark"]


def fill(journal: Journal, confirmed: list[bytes], size: int) -> None:
    while len(confirmed) < 10_000:
        record = b"%d" % len(confirmed) + b"x" * size
        journal.append([record])
        confirmed.append(record)


@pytest.mark.parametrize("size", [100, 5000, 70_000])
def test_a_full_disk_costs_nothing_that_was_confirmed(tmp_path: Path, size: int) -> None:
    disk = Disk(tmp_path, "1m")
    try:
        confirmed: list[bytes] = []
        with closing(Journal.open(disk.path / "journal", bytes_max=1 << 30, now=1)) as journal:
            disk.fill(20)
            with pytest.raises(UnavailableError, match="No space left"):
                fill(journal, confirmed, size)
            disk.grow()
            journal.append([b"more"])
        with closing(Journal.open(disk.path / "journal", bytes_max=1 << 30, now=1)) as journal:
            assert journal.read(0, 1 << 30).records == [*confirmed, b"more"]
            assert journal.cut_bytes == 0
    finally:
        disk.close()
