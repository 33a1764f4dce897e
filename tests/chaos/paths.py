"""Paths of changes: tables that are written to, what follows them, and what must equal them by checksum at the end."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from tests import changes, maria_changes, mariadb, postgres
from tests.chaos.conftest import STEPS, Case

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

TABLES = ("items", "names", "pairs")
FIRST = ("after", "next_blocking")
"""Only the first reading of the tables comes by it."""
PATH_STEPS = (
    *(step for step in STEPS if step != ("after", "_read_and_run")),
    ("after", "_taken"),
    ("before", "_taken"),
)
"""The numbered steps of the protocol, those between, and the receipt of changes."""
SOURCES, DESTINATIONS = ("postgres", "mariadb"), ("postgres", "mariadb", "files")
PATHS = [
    pytest.param(*ends, id="-to-".join(ends), marks=[getattr(pytest.mark, end) for end in ends if end != "files"])
    for ends in product(SOURCES, DESTINATIONS)
]
HEAD = """
id: {name}
runtime:
  parallelism: 2
  checkpoint: {{interval: 10ms, timeout: 30s, retain: 3}}
  restart: {{initial: 50ms}}
sources:
  shop:
    type: {source}
    mode: hybrid
    config:
      url: "${{{variable}}}"
      {within}
      split_rows: 150
      fetch_rows: 60
destinations:
"""
WITHIN = {
    "postgres": "tables: [{place}.items, {place}.names, {place}.pairs]\n"
    "      cdc: {{slot_name: {place}, heartbeat: 100ms}}",
    "mariadb": "database: {place}\n      tables: [items, names, pairs]\n      cdc: {{heartbeat: 100ms}}",
}
FILE = "  {table}: {{type: file, inputs: [shop.{table}], config: {{path: {table}, format: parquet}}}}\n"
COPY = """  {table}:
    type: {destination}
    inputs: [shop.{table}]
    write_mode: merge
    config: {{url: "${{{variable}}}", table: {place}.{table}_copy}}
"""
"""The first one decides, the others are staged."""
LOG = """  log:
    type: {destination}
    inputs: [shop.pairs]
    write_mode: append
    config: {{url: "${{{variable}}}", table: {place}.log, changes: {{op: what, tx: at_place}}}}
