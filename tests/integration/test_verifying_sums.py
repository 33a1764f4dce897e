"""Databases sum up the hashes of their rows, the same for equal rows whichever they are; only what differs travels."""

from __future__ import annotations

import datetime as dt
from contextlib import ExitStack, closing
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from hypothesis import given, settings
from tests.mariadb import database
from tests.postgres import place
from tests.pushdown import check, conditions, rows_read

from dataflare.component import Registry
from dataflare.connectors.duckdb.settings import DuckdbSourceConfig
from dataflare.connectors.duckdb.source import DuckdbSource
from dataflare.connectors.mariadb.settings import MariaSourceConfig
from dataflare.connectors.mariadb.source import MariaSource
from dataflare.operate.verifying import Options, verify
from dataflare.operate.verifying.comparison import Comparison
from dataflare.testing.stage import staged
from dataflare.workflow import plan_or_raise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dataflare.operate.verifying import Report

pytestmark = [pytest.mark.postgres, pytest.mark.mariadb]

ROWS = 3000
COLUMNS = "id, name, ok, price, day, moment, clock, raw"
UTC = dt.UTC


def row(n: int) -> tuple[Any, ...]:
    if n % 50 == 0:
        return (n, *[None] * 7)
    moment = dt.datetime(1969, 12, 31, 23, 59, 59, 999999, UTC) if n % 7 == 0 else dt.datetime(2026, 1, 1, tzinfo=UTC)
    moment += dt.timedelta(microseconds=n) if n % 7 else dt.timedelta(days=n)
    name = ("", "a ", "A", "é", "日本", "it's", "x,-", "back\\slash")[n % 8]
    price = Decimal(n - 1500) / 100
    return (n, name, n % 2 == 0, price, moment.date(), moment, moment.replace(tzinfo=None), b"\x00\xff" * (n % 3))


@dataclass
class Engine:
    """A database with one table of the rows: its settings, and how a statement is executed."""

    config: str
    run: Callable[..., Any]


def literal(value: Any, kind: str) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return f"x'{value.hex()}'" if kind == "mariadb" else f"'{''.join(f'{chr(92)}x{b:02x}' for b in value)}'"
    if isinstance(value, dt.datetime):
        text = value.replace(tzinfo=None).isoformat(" ")
        return f"'{text}{'+00' if value.tzinfo and kind != 'mariadb' else ''}'"
    if isinstance(value, str):
        doubled = value.replace("'", "''")
        return f"'{doubled.replace(chr(92), chr(92) * 2) if kind == 'mariadb' else doubled}'"
    return f"'{value}'"


def values(kind: str) -> str:
    told = []
    for n in range(ROWS):
        texts = [literal(v, kind) for v in row(n)]
        if kind == "postgres" and row(n)[-1] is not None:
            texts[-1] = f"'\\x{row(n)[-1].hex()}'"
        told.append(f"({', '.join(texts)})")
    return ", ".join(told)


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Engine]]:
    with ExitStack() as stack:
        spot, maria = stack.enter_context(place()), stack.enter_context(database())
        path = tmp_path_factory.mktemp("lake") / "lake.duckdb"

        def in_duckdb(sql: str) -> Any:
            with closing(duckdb.connect(str(path))) as connection:
                connection.execute("set timezone = 'UTC'")
                return connection.execute(sql).fetchall()

        kinds = "id int primary key, name text, ok bool, price numeric(10, 2), day date, moment {}, clock {}, raw {}"
        spot.run(f"create table {{}}.t ({kinds.format('timestamptz', 'timestamp', 'bytea')})")
        spot.run(f"insert into {{}}.t values {values('postgres')}")
        maria.run(f"create table t ({kinds.format('timestamp(6) null', 'datetime(6)', 'longblob')}) charset utf8mb4")
        maria.run(f"insert into t values {values('mariadb')}")
        in_duckdb(f"create table t ({kinds.format('timestamptz', 'timestamp', 'blob')})")
        in_duckdb(f"insert into t values {values('duckdb')}")
        yield {
            "postgres": Engine(
                f"url: '{spot.url}', table: '{spot.table('t')}'", lambda sql: spot.run(sql.replace("_t_", "{}.t"))
            ),
            "mariadb": Engine(f"url: '{maria.url}', table: t", lambda sql: maria.run(sql.replace("_t_", "t"))),
            "duckdb": Engine(f"path: '{path}', table: t", lambda sql: in_duckdb(sql.replace("_t_", "t"))),
        }


