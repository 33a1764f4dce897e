"""Changes of MariaDB with values that their columns do not hold: put aside, and nothing stale stays in their place."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from tests.changes import plain
from tests.maria_changes import Followed, followers
from tests.mariadb import Database, database

from dataflare.component.known import KnownColumn
from dataflare.errors import DataError
from dataflare.sql.change_source import CHANGES
from dataflare.testing.stage import batches_of

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.mariadb
TABLE = "create table t (id int primary key, at datetime, d date, c time, f tinyint(1), v text)"
MISFITS = {
    "at": ["'0000-00-00'", "'2026-00-01 01:02:03'"],
    "d": ["'0000-00-00'", "'2026-01-00'"],
    "c": ["'25:00:00'", "'-01:00:00'"],
    "f": ["2", "-1"],
}


@pytest.fixture
def spot() -> Iterator[Database]:
    with database() as found:
        found.run(TABLE)
        yield found


@pytest.fixture
def made(spot: Database) -> Iterator[dict[str, Any]]:
    with followers(spot, "cdc") as cdc, followers(spot, "hybrid") as hybrid:
        yield {"cdc": cdc, "hybrid": hybrid}


def begun(made: dict[str, Any], mode: str = "cdc", **settings: Any) -> Followed:
    one: Followed = made[mode]("t", on_error="dead_letter", **settings)
    assert one.stream.id == CHANGES
    return one


def test_what_does_not_fit_is_put_aside_with_operation_key_and_place(made: Any, spot: Database) -> None:
    one = begun(made)
    spot.run("insert into t values (1, '0000-00-00', null, '01:02:03', 1, 'a'), (2, null, null, null, 0, 'b')")
    spot.run("update t set f = 2, v = 'c' where id = 2")
    spot.run("update t set f = 1, v = 'd' where id = 2")
    spot.run("update t set id = 7, c = '99:00:00' where id = 2")
    spot.run("delete from t")
    good, bad = plain(one.batches())
    assert good == [
        ("insert", 2, "b"),
        ("delete", 2, None),  # what it was is no more in the table
        ("update", 2, "d"),
        ("delete", 2, "d"),
        ("delete", 1, "a"),
        ("delete", 7, "d"),
    ]
    assert [(b["_op"], b["id"], b["error"]) for b in bad] == [
        ("insert", "1", "column 'at' is not datetime"),
        ("update", "2", "column 'f' is not bool"),
        ("insert", "7", "column 'c' is not time"),
    ]
    assert bad[0] | {"_tx": "", "_commit_ts": ""} == {
        "_op": "insert",
        "id": "1",
        "at": "0000-00-00 00:00:00",
        "d": None,
        "c": "01:02:03",
        "f": "1",
        "v": "a",
        "_tx": "",
        "_commit_ts": "",
        "error": "column 'at' is not datetime",
        "table": f"{spot.name}.t",
    }
    assert [b["_tx"] for b in bad] == sorted({b["_tx"] for b in bad})


@pytest.mark.parametrize("column", list(MISFITS))
@pytest.mark.parametrize("mode", ["cdc", "hybrid"])
def test_every_kind_of_misfit_is_put_aside_whether_it_was_read_or_comes(
    made: Any, spot: Database, mode: str, column: str
) -> None:
    def write(first: int) -> None:
        for number, value in enumerate(["null", *MISFITS[column]], first):
            spot.run(f"insert into t (id, {column}) values ({number}, {value})")

    write(1)
    one = begun(made, mode)
    found = []
    if mode == "hybrid":
        part, changes = list(one.source.splits(None))
        found = list(batches_of(one.source, part))
        one.stream, one.position = changes, {"splits": {part.id: found[-1].position}}
    write(100)
    good, bad = plain([*found, *one.batches()])
    lost = [n for n in (2, 3, 101, 102) if mode == "hybrid" or n > 99]
    assert [int(b["id"]) for b in bad] == lost
    assert [g[1] for g in good] == ([1, 100] if mode == "hybrid" else [100])


def test_values_of_a_type_that_the_plan_does_not_have_are_bad_rows(made: Any, spot: Database) -> None:
    one = begun(made)
    known = tuple(KnownColumn(c.name, c.type) for c in one.source.context.schemas["t"] if not c.name.startswith("_"))
    planned = one.source.context.schemas
    spot.run("alter table t modify f varchar(9)")
    spot.run("insert into t (id, f) values (1, '1'), (2, 'maybe')")
    one.again(known={"t": known}, schemas=planned)
    good, bad = plain(one.batches())
    assert good == [("insert", 1, None)]
    assert [(b["id"], b["f"], b["error"]) for b in bad] == [("2", "maybe", "column 'f' is not bool")]


def test_bytes_that_are_no_text_are_shown_by_their_digits(made: Any, spot: Database) -> None:
    spot.run("alter table t add b varbinary(9)")
    one = begun(made, types={"b": "string"})
    spot.run("insert into t (id, b) values (1, 'plain'), (2, x'ff00')")
    good, bad = plain(one.batches())
    assert good == [("insert", 1, None)]
    assert [(b["id"], b["b"]) for b in bad] == [("2", "ff00")]


def test_no_row_that_was_put_aside_is_told_twice_or_lost_by_a_resume_at_any_batch(made: Any, spot: Database) -> None:
    one = begun(made)
    spot.run("begin")
    for first in (1, 101):
        spot.run(
            f"insert into t (id, at) select seq, if(seq % 7 = 0, '0000-00-00', null) from seq_{first}_to_{first + 99}"
        )
        spot.run(f"update t set f = if(id % 5 = 0, 2, 1) where id < {first + 50}")
    spot.run("commit")
    spot.run("update t set at = '0000-00-00' where id % 9 = 0")
    good, bad = plain(one.batches())
    one.position = None
    again = []
    while batches := one.batches(most=1):
        again += batches
        one.again()
    assert {b.stream for b in again} == {"t", "errors"}
    assert len(again) > 1
    assert plain(again) == (good, bad)
    assert len({(b["_tx"], b["_op"], b["id"]) for b in bad}) == len(bad) > 0


def test_a_resume_of_the_first_reading_tells_what_it_put_aside_once(made: Any, spot: Database) -> None:
    spot.run("insert into t (id, at) select seq, if(seq % 10 = 0, '0000-00-00', null) from seq_1_to_500")
    one = begun(made, "hybrid", fetch_rows=250)
    part, _ = list(one.source.splits(None))
    found, position = [], None
    while True:
        batch = next(iter(batches_of(one.source, part, position)), None)
        if batch is None or not batch.num_rows:
            break
        found.append(batch)
        position = json.loads(json.dumps(batch.position))
        one.again()
    good, bad = plain(found)
    assert [g[1] for g in good] == [n for n in range(1, 501) if n % 10]
    assert [int(b["id"]) for b in bad] == list(range(10, 501, 10))


def test_of_a_former_row_that_does_not_fit_nothing_is_told(made: Any, spot: Database) -> None:
    one = begun(made, cdc={"before": True})
    spot.run("insert into t (id, at, v) values (1, '0000-00-00', 'a')")
    spot.run("update t set at = null")
    spot.run("update t set v = 'b'")
    rows = [r for b in one.batches() if b.stream != "errors" for r in b.rows.to_pylist()]
    assert [(r["_op"], r["_before"] and r["_before"]["v"]) for r in rows] == [("update", None), ("update", "a")]


def test_a_row_whose_key_does_not_fit_is_put_aside_with_all_of_its_changes(made: Any, spot: Database) -> None:
    spot.run("alter table t drop primary key, modify d date not null, add primary key (d)")
    one = begun(made)
    spot.run("insert into t (id, d) values (1, '0000-00-00'), (2, '2026-01-01')")
    spot.run("update t set v = 'x'")
    spot.run("delete from t")
    good, bad = plain(one.batches())
    assert good == [("insert", 2, None), ("update", 2, "x"), ("delete", 2, "x")]
    assert [(b["_op"], b["d"]) for b in bad] == [
        ("insert", "0000-00-00"),
        ("update", "0000-00-00"),
        ("delete", "0000-00-00"),
    ]


def test_a_misfit_that_a_first_reading_put_aside_is_not_told_again(made: Any, spot: Database) -> None:
    one = begun(made, "hybrid")
    part, changes = list(one.source.splits(None))
    spot.run("insert into t (id, at) values (1, '0000-00-00'), (2, null)")
    found = list(batches_of(one.source, part))
    one.stream, one.position = changes, {"splits": {part.id: found[-1].position}}
    spot.run("update t set v = 'x'")
    good, bad = plain([*found, *one.batches()])
    assert good == [("read", 2, None), ("delete", 1, None), ("update", 2, "x")]
    assert [(b.get("_op"), int(b["id"])) for b in bad] == [(None, 1), ("update", 1)]


def test_where_nothing_is_put_aside_a_misfit_ends_the_run(made: Any, spot: Database) -> None:
    one: Followed = made["cdc"]("t")
    assert one.stream.id == CHANGES
    spot.run("insert into t (id, at) values (1, '0000-00-00')")
    with pytest.raises(DataError, match=r"a value of .*t\.at is no datetime"):
        one.rows()


@pytest.mark.parametrize("seed", range(2))
def test_applied_by_key_changes_lead_to_the_rows_that_fit(made: Any, spot: Database, seed: int) -> None:
    one, rng = begun(made), random.Random(seed)
    values = ["null", "'2026-01-01'", "'0000-00-00'"]
    batches = []
    for number in range(120):
        some = rng.randrange(12)
        spot.run(
            rng.choice(
                [
                    (
                        f"insert into t (id, at, v) values ({some}, {rng.choice(values)}, 'i{number}') "
                        f"on duplicate key update at = value(at), v = value(v)"
                    ),
                    f"update t set at = {rng.choice(values)}, v = 'u{number}' where id < {some}",
                    f"update ignore t set id = id + 50, v = 'm{number}' where id = {some}",
                    f"delete from t where id = {some}",
                ]
            )
        )
        if number % 40 == 0:
            batches += one.batches(most=rng.randrange(1, 4))
            one.again()
    batches += one.batches()
    rows: dict[int, Any] = {}
    good, _ = plain(batches)
    for op, key, v in good:
        rows.pop(key, None) if op == "delete" else rows.update({key: v})
    fitting = spot.run("select id, v from t where at is null or month(at)")
    assert rows == dict(fitting)
