"""Says what was really written, by counts and sums, so that nobody wins by having done nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.workload import Facts

TOLERANCE = 1e-9
"""Sums of floats depend on the order in which they are added."""


def of_files(statement: str, read: str) -> Facts:
    """Return the one row of a statement in which {files} stands for a table function of DuckDB, such as
    read_parquet('out/*.parquet'); raise ValueError when there is nothing to read.
    """
    import duckdb

    with duckdb.connect() as session:
        session.execute("set threads = 2")
        try:
            cursor = session.execute(statement.format(files=read))
        except duckdb.Error as error:
            raise ValueError(str(error).splitlines()[0]) from error
        row = cursor.fetchone()
        return {column[0]: float(value or 0) for column, value in zip(cursor.description, row or (), strict=True)}


def differences(expected: Facts, found: Facts) -> list[str]:
    """Return what differs, in words; empty when the work is the same."""
    return [
        f"{name} is {found.get(name, math.nan):,.2f} instead of {value:,.2f}"
        for name, value in expected.items()
        if not math.isclose(found.get(name, math.nan), value, rel_tol=TOLERANCE)
    ]
