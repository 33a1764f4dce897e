"""Tables that a pattern names are followed as they come: behind a stop, and while the workflow runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.changes import followed_place, logged
from tests.chaos.processes import Ended, begin, dataflare, end, ended, press_ctrl_c, wait_until
from tests.postgres import guest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from tests.postgres import Place

pytestmark = pytest.mark.postgres

WORKFLOW = """
id: {name}
runtime: {{checkpoint: {{interval: 20ms}}}}
sources:
  shop:
    type: postgres
    mode: hybrid
    config: {{url: "{url}", tables: ["{name}.*", "!audit_*"], cdc: {{heartbeat: 200ms}}}}
    schema: {{contract: {{tables: {word}}}}}
destinations:
  log: {{type: file, inputs: ["shop.*"], config: {{path: log, format: jsonl}}}}
"""


class Shop:
    def __init__(self, spot: Place, folder: Path) -> None:
        self.spot, self.folder = spot, folder
        self.process: subprocess.Popen[str] | None = None
        self.url = spot.url
        for name in ("a", "b", "audit_a"):
            self.add(name)

    def add(self, name: str) -> None:
        self.spot.run(f"create table {{}}.{name} (id int primary key, v text)")
        self.spot.run(f"insert into {{}}.{name} values (1, '{name} 1')")

    def written(self, word: str) -> None:
        text = WORKFLOW.format(name=self.spot.schema, url=self.url, word=word)
        (self.folder / "w.yaml").write_text(text)

    def run(self, word: str = "evolve") -> Ended:
        self.written(word)
        return dataflare(self.folder, "run", "w.yaml", "--until", "now", "--log", "json")

    def values(self) -> list[str]:
        return sorted(r["v"] for r in logged(self.folder / "log"))


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with followed_place() as spot:
        one = Shop(spot, tmp_path)
        try:
            yield one
        finally:
            if one.process is not None:
                end(one.process)


def told(done: Ended) -> list[str]:
    found: list[dict[str, Any]] = [json.loads(line) for line in done.err.splitlines() if line.startswith("{")]
    assert [e for e in found if e.get("event") == "attempt_failed"] == []
    return [e["message"] for e in found if e.get("code") == "schema.changed"]


def test_a_table_that_came_while_it_was_stopped_is_read_and_followed(shop: Shop) -> None:
    assert shop.run().code == 0
    assert shop.values() == ["a 1", "b 1"]
    shop.add("c")
    shop.spot.run("insert into {}.a values (2, 'a 2')")
    done = shop.run()
    assert done.code == 0, done.err
    assert told(done) == ["table c is new"]
    shop.spot.run("insert into {}.c values (2, 'c 2')")
    assert told(shop.run()) == []
    assert shop.values() == ["a 1", "a 2", "b 1", "c 1", "c 2"]


def test_a_table_that_comes_while_it_runs_is_read_and_followed_and_nothing_is_lost(shop: Shop) -> None:
    shop.written("evolve")
    shop.process = begin(shop.folder, "run", "w.yaml", "--log", "json")
    wait_until(lambda: len(shop.values()) == 2, shop.process)
    shop.add("c")
    for number in range(2, 40):
        shop.spot.run(f"insert into {{}}.a values ({number}, 'a {number}')")
        shop.spot.run(f"insert into {{}}.c values ({number}, 'c {number}')")
    wait_until(lambda: "c 1" in shop.values(), shop.process)
    shop.spot.run("insert into {}.c values (99, 'c 99')")
    wait_until(lambda: {"c 99", "c 39", "a 39"} <= {*shop.values()}, shop.process)
    press_ctrl_c(shop.process)
    done = ended(shop.process)
    shop.process = None
    assert told(done) == ["table c is new"]
    numbers = range(1, 40)
    assert shop.values() == sorted(["b 1", "c 99", *(f"{t} {n}" for t in "ac" for n in numbers)])


def test_tables_that_cannot_be_followed_are_left_out_and_the_others_go_on(shop: Shop) -> None:
    """Somebody's scratch table in the schema must not end the run."""
    shop.written("evolve")
    shop.process = begin(shop.folder, "run", "w.yaml", "--log", "json")
    wait_until(lambda: len(shop.values()) == 2, shop.process)
    shop.spot.run("create table {}.scratch as select 1 as id, 'scratch 1' as v")
    shop.spot.run("create unlogged table {}.swift (id int primary key, v text)")
    shop.add("c")
    wait_until(lambda: "c 1" in shop.values(), shop.process)
    shop.spot.run("insert into {}.a values (2, 'a 2')")
    shop.spot.run("insert into {}.c values (2, 'c 2')")
    wait_until(lambda: {"a 2", "c 2"} <= {*shop.values()}, shop.process)
    press_ctrl_c(shop.process)
    done = ended(shop.process)
    shop.process = None
    again = shop.run()
    assert again.code == 0, again.err
    for found in (told(done), told(again)):
        assert [m for m in found if f"table scratch is left out: {shop.spot.schema}.scratch has no key" in m], found
        assert [m for m in found if f"table swift is left out: changes of {shop.spot.schema}.swift are not" in m], found
    shop.spot.run("alter table {}.scratch add primary key (id)")
    assert shop.run().code == 0
    assert shop.values() == ["a 1", "a 2", "b 1", "c 1", "c 2", "scratch 1"]
    shop.spot.run("alter table {}.scratch drop constraint scratch_pkey")
    lost = shop.run()
    assert lost.code == 2
    assert "scratch has no key" in lost.err


