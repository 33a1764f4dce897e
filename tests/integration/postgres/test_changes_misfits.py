"""Changes with values that their columns do not hold: put aside, and nothing stale stays in their place."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from tests.changes import Followed, followers, plain
from tests.postgres import Place, place

from dataflare.connectors.postgres.changes.following import CHANGES
from dataflare.errors import DataError
from dataflare.testing.stage import batches_of

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.postgres
TABLE = "create table {}.t (id int primary key, at timestamptz, n numeric, a int[], v text)"
MISFITS = {
    "at": ["'infinity'", "'-infinity'"],
    "n": ["'NaN'", "'Infinity'", "123456789012345678901234567890123456789.5", "0.12345678901"],
    "a": ["'{{1,2},{3,4}}'", "'[2:3][1:1]={{1},{2}}'"],
}


@pytest.fixture
def spot() -> Iterator[Place]:
    with place() as found:
        found.run(TABLE)
        yield found


@pytest.fixture
def made(spot: Place) -> Iterator[dict[str, Any]]:
    with followers(spot, "cdc") as cdc, followers(spot, "hybrid") as hybrid:
        yield {"cdc": cdc, "hybrid": hybrid}


def begun(made: dict[str, Any], mode: str = "cdc", **settings: Any) -> Followed:
    one: Followed = made[mode]("t", on_error="dead_letter", **settings)
    assert one.stream.id == CHANGES
    return one


def test_what_does_not_fit_is_put_aside_with_operation_key_and_place(made: Any, spot: Place) -> None:
    one = begun(made)
    spot.run("insert into {}.t values (1, 'infinity', 1, null, 'a'), (2, null, 2, null, 'b')")
    spot.run("update {}.t set n = 'NaN', v = 'c' where id = 2")
    spot.run("update {}.t set n = 3, v = 'd' where id = 2")
    spot.run("update {}.t set id = 7, n = 'NaN' where id = 2")
    spot.run("delete from {}.t")
    good, bad = plain(one.batches())
    assert good == [
        ("insert", 2, "b"),
        ("delete", 2, None),  # what it was is no more in the table
        ("update", 2, "d"),
        ("delete", 2, None),
        ("delete", 1, None),
        ("delete", 7, None),
    ]
    assert [(b["_op"], b["id"], b["error"]) for b in bad] == [
        ("insert", "1", "column 'at' is not timestamp"),
        ("update", "2", "column 'n' is not decimal(38,9)"),
        ("insert", "7", "column 'n' is not decimal(38,9)"),
    ]
    assert bad[0] | {"_tx": "", "_commit_ts": ""} == {
        "_op": "insert",
        "id": "1",
        "at": "infinity",
        "n": "1",
        "a": None,
        "v": "a",
        "_tx": "",
        "_commit_ts": "",
        "error": "column 'at' is not timestamp",
        "table": f"{spot.schema}.t",
    }
    assert [b["_tx"] for b in bad] == sorted({b["_tx"] for b in bad})


@pytest.mark.parametrize("column", list(MISFITS))
@pytest.mark.parametrize("mode", ["cdc", "hybrid"])
def test_every_kind_of_misfit_is_put_aside_whether_it_was_read_or_comes(
    made: Any, spot: Place, mode: str, column: str
) -> None:
    def write(first: int) -> None:
        for number, value in enumerate(["null", *MISFITS[column]], first):
            spot.run(f"insert into {{}}.t (id, {column}) values ({number}, {value})")

    write(1)
    one = begun(made, mode)
    found = []
    if mode == "hybrid":
        part, changes = list(one.source.splits(None))
        found = list(batches_of(one.source, part))
        one.stream, one.position = changes, {"splits": {part.id: found[-1].position}}
    write(100)
    good, bad = plain([*found, *one.batches()])
    wrong = [*range(1, len(MISFITS[column]) + 2), *range(100, len(MISFITS[column]) + 101)]
    lost = [n for n in wrong if n not in (1, 100) and (mode == "hybrid" or n > 99)]
    assert [int(b["id"]) for b in bad] == lost
    assert [g[1] for g in good] == ([1, 100] if mode == "hybrid" else [100])


def test_no_row_that_was_put_aside_is_told_twice_or_lost_by_a_resume_at_any_batch(made: Any, spot: Place) -> None:
    one = begun(made)
    for first in (1, 101):
        spot.run(
            f"insert into {{}}.t select n, case when n % 7 = 0 then 'infinity' end::timestamptz "
            f"from generate_series({first}, {first + 99}) n"
        )
        spot.run(f"update {{}}.t set n = case when id % 5 = 0 then 'NaN'::numeric else 1 end where id < {first + 50}")
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


def test_a_resume_of_the_first_reading_tells_what_it_put_aside_once(made: Any, spot: Place) -> None:
    spot.run(
        "insert into {}.t select n, case when n % 10 = 0 then 'infinity' end::timestamptz "
        "from generate_series(1, 500) n"
    )
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
    assert [b["id"] for b in bad] == list(range(10, 501, 10))


def test_of_a_former_row_that_does_not_fit_nothing_is_told(made: Any, spot: Place) -> None:
    spot.run("alter table {}.t replica identity full")
    one = begun(made, cdc={"before": True})
    spot.run("insert into {}.t values (1, 'infinity', 1, null, 'a')")
    spot.run("update {}.t set at = null")
    spot.run("update {}.t set v = 'b'")
    rows = [r for b in one.batches() if b.stream != "errors" for r in b.rows.to_pylist()]
    assert [(r["_op"], r["_before"] and r["_before"]["v"]) for r in rows] == [("update", None), ("update", "a")]


def test_a_row_whose_key_does_not_fit_is_put_aside_with_all_of_its_changes(made: Any, spot: Place) -> None:
    spot.run("alter table {}.t drop constraint t_pkey, add column k numeric not null default 1, add primary key (k)")
    one = begun(made)
    spot.run("insert into {}.t (id, k) values (1, 'NaN'), (2, 5)")
    spot.run("update {}.t set v = 'x'")
    spot.run("delete from {}.t")
    good, bad = plain(one.batches())
    assert good == [("insert", 2, None), ("update", 2, "x"), ("delete", None, None)]
    assert [(b["_op"], b["k"]) for b in bad] == [("insert", "NaN"), ("update", "NaN"), ("delete", "NaN")]


def test_where_nothing_is_put_aside_a_misfit_ends_the_run(made: Any, spot: Place) -> None:
    one: Followed = made["cdc"]("t")
    assert one.stream.id == CHANGES
    spot.run("insert into {}.t values (1, 'infinity')")
    with pytest.raises(DataError, match="infinity is no timestamp"):
        one.rows()


@pytest.mark.parametrize("seed", range(2))
def test_applied_by_key_changes_lead_to_the_rows_that_fit(made: Any, spot: Place, seed: int) -> None:
    one, rng = begun(made), random.Random(seed)
    values = ["null", "'2026-01-01'", "'infinity'"]
    batches = []
    for number in range(120):
        some = rng.randrange(12)
        spot.run(
            rng.choice(
                [
                    (
                        f"insert into {{}}.t (id, at, v) values ({some}, {rng.choice(values)}, 'i{number}') "
                        f"on conflict (id) do update set at = excluded.at, v = excluded.v"
                    ),
                    f"update {{}}.t set at = {rng.choice(values)}, v = 'u{number}' where id < {some}",
                    (
                        f"update {{}}.t set id = id + 50, v = 'm{number}' where id = {some} and not exists "
                        f"(select from {{}}.t o where o.id = {some + 50})"
                    ),
                    f"delete from {{}}.t where id = {some}",
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
    fitting = spot.run("select id, v from {}.t where at is null or isfinite(at)")
    assert rows == dict(fitting)
