"""`schema diff` compares what the state remembers of followed tables with what they are, and tells of both sides."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.changes import followed_place
from tests.chaos.processes import dataflare

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.postgres import Place

pytestmark = pytest.mark.postgres

WORKFLOW = """
id: {name}
sources:
  shop: {{type: postgres, mode: hybrid, config: {{url: "{url}", tables: ["{name}.orders"]}}, schema: {schema}}}
destinations:
  copy:
    type: postgres
    inputs: [shop]
    write_mode: merge
    key: [id]
    config: {{url: "{url}", table: "{name}.copy"}}
"""
CHANGES = (
    "alter table {}.orders rename name to label",
    "alter table {}.orders add note text",
    "alter table {}.orders alter qty type bigint",
    "alter table {}.orders drop colour",
)


class Kept:
    """A workflow that has followed a table, and is stopped."""

    def __init__(self, spot: Place, folder: Path) -> None:
        self.spot, self.folder = spot, folder
        spot.run("create table {}.orders (id int primary key, name text, qty int, colour text)")
        spot.run("insert into {}.orders values (1, 'one', 1, 'red')")
        self.written()
        assert self.run().code == 0

    def written(self, schema: str = "{}") -> None:
        text = WORKFLOW.format(name=self.spot.schema, url=self.spot.url, schema=schema)
        (self.folder / "workflow.yaml").write_text(text)

    def run(self) -> Any:
        return dataflare(self.folder, "run", "workflow.yaml", "--until", "now", "--log", "json")

    def diff(self, code: int = 1) -> dict[tuple[str, str], tuple[str, str, str]]:
        """Return change, effect and meaning, or statement, by kind and column."""
        done = dataflare(self.folder, "schema", "diff", "workflow.yaml", "--json")
        assert done.code == code, done.err
        found = [json.loads(line) for line in done.out.splitlines()]
        return {(d["kind"], d["column"]): (d["change"], d["effect"], d.get("statement") or d["meaning"]) for d in found}


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    with followed_place() as spot:
        yield Kept(spot, tmp_path)


def test_what_changed_while_it_was_stopped_is_told_until_a_run_has_followed(kept: Kept) -> None:
    assert kept.diff(0) == {}
    for statement in CHANGES:
        kept.spot.run(statement)
    kept.written("{ddl: evolve}")
    copy = f'alter table "{kept.spot.schema}"."copy"'
    assert kept.diff() == {
        ("source", "label"): ("renamed", "evolve", "is renamed"),
        ("source", "note"): ("added", "evolve", "is added"),
        ("source", "qty"): ("retyped", "evolve", "becomes int64"),
        ("source", "colour"): ("dropped", "evolve", "is dropped"),
        ("destination", "label"): ("renamed", "evolve", f'{copy} rename column "name" to "label"'),
        ("destination", "note"): ("added", "evolve", f'{copy} add column "note" text'),
        ("destination", "colour"): ("dropped", "evolve", f'{copy} drop column "colour"'),
        ("destination", "qty"): (
            "retyped",
            "evolve",
            f'{copy} alter column "qty" set data type bigint using cast("qty" as bigint)',
        ),
    }
    assert kept.run().code == 0
    assert kept.diff(0) == {}
    assert kept.spot.run("select id, label, note, qty from {}.copy") == [(1, "one", None, 1)]


def test_each_policy_is_told_as_what_it_comes_to(kept: Kept) -> None:
    for statement in CHANGES:
        kept.spot.run(statement)
    assert kept.diff()["source", "label"] == ("renamed", "evolve", "is a new column; name stays, and is null")
    assert kept.diff()["source", "colour"] == ("dropped", "evolve", "stays, and is null")
    assert ("destination", "colour") not in kept.diff()

    kept.written("{ddl: ignore}")
    found = kept.diff()
    assert found["source", "note"] == ("added", "ignore", "is not read")
    assert found["source", "qty"] == ("retyped", "ignore", "stays int32; values that do not fit are bad rows")
    assert found["source", "label"] == ("renamed", "refuse", "the run ends with an error")

    kept.written("{contract: {columns: freeze, data_type: discard}, ddl: lenient}")
    found = kept.diff()
    assert {effect for (kind, name), (_, effect, _) in found.items() if name != "qty" and kind == "source"} == {
        "refuse"
    }
    assert found["source", "qty"] == ("retyped", "ignore", "stays int32; null stands for values that do not fit")


def test_a_plan_that_does_not_go_with_the_columns_is_told_behind_them(kept: Kept) -> None:
    kept.written("{ddl: evolve}")
    text = (kept.folder / "workflow.yaml").read_text()
    more = "transformations:\n  more: {type: mapping, inputs: [shop], config: {set: {shade: upper(colour)}}}\n"
    text = text.replace("destinations:", f"{more}destinations:").replace("    inputs: [shop]", "    inputs: [more]")
    (kept.folder / "workflow.yaml").write_text(text)
    kept.spot.run("alter table {}.orders drop colour")
    done = dataflare(kept.folder, "schema", "diff", "workflow.yaml", "--json")
    assert done.code == 2
    assert json.loads(done.out.splitlines()[0])["column"] == "colour"
    assert "colour" in done.err
