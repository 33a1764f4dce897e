"""The MariaDB lookup on a real server: by keys of every type, whatever collations take for the same, through a cut."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
from tests.chaos.processes import lines, run
from tests.mariadb import Database, database
from tests.wire import cuttable

from dataflare.batch import Batch
from dataflare.component import Registry, lookup
from dataflare.connectors.mariadb.session import MariaSession
from dataflare.errors import WorkflowError
from dataflare.monitoring.events import Noticed
from dataflare.processors.enrichment import Enrichment
from dataflare.schema import Schema
from dataflare.testing.stage import staged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.mariadb

BEGIN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
NAIVE = BEGIN.replace(tzinfo=None)
MAIN = Schema.of(
    {"n": "int64", "s": "string", "d": "decimal(12,3)", "t": "timestamp", "w": "datetime", "u": "string",
     "day": "date", "x": "float64", "b": "binary", "e": "string", "yes": "bool", "c": "time", "l": "string"}
)  # fmt: skip
TABLE = """
create table c (n int primary key, s varchar(20) collate utf8mb4_general_ci, d decimal(10, 2), t timestamp(6) null,
  w datetime, u uuid, day date, x double, b varbinary(20), e enum('e1', 'e3', 'e1000'), yes bool, c time(3),
  l varchar(20) character set latin1, label varchar(20), key (s, day)) character set utf8mb4
"""


@pytest.fixture(scope="module")
def spot() -> Iterator[Database]:
    with database() as found:
        found.run(TABLE)
        found.run(
            "insert into c select seq, concat('s', seq), seq / 4, '2026-01-01' + interval seq second, "
            "'2026-01-01' + interval seq second, concat('00000000-0000-0000-0000-', lpad(seq, 12, '0')), "
            "'2026-01-01' + interval seq day, seq / 7e0, concat('b', seq, char(0)), "
            "if(seq in (1, 3, 1000), concat('e', seq), null), if(seq = 3, true, null), sec_to_time(seq), "
            "concat('é', seq), concat('label ', seq) from seq_1_to_1000"
        )
        yield found


@pytest.fixture
def nodes() -> Iterator[list[Any]]:
    made: list[Any] = []
    yield made
    for node in made:
        node.close()


def made(nodes: list[Any], url: str, table: str = "c", on_error: str = "fail", **config: Any) -> Any:
    origin = {"type": "mariadb", "url": url, "table": table, **config.pop("origin", {})}
    config = {"from": origin, "take": ["label"], "retry": {"attempts": 2, "initial": "0s", "max": "0s"}, **config}
    component = Enrichment(Enrichment.spec.config.model_validate(config))
    context = {"schemas": {"0": MAIN}, "on_error": on_error, "lookups": partial(Registry.installed().find, lookup)}
    component.told = []
    nodes.append(staged(component, events=component.told, **context))
    component.open()
    return component


def labels(node: Any, **columns: list[Any]) -> list[str | None]:
    count = len(next(iter(columns.values())))
    given = {name: columns.get(name, [None] * count) for name in MAIN.names}
    rows = pa.table({n: pa.array(v, f.type) for (n, v), f in zip(given.items(), MAIN.to_arrow(), strict=True)})
    return [label for b in node.process(Batch(rows)) if not b.stream for label in b.rows["label"].to_pylist()]


FOUND = ["label 3", None, None, "label 1000"]
KEYS: dict[str, list[Any]] = {
    "n": [3, 1 << 40, None, 1000],
    "s": ["s3", "s'\\; drop", None, "s1000"],
    "d": [Decimal("0.750"), Decimal("0.755"), None, Decimal(250)],
    "t": [BEGIN + dt.timedelta(seconds=3), BEGIN, None, BEGIN + dt.timedelta(seconds=1000)],
    "w": [NAIVE + dt.timedelta(seconds=3), NAIVE, None, NAIVE + dt.timedelta(seconds=1000)],
    "u": ["00000000-0000-0000-0000-000000000003", "no uuid", None, "00000000-0000-0000-0000-000000001000"],
    "day": [dt.date(2026, 1, 4), dt.date(2020, 1, 1), None, dt.date(2028, 9, 27)],
    "x": [3 / 7, float("nan"), None, 1000 / 7],
    "b": [b"b3\0", b"b3", None, b"b1000\0"],
    "e": ["e3", "e7", None, "e1000"],
    "c": [dt.time(0, 0, 3), dt.time(23), None, dt.time(0, 16, 40)],
    "l": ["é3", "\U0001f600", None, "é1000"],
}


@pytest.mark.parametrize("cache", ["keys", "all"])
@pytest.mark.parametrize("name", KEYS)
def test_keys_of_every_type_find_their_rows(spot: Database, nodes: list[Any], cache: str, name: str) -> None:
    node = made(nodes, spot.url, keys={name: name}, cache=cache)
    assert labels(node, **{name: KEYS[name]}) == FOUND


@pytest.mark.parametrize("cache", ["keys", "all"])
def test_true_and_false_are_keys(spot: Database, nodes: list[Any], cache: str) -> None:
    node = made(nodes, spot.url, keys={"yes": "yes"}, cache=cache)
    assert labels(node, yes=[True, False, None]) == ["label 3", None, None]


@pytest.mark.parametrize("cache", ["keys", "all"])
def test_several_columns_are_one_key(spot: Database, nodes: list[Any], cache: str) -> None:
    node = made(nodes, spot.url, keys={"s": "s", "day": "day"}, cache=cache)
    assert labels(node, s=["s3", "s3"], day=[dt.date(2026, 1, 4), dt.date(2026, 1, 5)]) == ["label 3", None]


@pytest.mark.parametrize("cache", ["keys", "all"])
def test_what_a_collation_takes_for_the_same_is_not(spot: Database, nodes: list[Any], cache: str) -> None:
    spot.run("create or replace table names (name varchar(20) collate utf8mb4_general_ci, label varchar(20))")
    spot.run("insert into names values ('a', 'small'), ('A', 'large'), ('a ', 'long'), ('é', 'accent')")
    node = made(nodes, spot.url, "names", keys={"s": "name"}, cache=cache)
    assert labels(node, s=["A", "a", "e", "a ", "a  ", "é"]) == ["large", "small", None, "long", None, "accent"]


def test_more_keys_than_one_statement_holds(spot: Database, nodes: list[Any]) -> None:
    spot.run("create or replace table many (n int primary key, s varchar(20), label varchar(20))")
    spot.run("insert into many select seq, concat('s', seq), concat('label ', seq) from seq_1_to_5000")
    wanted = list(range(5_100, 0, -1))
    expected = [f"label {n}" if n <= 5_000 else None for n in wanted]
    node = made(nodes, spot.url, "many", keys={"n": "n"})
    assert labels(node, n=wanted) == expected
    node = made(nodes, spot.url, "many", keys={"n": "n", "s": "s"})
    assert labels(node, n=wanted, s=[f"s{n}" for n in wanted]) == expected


def test_the_index_of_the_key_is_used(spot: Database, nodes: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each statement is small enough that the server looks into the index, and does not make a table of the keys."""
    spot.run("create or replace table wide (s varchar(20), label varchar(20), key (s)) collate utf8mb4_unicode_ci")
    spot.run("insert into wide select concat('s', seq), concat('label ', seq) from seq_1_to_20000")
    asked: list[str] = []
    original = MariaSession.texts

    def texts(self: MariaSession, sql: str, size: int) -> Any:
        asked.append(sql)
        return original(self, sql, size)

    monkeypatch.setattr(MariaSession, "texts", texts)
    node = made(nodes, spot.url, "wide", keys={"s": "s"})
    assert labels(node, s=[f"s{n}" for n in range(1, 2001)]) == [f"label {n}" for n in range(1, 2001)]
    assert len(asked) == 3
    for sql in asked:
        ((_, _, _, way, *_),) = spot.run(f"explain {sql}")
        assert way == "range"