"""
"""Each change of the pairs; what comes twice into a table that is merged is not to be seen."""


@dataclass(frozen=True)
class ChangePath:
    """One path, in a folder, a schema of PostgreSQL and a database of MariaDB of its own, as far as it needs them."""

    source: str
    destination: str
    case: Case
    spot: postgres.Place | None
    base: mariadb.Database | None
    rows: int

    @property
    def name(self) -> str:
        """The id of the workflow."""
        return self._where(self.source)[0]

    def prepare(self) -> None:
        """Make the tables and the workflow."""
        if self.source == "postgres":
            _run_all(self._spot.run, changes.SETUP.format(schema=self._spot.schema, rows=self.rows))
        else:
            _run_all(self._base.run, maria_changes.SETUP.format(rows=self.rows))
        if self.destination == "postgres":
            columns = "a int, b date, v numeric(12,3), what text, at_place text, seq bigserial"
            self._spot.run(f"create table {{}}.log ({columns})")
        elif self.destination == "mariadb":
            columns = "a int, b date, v decimal(12,3), what varchar(20), at_place varchar(60)"
            self._base.run(f"create table log ({columns}, seq bigint auto_increment unique)")
        self.case.file.write_text(self._head() + self._ends())

    def writer(self, seed: int) -> Any:
        """Return who changes the tables."""
        if self.source == "postgres":
            return changes.Writer(self._spot.url, self._spot.schema, self.rows, seed)
        return maria_changes.Writer(self._base.url, self.rows, seed)

    def settle(self) -> None:
        """Run undisturbed; twice, as the first run may but complete one that was killed when it had read all."""
        for _ in range(2):
            done = self.case.run()
            assert done.returncode == 0, done.stderr

    def wanted(self) -> dict[str, str]:
        """Return the checksums of the tables that are followed."""
        return {name: checksum(self._there(self.source, name)) for name in TABLES}

    def found(self) -> dict[str, str]:
        """Return those of what they have become; fail where a change was told twice, or before the one before it."""
        if self.destination == "files":
            return {name: checksum(self._played_back(name).values()) for name in TABLES}
        played = changes.played_back(self._log(), changes.KEYS["pairs"])
        found = {name: checksum(self._there(self.destination, f"{name}_copy")) for name in TABLES}
        assert checksum(played.values()) == found["pairs"]
        return found

    def asked(self, end: str, columns: str, name: str) -> list[int]:
        """Return whole numbers that a query of one table tells."""
        if end == "postgres":
            ((*found,),) = self._spot.run(f"select {columns} from {{}}.{name}")
        else:
            ((*found,),) = self._base.run(f"select {columns} from {name}")
        return [int(value) for value in found]

    @property
    def _spot(self) -> postgres.Place:
        assert self.spot is not None
        return self.spot

    @property
    def _base(self) -> mariadb.Database:
        assert self.base is not None
        return self.base

    def _head(self) -> str:
        place, variable = self._where(self.source)
        within = WITHIN[self.source].format(place=place)
        return HEAD.format(name=place, source=self.source, variable=variable, within=within)

    def _ends(self) -> str:
        if self.destination == "files":
            return "".join(FILE.format(table=name) for name in TABLES)
        place, variable = self._where(self.destination)
        told = {"destination": self.destination, "variable": variable, "place": place}
        return "".join(COPY.format(table=name, **told) for name in TABLES) + LOG.format(**told)

    def _where(self, end: str) -> tuple[str, str]:
        if end == "postgres":
            return self._spot.schema, postgres.VARIABLE
        return self._base.name, mariadb.VARIABLE

    def _there(self, end: str, name: str) -> Iterable[Mapping[str, Any]]:
        if end == "postgres":
            return changes.there(self._spot.url, self._spot.schema, name).values()
        return maria_changes.there(self._base.url, name).values()

    def _log(self) -> list[dict[str, Any]]:
        if self.destination == "postgres":
            rows = self._spot.run("select a, b, v::float8, what, at_place from {}.log order by seq")
        else:
            rows = self._base.run("select a, b, v, what, at_place from log order by seq")
        return [dict(zip(("a", "b", "v", "_op", "_tx"), row, strict=True)) for row in rows]

    def _played_back(self, name: str) -> dict[tuple[Any, ...], dict[str, Any]]:
        files = sorted((self.case.folder / name).glob("part-*.parquet"), key=changes.part_order)
        log = [change for file in files for change in pq.read_table(file).to_pylist()]
        return changes.played_back(log, changes.KEYS[name])


@contextmanager
def change_path(source: str, destination: str, folder: Path, rows: int) -> Iterator[ChangePath]:
    """Give a path, prepared; all that it made on the servers is removed afterwards."""
    ends = (source, destination)
    with ExitStack() as stack:
        spot = stack.enter_context(postgres.place()) if "postgres" in ends else None
        base = stack.enter_context(mariadb.database()) if "mariadb" in ends else None
        if spot is not None and source == "postgres":
            stack.callback(changes.forget, spot, spot.schema)
        path = ChangePath(source, destination, Case(folder, follows=True), spot, base, rows)
        path.prepare()
        yield path


def checksum(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the number of rows and a checksum of them, in an order of their own, the same for each kind of end."""
    digest, count = hashlib.sha256(), 0
    for line in sorted(json.dumps(row, default=_plain, sort_keys=True) for row in rows):
        digest.update(line.encode() + b"\n")
        count += 1
    return f"{count} {digest.hexdigest()}"


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value.isoformat() if isinstance(value, dt.date) else value


def _run_all(run: Any, statements: str) -> None:
    for statement in statements.split(";"):
        if statement.strip():
            run(statement)


__all__ = ["DESTINATIONS", "FIRST", "PATHS", "PATH_STEPS", "SOURCES", "TABLES", "ChangePath", "change_path", "checksum"]
