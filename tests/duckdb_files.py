"""DuckDB files as tests look into them, while this process has them open or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.component import Budget
from dataflare.connectors.duckdb.session import DuckdbSession

if TYPE_CHECKING:
    from pathlib import Path


def looked(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query; a file is open once in a process, so it is the instance of the connectors."""
    session = DuckdbSession(path, Budget(), write=False)
    try:
        return [tuple(row.values()) for row in session.table(sql).to_pylist()]
    finally:
        session.close()


__all__ = ["looked"]
