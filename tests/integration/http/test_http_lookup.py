"""The HTTP lookup against a real server on loopback: by one key, by many, all rows, and a server that goes away."""

from __future__ import annotations

import datetime as dt
import threading
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from tests.http_server import Asked, LocalServer, Said, numbered

from dataflare.batch import Batch
from dataflare.component import Registry, lookup
from dataflare.connectors.http.lookup import HttpLookup
from dataflare.connectors.http.settings import HttpLookupConfig
from dataflare.errors import DataError, ExternalError, UnavailableError, WorkflowError
from dataflare.processors.enrichment import Enrichment
from dataflare.schema import Schema
from dataflare.testing.stage import staged

if TYPE_CHECKING:
    from collections.abc import Iterator

PEOPLE = [{"id": n, "label": f"l{n}"} for n in range(12)]
COLUMNS = {"id": "int64", "label": "string"}
QUICK = {"attempts": 2, "initial": "1ms", "max": "1ms"}


def by_id(asked: Asked) -> Said:
    """Answer one person, without the key that was asked for."""
    number = int(asked.path.rpartition("/")[2])
    return Said.of({"label": f"l{number}"}) if number < len(PEOPLE) else Said(b"nobody", 404)


def by_ids(asked: Asked) -> Said:
    wanted = [int(n) for n in asked.query["ids"].split(",")]
    return Said.of({"data": [p for p in PEOPLE if p["id"] in wanted]})


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with LocalServer(by_id) as found:
        yield found


def make(server: LocalServer, **settings: Any) -> HttpLookup:
    given = {"url": f"{server.url}/people/{{id}}", "columns": COLUMNS, "retry": QUICK, **settings}
    return staged(HttpLookup(HttpLookupConfig.model_validate(given)), schemas={})


def found(one: HttpLookup, **keys: list[Any]) -> list[dict[str, Any]]:
    try:
        return sorted(one.find(pa.table(keys)).to_pylist(), key=str)
    finally:
        one.close()


def test_each_key_is_a_request_and_what_is_not_there_is_no_row(server: LocalServer) -> None:
    assert found(make(server), id=[3, 99, 4]) == PEOPLE[3:5]
    assert sorted(a.path for a in server.asked) == ["/people/3", "/people/4", "/people/99"]


def test_many_keys_are_asked_for_together(server: LocalServer) -> None:
    server.say = by_ids
    batches = {"url": f"{server.url}/people", "batch_max": 5, "batch_parameter": "ids", "records": "data"}
    assert found(make(server, **batches), id=[*range(14)]) == sorted(PEOPLE, key=str)
    assert sorted(a.query["ids"] for a in server.asked) == ["0,1,2,3,4", "10,11,12,13", "5,6,7,8,9"]


@pytest.mark.parametrize(
    ("keys", "sent"),
    [
        ({"id": [1, 2]}, [1, 2]),
        ({"id": [1, 2], "label": ["a", 'b"']}, [{"id": 1, "label": "a"}, {"id": 2, "label": 'b"'}]),
    ],
)
def test_keys_may_be_a_list_in_the_body(server: LocalServer, keys: dict[str, list[Any]], sent: list[Any]) -> None:
    server.say = lambda _: Said.of(PEOPLE[1:3])
    batches = {"url": server.url, "method": "POST", "batch_max": 9, "batch_field": "keys", "json": {"tenant": 5}}
    assert found(make(server, **batches), **keys) == PEOPLE[1:3]
    assert server.asked[0].json == {"tenant": 5, "keys": sent}


def test_keys_stand_wherever_there_is_a_place_as_what_they_are(server: LocalServer) -> None:
    server.say = lambda _: Said.of([])
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    one = make(
        server,
        url=f"{server.url}/{{name}}",
        params={"at": "{at}", "of": "n-{n}"},
        method="post",
        json={"n": "{n}", "deep": [{"price": "{price}"}], "text": "no {n}"},
    )
    found(one, name=["a/b ü?"], at=pa.array([moment], pa.timestamp("us", "UTC")), n=[7], price=[Decimal("1.50")])
    (asked,) = server.asked
    assert asked.path == "/a%2Fb%20%C3%BC%3F"
    assert asked.query == {"at": "2026-01-02T03:04:05.000000Z", "of": "n-7"}
    assert asked.json == {"n": 7, "deep": [{"price": 1.5}], "text": "no 7"}


def test_no_more_requests_are_under_way_than_may_be(server: LocalServer) -> None:
    lock, now, most = threading.Lock(), 0, 0
    both = threading.Barrier(2, timeout=20)

    def counting(asked: Asked) -> Said:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        both.wait()
        with lock:
            now -= 1
        return by_id(asked)

    server.say = counting
    assert found(make(server, concurrency=2), id=[*range(8)]) == PEOPLE[:8]
    assert most == 2