def test_a_workflow_that_begins_is_told_of_all_tables_that_cannot_be_followed(shop: Shop) -> None:
    shop.spot.run("create table {}.scratch (id int)")
    shop.spot.run("create unlogged table {}.swift (id int primary key)")
    for done in (shop.run(), shop.run()):
        assert done.code == 0, done.err
        assert len(told(done)) == 2, done.err
    assert shop.values() == ["a 1", "b 1"]
    shop.written("evolve")
    found = dataflare(shop.folder, "validate", "w.yaml", "--level", "connect")
    assert found.code == 0
    assert "feeds it is found once sources are asked" in found.out
    assert f"shop: table scratch is left out: {shop.spot.schema}.scratch has no key" in found.err + found.out
    assert 'or leave it out, such as "!scratch"' in found.err + found.out
    refused = shop.run("freeze")
    assert refused.code == 2
    assert "table swift is left out" in refused.err
    assert "which is refused" in refused.err


def test_a_table_that_this_user_may_not_publish_is_left_out(shop: Shop) -> None:
    with guest(shop.spot, "secret") as (name, url):
        for statement in (f"alter role {name} replication", f"grant usage on schema {{}} to {name}",
                          f"grant create on database {url.rpartition('/')[2]} to {name}",
                          f"grant select on all tables in schema {{}} to {name}",
                          f"alter table {{}}.a owner to {name}", f"alter table {{}}.b owner to {name}"):  # fmt: skip
            shop.spot.run(statement)
        shop.url = url.replace(f"{name}@", f"{name}:secret@")
        assert shop.run().code == 0
        shop.add("c")
        shop.spot.run("insert into {}.a values (2, 'a 2')")
        done = shop.run()
        assert done.code == 0, done.err
        assert [m for m in told(done) if "table c is left out: the publication" in m]
        assert shop.values() == ["a 1", "a 2", "b 1"]
        assert "secret" not in done.err


def test_a_frozen_one_that_runs_ends_with_the_name_of_the_table(shop: Shop) -> None:
    shop.written("freeze")
    shop.process = begin(shop.folder, "run", "w.yaml", "--log", "json")
    wait_until(lambda: len(shop.values()) == 2, shop.process)
    shop.add("c")
    done = ended(shop.process)
    shop.process = None
    assert done.code == 2
    assert "table c is new, which is refused" in done.err
    assert shop.run("evolve").code == 0
    assert shop.values() == ["a 1", "b 1", "c 1"]


def test_one_that_leaves_tables_out_goes_on_and_says_so_at_its_start(shop: Shop) -> None:
    assert shop.run("discard").code == 0
    shop.add("c")
    shop.spot.run("insert into {}.a values (2, 'a 2')")
    done = shop.run("discard")
    assert done.code == 0, done.err
    assert told(done) == ["table c is new, and is left out"]
    assert shop.values() == ["a 1", "a 2", "b 1"]


def test_a_table_that_is_gone_is_left_out_and_the_others_go_on(shop: Shop) -> None:
    assert shop.run().code == 0
    shop.spot.run("drop table {}.b")
    shop.spot.run("insert into {}.a values (2, 'a 2')")
    done = shop.run()
    assert done.code == 0, done.err
    assert told(done) == ["table b is gone"]
    assert shop.values() == ["a 1", "a 2", "b 1"]
