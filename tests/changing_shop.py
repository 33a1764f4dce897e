"""A table of a database whose columns change, a workflow that follows it, and the process that runs it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

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

    def change(self, statements: str) -> None:
        """Execute statements, which are parted by semicolons."""
        raise NotImplementedError

    def copy(self, columns: str) -> list[tuple[Any, ...]]:
        """Return the rows of the copy in order."""
        raise NotImplementedError

    def log(self) -> list[dict[str, Any]]:
        """Return all changes in order, as they stand in the files."""
        return logged(self.folder / "log")


def events(done: Ended) -> list[dict[str, Any]]:
    """Return what a process said."""
    return [json.loads(line) for line in done.err.splitlines() if line.startswith("{")]


def told(found: list[dict[str, Any]], code: str = "schema.changed") -> list[str]:
    """Return what was said of columns, without the name of the table."""
    return [e["message"].partition(": ")[2] for e in found if e.get("code") == code]


class SameForAllServers:
    """What holds for the `shop` of each server."""

    @pytest.mark.parametrize("schema", ["{ddl: exception}", "{contract: {columns: freeze}}"])
    def test_changes_that_are_refused_end_the_run_and_lose_nothing(self, shop: ChangingShop, schema: str) -> None:
        shop.workflow(schema)
        shop.begin()
        shop.change("insert into {}.orders values (3, 'three', 3)")
        shop.change("alter table {}.orders add note text; insert into {}.orders values (4, 'four', 4, 'new')")
        done = shop.ended()
        assert done.code == 2
        assert "column note is new (string), which is refused" in done.err
        assert "contract: {columns: evolve}" in done.err
        again = shop.run()
        assert again.code == 2
        assert "column note is new" in again.err

        shop.workflow()
        assert shop.run().code == 0
        assert [(r["id"], r.get("note")) for r in shop.log()] == [(1, None), (2, None), (3, None), (4, "new")]

    def test_values_of_a_column_that_is_gone_by_now_are_told_of(self, shop: ChangingShop) -> None:
        shop.workflow("{ddl: evolve}")
        assert shop.run().code == 0
        shop.change("update {}.orders set qty = 9 where id = 1")
        shop.change("alter table {}.orders drop qty; update {}.orders set name = 'last' where id = 2")
        said = events(shop.run())
        assert told(said, "schema.gone") == ["column qty of the log is not there any more: it is not read"]
        assert shop.copy("id, name, twice") == [(1, "one", 2), (2, "last", 4)]

    def test_kinds_of_change_are_left_out_by_name(self, shop: ChangingShop) -> None:
        shop.workflow("{exclude: [add.column]}")
        shop.begin()
        shop.change("alter table {}.orders add note text; insert into {}.orders values (3, 'three', 3, 'new')")
        shop.wait(3)
        said = shop.stop()
        assert told(said) == []
        assert told(said, "schema.left_out") == ["column note is new (string), which is left out"]
        assert "note" not in shop.log()[-1]

    def test_what_is_left_out_is_told_once_by_each_run_that_comes_upon_it(self, shop: ChangingShop) -> None:
        shop.workflow("{contract: {columns: discard}}")
        assert shop.run().code == 0
        shop.change("alter table {}.orders add note text; insert into {}.orders values (3, 'three', 3, 'new')")
        shop.change("alter table {}.orders drop qty; insert into {}.orders values (4, 'four', 'new')")
        said = events(shop.run())
        assert told(said) == ["column qty is gone, which is left out"]
        assert told(said, "schema.left_out") == ["column note is new (string), which is left out"]
        said = events(shop.run())
        assert (told(said), told(said, "schema.left_out")) == ([], [])

    def test_a_value_of_another_type_is_told_with_the_setting_that_reads_it(self, shop: ChangingShop) -> None:
        shop.workflow()
        assert shop.run().code == 0
        change = "modify qty text" if shop.kind == "mariadb" else "alter qty type text"
        shop.change(f"alter table {{}}.orders {change}; insert into {{}}.orders values (3, 'three', 'private')")
        done = shop.run()
        assert (done.code, "types: {qty: string}" in done.err, "private" in done.err) == (1, True, False)

    def test_a_plan_that_does_not_go_with_the_columns_any_more_ends_the_run_with_its_findings(
        self, shop: ChangingShop
    ) -> None:
        shop.workflow("{ddl: evolve}")
        text = (shop.folder / "workflow.yaml").read_text()
        (shop.folder / "workflow.yaml").write_text(text.replace("twice: id * 2", "twice: qty * 2"))
        shop.begin()
        shop.change("alter table {}.orders drop qty; insert into {}.orders values (3, 'three')")
        done = shop.ended()
        assert done.code == 2
        assert "qty" in done.err
        assert "workflow.yaml:" in done.err

        (shop.folder / "workflow.yaml").write_text(text)
        assert shop.run().code == 0
        assert [r["id"] for r in shop.log()] == [1, 2, 3]


__all__ = ["SETUP", "WORKFLOW", "ChangingShop", "SameForAllServers", "events", "told"]