def verified(
    folder: Path, source: str, written: str, engines: dict[str, Engine], mode: str = "", **options: Any
) -> Report:
    """Compare two tables, as if a workflow had written one of them."""
    given = f"type: {source}, config: {{{engines[source].config}}}"
    if source == "csv":
        given = f"type: file, config: {{{engines[source].config}}}"
    kind, mode = ("postgres", mode) if mode else (written, "merge")
    target = f"type: {kind}, inputs: [a], write_mode: {mode}, key: [id], config: {{{engines[written].config}}}"
    text = f"id: pair\nsources:\n  a: {{{given}}}\ndestinations:\n  b: {{{target}}}\n"
    (folder / "pair.yaml").write_text(text)
    registry = Registry.installed()
    plan = plan_or_raise(folder / "pair.yaml", registry=registry, environ={}, level="sample")
    return verify(plan, registry, "b", Options(**options))


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of rows of each batch that was compared row by row."""
    found: list[int] = []
    take = Comparison.take

    def counting(self: Comparison, side: str, rows: Any) -> None:
        found.append(rows.num_rows)
        take(self, side, rows)

    monkeypatch.setattr(Comparison, "take", counting)
    return found


PAIRS = [("postgres", "mariadb"), ("mariadb", "duckdb"), ("duckdb", "postgres")]


@pytest.mark.parametrize(("source", "written"), PAIRS)
def test_equal_tables_of_two_databases_have_equal_sums_and_no_row_travels(
    source: str, written: str, engines: dict[str, Engine], tmp_path: Path, taken: list[int]
) -> None:
    report = verified(tmp_path, source, written, engines)
    assert (report.equal, report.by, report.source.rows) == (True, "sums", ROWS)
    assert report.source == report.written
    assert taken == []
    part = verified(tmp_path, source, written, engines, where="id < 100 and price is not null", share=0.5)
    assert (part.equal, part.by, taken) == (True, "sums", [])
    assert 0 < part.source.rows < 98
    assert part.source == part.written


CHANGES = {
    "a text": ("name = 'a'", "different", ("name",)),
    "a cent": ("price = price + 0.01", "different", ("price",)),
    "a microsecond": ("clock = clock + interval 1 microsecond", "different", ("clock",)),
    "nothing for something": ("ok = null", "different", ("ok",)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_row_that_differs_is_named_and_only_its_bucket_travels(
    change: str, engines: dict[str, Engine], tmp_path: Path, taken: list[int]
) -> None:
    (told, kind, columns) = CHANGES[change]
    name, ok, price, clock = (row(1001)[i] for i in (1, 2, 3, 6))
    maria = engines["mariadb"]
    maria.run(f"update _t_ set {told} where id = 1001")
    try:
        report = verified(tmp_path, "postgres", "mariadb", engines)
    finally:
        back = f"name = {literal(name, 'mariadb')}, ok = {ok}, price = {price}, clock = {literal(clock, 'mariadb')}"
        maria.run(f"update _t_ set {back} where id = 1001")
    assert (report.by, dict(report.counts)) == ("sums", {kind: 1})
    assert [(dict(e.key), e.columns) for e in report.examples] == [({"id": 1001}, columns)]
    assert report.source.rows == report.written.rows == ROWS
    assert 0 < sum(taken) < 60


def test_all_rows_are_read_where_most_differ_or_a_column_has_no_form_on_both_sides(
    engines: dict[str, Engine], tmp_path: Path
) -> None:
    engines["duckdb"].run("update _t_ set price = price + 1")
    try:
        report = verified(tmp_path, "mariadb", "duckdb", engines)
    finally:
        engines["duckdb"].run("update _t_ set price = price - 1")
    assert (report.by, dict(report.counts)) == ("rows", {"different": ROWS - ROWS // 50})
    engines["postgres"].run("alter table _t_ add column share float8 default 0.1")
    engines["mariadb"].run("alter table _t_ add column share double default 0.1")
    try:
        report = verified(tmp_path, "postgres", "mariadb", engines)
        assert (report.equal, report.by, report.source.rows) == (True, "rows", ROWS)
        sampled = verified(tmp_path, "postgres", "mariadb", engines, share=0.25)
        assert (sampled.equal, sampled.by) == (True, "rows")
        assert ROWS * 0.2 < sampled.source.rows < ROWS * 0.3
    finally:
        for kind in ("postgres", "mariadb"):
            engines[kind].run("alter table _t_ drop column share")


def test_a_side_that_no_database_holds_is_read_once_and_summed_here(
    engines: dict[str, Engine], tmp_path: Path, taken: list[int]
) -> None:
    (tmp_path / "t.csv").write_text("id,name\n" + "".join(f"{n},{'n' * (n % 5)}\n" for n in range(500)))
    columns = "{id: int32, name: string}"
    both = {**engines, "csv": Engine(f"path: '{tmp_path}/t.csv', columns: {columns}", print)}
    spot = engines["postgres"]
    spot.run("create table _t_2 (id int primary key, name text)")
    try:
        spot.run("insert into _t_2 select n, repeat('n', n % 5) from generate_series(0, 499) n")
        spot.run("update _t_2 set name = null where name = ''")
        both["postgres"] = Engine(spot.config.replace(".t'", ".t2'"), spot.run)
        report = verified(tmp_path, "csv", "postgres", both)
        assert (report.equal, report.by, taken) == (True, "sums", []), report
        spot.run("delete from _t_2 where id = 7")
        report = verified(tmp_path, "csv", "postgres", both)
        assert (dict(report.counts), dict(report.examples[0].key)) == ({"missing": 1}, {"id": 7})
        assert (report.source.rows, report.written.rows) == (500, 499)
    finally:
        spot.run("drop table _t_2")


def test_of_a_history_the_current_versions_are_compared(engines: dict[str, Engine], tmp_path: Path) -> None:
    spot = engines["postgres"]
    both = {n: Engine(spot.config.replace(".t'", f".t_{n}'"), spot.run) for n in ("now", "ever")}
    spot.run("create table _t__now as select n as id, 'n' || n as name from generate_series(1, 50) n")
    spot.run("alter table _t__now add primary key (id)")
    versions = "now() as valid_from, null::timestamptz as valid_to, true as is_current"
    spot.run(f"create table _t__ever as select *, {versions} from _t__now")
    spot.run("insert into _t__ever select id, 'before', now(), now(), false from _t__now where id < 9 or id > 48")
    kinds = {"postgres": both["now"], "written": both["ever"]}
    try:
        report = verified(tmp_path, "postgres", "written", kinds, "scd2")
        assert (report.equal, report.by, report.written.rows) == (True, "sums", 50), report
        spot.run("update _t__ever set is_current = false where id = 50")
        report = verified(tmp_path, "postgres", "written", kinds, "scd2")
        assert (dict(report.counts), dict(report.examples[0].key)) == ({"missing": 1}, {"id": 50})
    finally:
        spot.run("drop table _t__now")
        spot.run("drop table _t__ever")


LITERALS = {
    "name": ["'a'", "'A'", "''", "'é'", "'it''s'", "'a '", "'back\\slash'"],
    "ok": ["true", "false"],
    "price": ["-15.00", "0", "0.5"],
    "day": ["'2026-01-01'", "date '1969-12-31'"],
    "clock": ["'2026-01-01 00:00:00.000003'", "timestamp '2026-01-02 00:00:00'"],
    "moment": ["'2026-01-01 00:00:00.000003Z'", "'1970-01-07 23:59:59.999999'"],
    "id": ["0", "50", "1500"],
}


@pytest.mark.parametrize("kind", ["mariadb", "duckdb"])
def test_conditions_mean_the_same_to_these_databases(kind: str, engines: dict[str, Engine]) -> None:
    def make(**changes: Any) -> Any:
        import yaml

        told = yaml.safe_load(f"{{{engines[kind].config}}}")
        cls, config = (MariaSource, MariaSourceConfig) if kind == "mariadb" else (DuckdbSource, DuckdbSourceConfig)
        return staged(cls(config(**told)), **changes)  # type: ignore[type-var]

    whole = rows_read(make())
    pushed = 0

    @settings(max_examples=12, deadline=None)
    @given(condition=conditions(LITERALS))
    def same(condition: str) -> None:
        nonlocal pushed
        pushed += check(make, condition, whole, set())

    same()
    assert pushed
