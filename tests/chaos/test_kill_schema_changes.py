"""kill -9 while columns of a followed table come, go and get other names and types: the copy equals the table."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.changes import Writer, forget
from tests.chaos.processes import begin, end, run, wait_until
from tests.chaos.test_kill_changes import _prepared
from tests.chaos.test_kill_maria_changes import prepared as prepared_maria
from tests.maria_changes import Writer as MariaWriter
from tests.maria_changes import there
from tests.mariadb import database
from tests.postgres import Place, place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

ROWS = 600
COPY = """
  items:
    type: postgres
    inputs: [shop.items]
    write_mode: merge
    key: [id]
    config: {{url: "${{{variable}}}", table: {schema}.items_copy}}
  names: {{type: file, inputs: [shop.names], config: {{path: names, format: jsonl}}}}
  pairs: {{type: file, inputs: [shop.pairs], config: {{path: pairs, format: jsonl}}}}
"""
CHANGES = (
    "alter table items add a int; update items set a = n where id % 2 = 0",
    "alter table items alter a type bigint; update items set a = 5000000000 + n where id % 3 = 0",
    "alter table items rename a to b; update items set b = b + 1 where id % 5 = 0",
    "alter table items add c numeric(9,2); update items set c = n / 4.0 where id % 2 = 1",
    "update items set c = n / 8.0 where id % 2 = 1; alter table items rename c to d; update items set d = 1",
    "alter table items add a text; update items set a = 'x' || id where id % 7 = 0",
    "update items set b = 1 where id % 11 = 0; alter table items drop a; update items set b = 2 where id % 13 = 0",
)
"""The last one is the drop: behind it, what the log calls a column is not always clear (`aligned`)."""


@pytest.fixture
def spot() -> Iterator[Place]:
    with place() as found:
        yield found
        forget(found, found.schema)


def _killed(folder: Path, copied: Callable[[], int], change: Callable[[Any], None], changes: Sequence[Any]) -> None:
    """Change columns, each time while another process follows them, and kill it a little later; then catch up."""
    file, chance = folder / "workflow.yaml", random.Random(5)
    file.write_text(file.read_text().replace("    mode: hybrid\n", "    mode: hybrid\n    schema: {ddl: evolve}\n"))
    for statements in changes:
        process = begin(folder, "run", "workflow.yaml")
        try:
            wanted = copied() + chance.randrange(1, 60)
            wait_until(lambda: copied() >= wanted, process)  # noqa: B023 - now
            change(statements)
            wanted = copied() + chance.randrange(0, 40)
            wait_until(lambda: copied() >= wanted, process)  # noqa: B023 - now
        finally:
            end(process)


def _caught_up(folder: Path) -> None:
    done = run(folder, "--until", "now")
    assert done.code == 0, done.err


@pytest.mark.postgres
def test_kills_while_columns_change_leave_the_copy_equal(spot: Place, tmp_path: Path) -> None:
    _prepared(spot, tmp_path, "hybrid", ROWS, COPY)
    writer = Writer(spot.url, spot.schema, ROWS, 21)

    def copied() -> int:
        if not spot.run("select 1 from pg_class where oid = to_regclass($1)", (f"{spot.schema}.items_copy",)):
            return 0
        return int(spot.run("select count(*) + coalesce(sum(n), 0)::int8 from {}.items_copy")[0][0])

    def change(statements: str) -> None:
        with psycopg.connect(spot.url) as connection:
            connection.execute(f"set search_path to {spot.schema}")
            connection.execute("lock table items in access exclusive mode")  # the writer is in no middle then
            connection.execute(statements)  # type: ignore[arg-type]

    writer.start()
    try:
        _killed(tmp_path, copied, change, CHANGES)
    finally:
        writer.stop()
    _caught_up(tmp_path)

    for one, other in (("items", "items_copy"), ("items_copy", "items")):
        columns = "id, v, n, long, b, d"
        assert spot.run(f"select {columns} from {{}}.{one} except select {columns} from {{}}.{other}") == []
    names = "select column_name::text from information_schema.columns where table_schema = $1 and table_name = $2"
    found = sorted(name for (name,) in spot.run(names, (spot.schema, "items_copy")))
    assert found == ["b", "d", "id", "long", "n", "v"]


MARIA_COPY = """
  items: {{type: mariadb, inputs: [shop.items], write_mode: merge, config: {{url: "{url}", table: items_copy}}}}
  names: {{type: file, inputs: [shop.names], config: {{path: names, format: jsonl}}}}
  pairs: {{type: file, inputs: [shop.pairs], config: {{path: pairs, format: jsonl}}}}
"""
MARIA_CHANGES = (
    ("alter table items add a int first", "update items set a = n where id % 2 = 0"),
    ("alter table items modify a bigint after v", "update items set a = 5000000000 + n where id % 3 = 0"),
    ("alter table items change a b bigint", "update items set b = coalesce(b, 0) + 1"),
    ("alter table items add c decimal(9,2)", "update items set c = n / 4 where id % 2 = 1"),
    (
        "update items set c = n / 8 where id % 2 = 1",
        "alter table items modify c decimal(12,3) first",
        "update items set c = 1.125 where id % 3 = 0",
    ),
    ("alter table items add a text", "update items set a = concat('x', id) where id % 7 = 0"),
    (
        "update items set b = 1 where id % 11 = 0",
        "alter table items drop a, modify b varchar(30)",
        "update items set b = 'two' where id % 13 = 0",
    ),
)
"""A name that changes is a column that goes and one that comes: behind the third change all rows get a value."""


@pytest.mark.mariadb
def test_kills_while_columns_of_mariadb_change_leave_the_copy_equal(tmp_path: Path) -> None:
    with database() as spot:
        prepared_maria(spot.url, tmp_path, MARIA_COPY, rows=ROWS)
        writer = MariaWriter(spot.url, ROWS, 23)

        def copied() -> int:
            if "items_copy" not in spot.tables():
                return 0
            return int(spot.run("select count(*) + coalesce(sum(n), 0) from items_copy")[0][0])

        def change(statements: tuple[str, ...]) -> None:
            for statement in ("lock tables items write", *statements, "unlock tables"):
                spot.run(statement)  # the writer is in no middle then

        writer.start()
        try:
            _killed(tmp_path, copied, change, MARIA_CHANGES)
        finally:
            writer.stop()
        _caught_up(tmp_path)
        assert there(spot.url, "items_copy") == there(spot.url, "items")
        assert sorted(next(iter(there(spot.url, "items_copy").values()))) == ["b", "big", "c", "id", "n", "v"]
