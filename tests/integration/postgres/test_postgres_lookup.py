"""The PostgreSQL lookup on a real server: by keys of every type, through a server that goes away and comes back."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
from tests.chaos.processes import begin, end, ended, lines, wait_until
from tests.postgres import Place, place

from dataflare.batch import Batch
from dataflare.component import Registry, lookup
from dataflare.errors import ExternalError, WorkflowError
from dataflare.monitoring.events import Noticed
from dataflare.processors.enrichment import Enrichment
from dataflare.schema import Schema
from dataflare.testing.stage import staged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.postgres

MAIN = Schema.of({"n": "int64", "s": "string", "d": "decimal(12,3)", "t": "timestamp", "u": "string", "day": "date"})


@pytest.fixture
def spot() -> Iterator[Place]:
    with place() as found:
        found.run(
            "create table {}.c (n int4 primary key, s text, d numeric(10,2), t timestamptz, u uuid, day date, "
            "label varchar(20), unique (s, day))"
        )
        found.run(
            "insert into {}.c select n, 's' || n, n / 4.0, timestamptz '2026-01-01 00:00Z' + n * interval '1 second', "
            "('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, date '2026-01-01' + n, 'label ' || n "
            "from generate_series(1, 1000) n"
        )
        yield found


class Wire:
    """A port on loopback that leads to the server, until it is cut; mended, it leads there again."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = (parts.hostname, parts.port)
        self._open: list[socket.socket] = []
        self.accepted = 0
        self._listen(0)
        self.url = url.replace(f"{parts.hostname}:{parts.port}", f"127.0.0.1:{self._port}")

    def cut(self) -> None:
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._open.clear()

    def mend(self) -> None:
        self._listen(self._port)

    def _listen(self, port: int) -> None:
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", port))
        self._port = self._listener.getsockname()[1]
        self._listener.listen()
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(self._server)
                self._open += [near, far]
                self.accepted += 1
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=_carry, args=(one, other), daemon=True).start()


def _carry(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(1 << 16):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)


@pytest.fixture
def wire(spot: Place) -> Iterator[Wire]:
    found = Wire(spot.url)
    yield found
    found.cut()


@pytest.fixture
def nodes() -> Iterator[list[Any]]:
    made: list[Any] = []
    yield made
    for node in made:
        node.close()


def made(nodes: list[Any], url: str, table: str, on_error: str = "fail", **config: Any) -> Any:
    origin = {"type": "postgres", "url": url, "table": table, **config.pop("origin", {})}
    settings = {"from": origin, "take": ["label"], "retry": {"attempts": 2, "initial": "0s", "max": "0s"}, **config}
    component = Enrichment(Enrichment.spec.config.model_validate(settings))
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


@pytest.mark.parametrize("cache", ["keys", "all"])
def test_keys_of_every_type_find_their_rows(spot: Place, nodes: list[Any], cache: str) -> None:
    import datetime as dt
    from decimal import Decimal

    begin = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    values: dict[str, list[Any]] = {
        "n": [3, 1 << 40, None, 1000],
        "s": ["s3", "s'; drop", None, "s1000"],
        "d": [Decimal("0.750"), Decimal("0.755"), None, Decimal(250)],
        "t": [begin + dt.timedelta(seconds=3), begin, None, begin + dt.timedelta(seconds=1000)],
        "u": ["00000000-0000-0000-0000-000000000003", "no uuid", None, "00000000-0000-0000-0000-000000001000"],
        "day": [dt.date(2026, 1, 4), dt.date(2020, 1, 1), None, dt.date(2028, 9, 27)],
    }
    for name in MAIN.names:
        node = made(nodes, spot.url, spot.table("c"), keys={name: name}, cache=cache)
        assert labels(node, **{name: values[name]}) == ["label 3", None, None, "label 1000"], name
    node = made(nodes, spot.url, spot.table("c"), keys={"s": "s", "day": "day"}, cache=cache)
    assert labels(node, s=["s3", "s3"], day=[dt.date(2026, 1, 4), dt.date(2026, 1, 5)]) == ["label 3", None]


