"""The PostgreSQL server of the tests: where it is, and a schema of its own for each test."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

VARIABLE = "DATAFLARE_TEST_POSTGRES"


class Place:
    """A schema, and a connection beside those of the connectors under test."""

    def __init__(self, url: str, schema: str) -> None:
        from adbc_driver_postgresql import dbapi

        self.url, self.schema = url, schema
        self._connection = dbapi.connect(url, autocommit=True)

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Execute a statement; `{}` in it is the schema."""
        with self._connection.cursor() as cursor:
            cursor.execute(sql.replace("{}", f'"{self.schema}"'), tuple(parameters) or None)
            return cursor.fetchall()

    def table(self, name: str) -> str:
        """Return a table's name with the schema, as settings write it."""
        return f"{self.schema}.{name}"

    def close(self) -> None:
        self._connection.close()


@contextmanager
def place() -> Iterator[Place]:
    """Give a new schema, removed afterwards; skip where there is no server."""
    url = os.environ.get(VARIABLE)
    if not url:
        pytest.skip(f"{VARIABLE} is not set: python scripts/services.py start, then env")
    found = Place(url, f"t_{secrets.token_hex(6)}")
    found.run("create schema {}")
    try:
        yield found
    finally:
        found.run("drop schema {} cascade")
        found.close()