def test_a_query_is_looked_in_and_columns_may_be_declared(spot: Database, nodes: list[Any]) -> None:
    columns = {"n": "int64", "label": "string"}
    origin = {"query": "select n + 1 as n, upper(label) as label, s from c", "columns": columns, "table": ""}
    node = made(nodes, spot.url, keys={"n": "n"}, origin=origin)
    assert labels(node, n=[4, 1]) == ["LABEL 3", None]


def test_a_server_that_goes_away_and_comes_back(spot: Database, nodes: list[Any]) -> None:
    parts = urlsplit(spot.url)
    with cuttable(parts.hostname or "", parts.port or 0) as wire:
        url = spot.url.replace(f"{parts.hostname}:{parts.port}", f"127.0.0.1:{wire.port}")
        node = made(nodes, url, keys={"n": "n"})
        assert labels(node, n=[3, 4]) == ["label 3", "label 4"]
        wire.cut()
        assert labels(node, n=[4, 3]) == ["label 4", "label 3"], "what is remembered needs no server"
        assert labels(node, n=[3, 5]) == ["label 3", "label 5"], "it connects again"
    told = str([e for e in node.told if isinstance(e, Noticed)])
    assert (parts.password or "-") not in told


def test_keys_of_types_that_do_not_meet_are_refused(spot: Database, nodes: list[Any]) -> None:
    with pytest.raises(WorkflowError, match="keys: s is string and n is int32"):
        made(nodes, spot.url, keys={"s": "n"})


WORKFLOW = """
id: looked-up
sources:
  rows: {{type: generator, config: {{rows: 3000, columns: {{n: {{kind: sequence}}}}}}}}
transformations:
  labelled:
    type: enrichment
    inputs: [rows]
    config:
      keys: {{n: n}}
      from: {{type: {kind}, url: "{url}", table: c}}
      take: [label]
destinations:
  out: {{type: file, inputs: [labelled], config: {{path: out, format: jsonl}}}}
"""


@pytest.mark.parametrize("kind", ["mariadb", "mysql"])
def test_a_workflow_looks_rows_up(spot: Database, tmp_path: Path, kind: str) -> None:
    (tmp_path / "workflow.yaml").write_text(WORKFLOW.format(url=spot.url, kind=kind))
    done = run(tmp_path)
    assert done.code == 0, done.err
    found = {r["n"]: r["label"] for r in lines(tmp_path / "out")}
    assert found == {n: f"label {n}" if 1 <= n <= 1000 else None for n in range(3000)}
