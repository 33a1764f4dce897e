"""The MariaDB server of the tests: where it is, and a database of its own for each test."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLE = "DATAFLARE_TEST_MARIADB"


class Database:
    """A database, and a connection beside those of the connectors under test."""

    def __init__(self, server: str, name: str) -> None:
        import pymysql

        self.server, self.name, self.url = server, name, f"{server}/{name}"
        parts = urlsplit(server)
        self._connection = pymysql.connect(
            host=parts.hostname,
            port=parts.port,
            user=parts.username,
            password=parts.password,
            autocommit=True,
            ssl_disabled=True,
            init_command="set time_zone = '+00:00'",
        )
        self.run(f"create database {name}")
        self._connection.select_db(name)

    def run(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """Execute a statement."""
        with self._connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return list(cursor.fetchall())

    def tables(self) -> list[str]:
        return sorted(name for (name,) in self.run("show tables"))

    def close(self) -> None:
        self.run(f"drop database {self.name}")
        self._connection.close()


@contextmanager
def guest(spot: Database, password: str) -> Iterator[tuple[str, str]]:
    """Give a user who may do nothing yet, and the address of the database for that user."""
    name = f"guest_{secrets.token_hex(4)}"
    spot.run(f"create user {name}@'%' identified by '{password}'")
    parts = urlsplit(spot.server)
    try:
        yield name, f"mysql://{name}@{parts.hostname}:{parts.port}/{spot.name}"
    finally:
        spot.run(f"drop user {name}@'%'")


@contextmanager
def database() -> Iterator[Database]:
    """Give a new database, removed afterwards; skip where there is no server."""
    server = os.environ.get(VARIABLE)
    if not server:
        pytest.skip(f"{VARIABLE} is not set: python scripts/services.py start, then env")
    found = Database(server, f"t_{secrets.token_hex(6)}")
    try:
        yield found
    finally:
        found.close()
