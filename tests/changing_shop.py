"""A table of a database whose columns change, a workflow that follows it, and the process that runs it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.changes import logged
from tests.chaos.processes import Ended, begin, dataflare, end, ended, press_ctrl_c, wait_until

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

WORKFLOW = """
id: {name}
runtime: {{checkpoint: {{interval: 20ms}}}}
sources:
  shop: {{type: {kind}, mode: {mode}, config: {{url: "{url}", tables: ["{name}.orders"]}}, schema: {schema}}}
transformations:
  more: {{type: mapping, inputs: [shop], config: {{set: {{twice: id * 2}}}}}}
destinations:
  log: {{type: file, inputs: [shop], config: {{path: log, format: jsonl}}}}
  copy:
    type: {kind}
    inputs: [more]
    write_mode: merge
    key: [id]
    config: {{url: "{url}", table: "{name}.copy"}}
"""
SETUP = (
    "create table {}.orders (id int primary key, name text, qty int); "
    "insert into {}.orders values (1, 'one', 1), (2, 'two', 2)"
)


class ChangingShop:
    """`name` is the schema or database, which stands for `{}` in statements."""

    kind: str

    def __init__(self, name: str, url: str, folder: Path) -> None:
        self.name, self.url, self.folder = name, url, folder
        self.process: subprocess.Popen[str] | None = None

    def workflow(self, schema: str = "{}", mode: str = "hybrid") -> None:
        names = {"name": self.name, "kind": self.kind, "url": self.url, "schema": schema, "mode": mode}
        (self.folder / "workflow.yaml").write_text(WORKFLOW.format(**names))

    def begin(self) -> None:
        """Run it until something ends it, and wait for the first rows."""
        self.process = begin(self.folder, "run", "workflow.yaml", "--log", "json")
        self.wait(1, 2)

    def run(self) -> Ended:
        """Run it as far as the log goes."""
        return dataflare(self.folder, "run", "workflow.yaml", "--until", "now", "--log", "json")

    def wait(self, *ids: int) -> None:
        """Wait until rows have come."""
        assert self.process is not None
        wait_until(lambda: {r["id"] for r in self.log()}.issuperset(ids), self.process)

    def stop(self) -> list[dict[str, Any]]:
        """End it; return what it said."""
        assert self.process is not None
        press_ctrl_c(self.process)
        return events(self.ended())

    def ended(self) -> Ended:
        """Wait until it ends."""
        assert self.process is not None
        done = ended(self.process)
        self.process = None
        return done

    def end(self) -> None:
        """Kill it, if it runs."""
        if self.process is not None:
            end(self.process)

    def log(self) -> list[dict[str, Any]]:
        """Return all changes in order, as they stand in the files."""
        return logged(self.folder / "log")


def events(done: Ended) -> list[dict[str, Any]]:
    """Return what a process said."""
    return [json.loads(line) for line in done.err.splitlines() if line.startswith("{")]


def told(found: list[dict[str, Any]], code: str = "schema.changed") -> list[str]:
    """Return what was said of columns, without the name of the table."""
    return [e["message"].partition(": ")[2] for e in found if e.get("code") == code]


__all__ = ["SETUP", "WORKFLOW", "ChangingShop", "events", "told"]
