"""Values that columns of followed tables do not hold: null stands for them, or their rows are left out and counted."""

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
  shop:
    type: postgres
    mode: {mode}
    config: {{url: "{url}", tables: ["{name}.t"]}}
    schema: {{contract: {{data_type: {word}}}}}
destinations:
  copy:
    type: postgres
    inputs: [shop]
    write_mode: merge
    key: [id]
    config: {{url: "{url}", table: "{name}.copy"}}
"""


class Shop:
    """A table with values that do not fit, and a workflow that copies it."""

    def __init__(self, spot: Place, folder: Path) -> None:
        self.spot, self.folder = spot, folder
        spot.run("create table {}.t (id int primary key, at timestamptz, n numeric, qty int)")
        spot.run("insert into {}.t values (1, 'infinity', 1, 1), (2, '2026-01-01', 'NaN', 2), (3, null, 3, 3)")

    def run(self, word: str, mode: str = "hybrid") -> tuple[dict[str, int], list[str]]:
        """Run it as far as the log goes; return the counts of the source, and what it said of values."""
        text = WORKFLOW.format(name=self.spot.schema, url=self.spot.url, word=word, mode=mode)
        (self.folder / "workflow.yaml").write_text(text)
        more = () if mode == "full" else ("--until", "now")
        done = dataflare(self.folder, "run", "workflow.yaml", *more, "--json", "--log", "json")
        assert done.code == 0, done.err
        said = [json.loads(line) for line in done.err.splitlines() if line.startswith("{")]
        told = [e["message"] for e in said if e.get("code") == "values.discarded" and "event" in e]
        return json.loads(done.out.splitlines()[-1])["nodes"]["shop"], sorted(told)

    def copy(self) -> list[tuple[Any, ...]]:
        return self.spot.run("select id, at is not null, n::text, qty from {}.copy order by id")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with followed_place() as spot:
        yield Shop(spot, tmp_path)


@pytest.mark.parametrize("mode", ["full", "hybrid"])
def test_null_stands_for_what_was_read_and_does_not_fit_and_it_is_told(shop: Shop, mode: str) -> None:
    counts, told = shop.run("discard", mode)
    assert counts["rows_out"] == 3
    assert shop.copy() == [(1, False, "1.000000000", 1), (2, True, None, 2), (3, False, "3.000000000", 3)]
    name = "t" if mode == "full" else f"{shop.spot.schema}.t"
    assert [t.replace(f"{name}: ", "t: ") for t in told] == [
        "t: 1 value of column 'at' so far did not fit timestamp: null stands there",
        "t: 1 value of column 'n' so far did not fit decimal(38,9): null stands there",
    ]


def test_null_stands_for_what_comes_in_a_change_and_the_rest_of_the_row_goes_on(shop: Shop) -> None:
    shop.run("discard")
    shop.spot.run("insert into {}.t select n, 'infinity', n, n from generate_series(11, 22) n")
    shop.spot.run("update {}.t set n = 'NaN', qty = 30 where id = 3")
    shop.spot.run("delete from {}.t where id = 1")
    counts, told = shop.run("discard")
    assert counts["rows_out"] == 14
    assert shop.copy() == [
        (2, True, None, 2),
        (3, False, None, 30),
        *((n, False, f"{n}.000000000", n) for n in range(11, 23)),
    ]
    table = f"{shop.spot.schema}.t"
    assert any(t.endswith("of column 'at' so far did not fit timestamp: null stands there") for t in told)
    assert f"{table}: 1 value of column 'n' so far did not fit decimal(38,9): null stands there" in told


def test_rows_with_what_does_not_fit_are_left_out_and_counted(shop: Shop) -> None:
    counts, _ = shop.run("discard_row")
    assert (counts["rows_out"], counts["rows_dead"]) == (1, 2)
    shop.spot.run("update {}.t set n = 'NaN' where id = 3")  # what it was is no more in the table
    shop.spot.run("update {}.t set n = 2 where id = 2")
    counts, _ = shop.run("discard_row")
    assert (counts["rows_out"], counts["rows_dead"]) == (2, 1)
    assert shop.copy() == [(2, True, "2.000000000", 2)]


def test_a_column_that_got_a_type_that_does_not_go_with_its_own_keeps_it(shop: Shop) -> None:
    shop.run("discard")
    shop.spot.run("alter table {}.t alter qty type text using qty::text")
    shop.spot.run("insert into {}.t values (4, null, 4, 'four'), (5, null, 5, '5')")
    _, told = shop.run("discard")
    assert [(row[0], row[3]) for row in shop.copy()] == [(1, 1), (2, 2), (3, 3), (4, None), (5, 5)]
    assert [t.partition(": ")[2] for t in told] == [
        "1 value of column 'qty' so far did not fit int32: null stands there"
    ]


def test_without_the_word_a_run_ends_at_what_does_not_fit(shop: Shop) -> None:
    text = WORKFLOW.format(name=shop.spot.schema, url=shop.spot.url, word="evolve", mode="hybrid")
    (shop.folder / "workflow.yaml").write_text(text)
    done = dataflare(shop.folder, "run", "workflow.yaml", "--until", "now")
    assert done.code == 1
    assert "infinity" in done.err
