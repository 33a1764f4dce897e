"""kill -9 a hundred times for each destination, at seeded calls of every step; each result is equal by checksum."""

from __future__ import annotations

import hashlib
import json
import os
import random
import sqlite3
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.chaos.conftest import HEAD, Case, source_csv
from tests.chaos.test_kill_files import FILES, content
from tests.soak.attacking import ROUNDS, SEED, Tally
from tests.soak.figures import note

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

URL = os.environ.get("DATAFLARE_TEST_POSTGRES", "")
SQLITE = """
  table: {type: sqlite, inputs: [big], config: {path: out.db, table: rows}}
  totals: {type: sqlite, inputs: [per_name], config: {path: out.db, table: names}}
"""
POSTGRES = """
  remote: {type: postgres, inputs: [big], config: {url: "${DATAFLARE_TEST_POSTGRES}", table: SCHEMA.rows}}
  sums: {type: postgres, inputs: [per_name], config: {url: "${DATAFLARE_TEST_POSTGRES}", table: SCHEMA.names}}
"""
DESTINATIONS = {"files": FILES, "sqlite": SQLITE, "postgres": POSTGRES, "three": FILES + SQLITE + POSTGRES}

pytestmark = [
    pytest.mark.soak,
    pytest.mark.postgres,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not URL, reason="DATAFLARE_TEST_POSTGRES names no server"),
]


@dataclass(frozen=True)
class Bench:
    """A workflow in a folder and a schema of its own, and what its destinations hold."""

    case: Case
    destinations: str
    schema: str

    def prepare(self) -> None:
        """Write the source and the workflow."""
        source_csv(self.case.folder)
        self.case.file.write_text(HEAD + DESTINATIONS[self.destinations].replace("SCHEMA", self.schema))

    def checksums(self) -> dict[str, dict[str, str]]:
        """Return, by destination, the checksum of each table that it holds."""
        found: dict[str, dict[str, str]] = {}
        if self.destinations in ("files", "three"):
            found["files"] = {name: checksum(rows) for name, rows in content(self.case.folder).items()}
        if self.destinations in ("sqlite", "three"):
            with sqlite3.connect(self.case.folder / "out.db") as connection:
                found["sqlite"] = tables(connection, "")
        if self.destinations in ("postgres", "three"):
            with psycopg.connect(URL) as connection:
                found["postgres"] = tables(connection, f"{self.schema}.")
        return found


def tables(connection: Any, prefix: str) -> dict[str, str]:
    """Return the checksums of the two tables of a database."""
    return {n: checksum(connection.execute(f"select * from {prefix}{n}").fetchall()) for n in ("rows", "names")}


def checksum(rows: list[Any]) -> str:
    """Return the SHA-256 of rows in an order of their own."""
    digest = hashlib.sha256()
    for line in sorted(json.dumps(row) for row in rows):
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


@pytest.fixture
def schema() -> Iterator[str]:
    name = f"soak_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(URL, autocommit=True) as connection:
        yield name
        for (each,) in connection.execute("select nspname from pg_namespace where nspname like %s", (f"{name}%",)):
            connection.execute(f"drop schema {each} cascade")


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the checksums of what an undisturbed run into files makes."""
    calm = Bench(Case(tmp_path_factory.mktemp("undisturbed")), "files", "")
    calm.prepare()
    done = calm.case.run()
    assert done.returncode == 0, done.stderr
    return calm.checksums()["files"]


@pytest.mark.parametrize("round_number", range(ROUNDS))
@pytest.mark.parametrize("destinations", DESTINATIONS)
def test_kills_change_nothing(
    tmp_path: Path, schema: str, expected: dict[str, str], destinations: str, round_number: int
) -> None:
    seed = f"{SEED}/{destinations}/{round_number}"
    tally = Tally(random.Random(seed))
    while not tally.complete:
        bench = Bench(Case(tmp_path / str(tally.results)), destinations, f"{schema}_{tally.results}")
        bench.case.folder.mkdir()
        with psycopg.connect(URL, autocommit=True) as connection:
            connection.execute(f"create schema {bench.schema}")
        bench.prepare()
        while not tally.run(bench.case):
            pass
        for holder, found in bench.checksums().items():
            assert found == {name: expected[name] for name in found}, f"{holder} differs; seed {seed}"
        tally.compared(bench.case, "kills")
    note("kills", destinations=destinations, checksums=expected, **tally.figures())
