"""The PostgreSQL server of the tests: where it is, and a schema of its own for each test."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

VARIABLE = "DATAFLARE_TEST_POSTGRES"
SERVICES = Path(__file__).resolve().parents[1] / "scripts" / "services.py"


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
def guest(spot: Place, password: str) -> Iterator[tuple[str, str]]:
    """Give a user who may do nothing yet, and the address of the server for that user."""
    name = f"guest_{secrets.token_hex(4)}"
    spot.run(f"create role {name} login password '{password}'")
    parts = urlsplit(spot.url)
    yield name, f"postgresql://{name}@{parts.hostname}:{parts.port}{parts.path}"
    spot.run(f"drop owned by {name}")
    spot.run(f"drop role {name}")


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


class Server:
    """A server of its own, for one test: others must not lose theirs."""

    def __init__(self, folder: Path) -> None:
        port = 36_400 + os.getpid() % 90 * 50  # far from those that other workers look at
        own = {"DATAFLARE_SERVICES_DIR": str(folder), "DATAFLARE_SERVICES_PORT_BASE": str(port)}
        self._environ = {**os.environ, **own}
        self.do("start")
        self.url = self.do("env").strip().partition("=")[2]
        assert self.url != os.environ.get(VARIABLE), "it is the server of the other tests"

    def do(self, command: str) -> str:
        """Let scripts/services.py do something with it."""
        ran = [sys.executable, str(SERVICES), command, "postgres"]
        done = subprocess.run(ran, env=self._environ, capture_output=True, text=True, check=True, timeout=120)
        return done.stdout

    def ask(self, sql: str) -> str:
        """Execute statements; return the first value of the answer."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            found = connection.execute(sql)
            return str(found.fetchone()[0]) if found.description else ""


@contextmanager
def own_server() -> Iterator[Server]:
    """Give a new server, removed afterwards; skip where there is none for the other tests."""
    if not os.environ.get(VARIABLE):
        pytest.skip(f"{VARIABLE} is not set: python scripts/services.py start, then env")
    folder = Path(tempfile.mkdtemp(prefix="dataflare-server-"))
    folder.chmod(0o755)  # the account of the server must reach it
    try:
        found = Server(folder)
        yield found
        found.do("wipe")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