def test_more_keys_than_one_statement_holds(spot: Place, nodes: list[Any]) -> None:
    spot.run("insert into {}.c (n, label) select n, 'label ' || n from generate_series(1001, 25000) n")
    node = made(nodes, spot.url, spot.table("c"), keys={"n": "n"})
    wanted = list(range(25_100, 0, -1))
    assert labels(node, n=wanted) == [f"label {n}" if n <= 25_000 else None for n in wanted]


def test_a_query_is_looked_in_and_columns_may_be_declared(spot: Place, nodes: list[Any]) -> None:
    query = f'select n + 1 as n, upper(label) as label, s from "{spot.schema}".c'
    columns = {"n": "int64", "label": "string"}
    node = made(nodes, spot.url, "", keys={"n": "n"}, origin={"query": query, "columns": columns, "table": ""})
    assert labels(node, n=[4, 1]) == ["LABEL 3", None]


def test_a_server_that_goes_away_and_comes_back(spot: Place, wire: Wire, nodes: list[Any]) -> None:
    strict = made(nodes, wire.url, spot.table("c"), keys={"n": "n"})
    mild = made(nodes, wire.url, spot.table("c"), "dead_letter", keys={"n": "n"})
    assert [labels(n, n=[3, 4]) for n in (strict, mild)] == [["label 3", "label 4"]] * 2
    wire.cut()
    assert labels(strict, n=[4, 3]) == ["label 4", "label 3"], "what is remembered needs no server"
    with pytest.raises(ExternalError):
        labels(strict, n=[3, 5])
    assert labels(mild, n=[3, 5]) == ["label 3"]
    wire.mend()
    assert [labels(n, n=[3, 5]) for n in (strict, mild)] == [["label 3", "label 5"]] * 2
    assert [e.code for e in mild.told if isinstance(e, Noticed)] == ["lookup.down", "lookup.back"]
    assert not [e for e in mild.told if "password" in str(e).lower() or (urlsplit(spot.url).password or "-") in str(e)]


def test_keys_of_types_that_do_not_meet_are_refused(spot: Place, nodes: list[Any]) -> None:
    with pytest.raises(WorkflowError, match="keys: s is string and n is int32"):
        made(nodes, spot.url, spot.table("c"), keys={"s": "n"})


WORKFLOW = """
id: through-a-wire
guarantee: exactly_once
runtime: {{checkpoint: {{interval: 100ms}}, restart: {{initial: 100ms, max: 100ms, attempts: 100}}}}
sources:
  rows: {{type: generator, config: {{rows: 6000, rate: 3000, columns: {{n: {{kind: sequence}}}}}}}}
transformations:
  labelled:
    type: enrichment
    inputs: [rows]
    config:
      keys: {{n: n}}
      from:
        type: postgres
        url: "{url}"
        table: {table}
        columns: {{n: int64, label: string}}  # so that only the run connects
        connect_timeout: 2s
      take: [label]
      retry: {{attempts: 2, initial: 10ms, max: 50ms}}
destinations:
  out: {{type: file, inputs: [labelled], config: {{path: out, format: jsonl}}}}
"""


def test_a_run_goes_on_when_the_server_is_back_and_no_row_is_lost_or_doubled(
    spot: Place, wire: Wire, tmp_path: Path
) -> None:
    (tmp_path / "workflow.yaml").write_text(WORKFLOW.format(url=wire.url, table=spot.table("c")))
    process = begin(tmp_path, "run", "workflow.yaml", "--json")
    try:
        for _ in range(2):
            before = wire.accepted
            wait_until(lambda before=before: wire.accepted > before, process)  # it has connected (again)
            wire.cut()
            threading.Event().wait(0.2)
            wire.mend()
        done = ended(process)
    finally:
        end(process)
    assert done.code == 0, done.err
    found = lines(tmp_path / "out")
    assert sorted(r["n"] for r in found) == list(range(6000))
    assert {r["n"]: r["label"] for r in found} == {n: f"label {n}" if 1 <= n <= 1000 else None for n in range(6000)}
    assert wire.accepted > before