def test_all_rows_are_read_page_by_page(server: LocalServer) -> None:
    server.say = lambda asked: Said.of(numbered(asked, PEOPLE, 5))
    one = make(server, url=f"{server.url}/people", pagination={"type": "page"}, auth={"type": "bearer", "token": "abc"})
    rows = [row for rows in one.everything() for row in rows.to_pylist()]
    one.close()
    assert rows == PEOPLE
    assert {a.headers["authorization"] for a in server.asked} == {"Bearer abc"}
    with pytest.raises(WorkflowError, match="for single keys"):
        next(make(server).everything())


@pytest.mark.parametrize(
    ("said", "error", "match"),
    [
        (Said(status=503), ExternalError, "answered 503 2 times"),
        (Said(b"who?", 401), UnavailableError, r"answered 401 \(check auth\)"),
        (Said(b"<html>"), DataError, "no JSON"),
        (Said(b'{"id": "many"}', 200), DataError, "column 'id' is not int64"),
        (Said(b'{"label": "x"}', sent=5), ExternalError, "broke off"),
    ],
)
def test_what_is_no_answer_is_told(server: LocalServer, said: Said, error: type[Exception], match: str) -> None:
    server.say = lambda _: said
    with pytest.raises(error, match=match):
        found(make(server), id=[1, 2, 3])


def test_settings_that_do_not_go_together_are_told(server: LocalServer) -> None:
    with pytest.raises(ValueError, match="batch_max and one of"):
        make(server, batch_max=5)
    with pytest.raises(ValueError, match="one key a request"):
        make(server, batch_max=5, batch_parameter="ids")
    with pytest.raises(WorkflowError, match="a place for id, which is no key"):
        found(make(server), label=["a"])
    with pytest.raises(WorkflowError, match="nothing says how keys"):
        found(make(server, url=server.url), id=[1])


def test_a_look_at_the_server_says_whether_it_is_there(server: LocalServer) -> None:
    assert make(server).schema() == Schema.of(COLUMNS)
    with pytest.raises(ExternalError, match="no connection"):
        make(server, url="http://127.0.0.1:1/{id}").schema()


def test_many_requests_at_once_fetch_one_token(server: LocalServer) -> None:
    given = []

    def guarded(asked: Asked) -> Said:
        if asked.path != "/token":
            return by_id(asked) if asked.headers["authorization"] == "Bearer t1" else Said(status=401)
        given.append(asked)
        return Said.of({"access_token": f"t{len(given)}"})

    server.say = guarded
    auth = {"type": "oauth2", "token_url": f"{server.url}/token", "client_id": "a", "client_secret": "b"}
    assert found(make(server, auth=auth), id=[*range(8)]) == PEOPLE[:8]
    assert len(given) == 1


# ---- as a node ------------------------------------------------------------------------------------------------------


def enrich(server: LocalServer, **settings: Any) -> tuple[Enrichment, list[Any]]:
    origin = {"type": "http", "url": f"{server.url}/people/{{id}}", "columns": COLUMNS, "retry": QUICK}
    given = {"keys": {"who": "id"}, "from": origin, "retry": {"attempts": 1, "max": "0s"}, **settings}
    events: list[Any] = []
    registry = Registry.installed()
    main = Schema.of({"who": "int64"})
    one = staged(
        Enrichment(Enrichment.spec.config.model_validate(given)),
        events=events,
        schemas={"0": main},
        on_error="null",
        lookups=lambda name: registry.find(lookup, name),
    )
    one.context = replace(one.context, outputs=one.outputs([main]))
    one.open()
    return one, events


def labels(one: Enrichment, *who: int | None) -> list[str | None]:
    batch = Batch.of([{"who": n} for n in who], schema=Schema.of({"who": "int64"}).to_arrow())
    return [row["label"] for out in one.process(batch, 0) for row in out.rows.to_pylist()]


def test_answers_and_misses_are_remembered(server: LocalServer) -> None:
    one, _ = enrich(server)
    assert labels(one, 3, 99, None, 3) == ["l3", None, None, "l3"]
    assert labels(one, 99, 3) == [None, "l3"]
    assert len(server.asked) == 2
    one.close()


def test_a_server_that_is_down_is_told_once_and_asked_again(server: LocalServer) -> None:
    one, events = enrich(server)
    server.say = lambda _: Said(status=503)
    assert labels(one, 1) == [None]
    assert labels(one, 2) == [None]
    server.say = by_id
    assert labels(one, 1, 2) == ["l1", "l2"]
    assert [e.code for e in events if e.code.startswith("lookup")] == ["lookup.down", "lookup.back"]
    one.close()
