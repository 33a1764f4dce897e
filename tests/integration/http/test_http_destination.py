"""The HTTP destination against a real server on loopback: bodies, refusals, a server that flaps, keys of requests."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest
from tests.http_server import Asked, LocalServer, Said

from dataflare.batch import Batch
from dataflare.component import Epoch
from dataflare.connectors.http.destination import HttpDestination
from dataflare.connectors.http.settings import HttpDestinationConfig
from dataflare.errors import DataError, ExternalError, UnavailableError
from dataflare.schema import Schema
from dataflare.testing.destination_suite import SUITE_SCHEMA, rows
from dataflare.testing.stage import staged

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

FORM = "application/x-www-form-urlencoded"
QUICK = {"attempts": 4, "initial": "1ms", "max": "2ms"}


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with LocalServer(lambda _: Said(status=201)) as found:
        yield found


async def sent(server: LocalServer, *parts: Sequence[int], folder: Path | None = None, **settings: Any) -> None:
    """Write batches of these numbers in one epoch."""
    context = {"schemas": {"0": SUITE_SCHEMA}, **settings.pop("context", {})}
    given = {"url": f"{server.url}/rows", "retry": QUICK, **settings}
    one = staged(HttpDestination(HttpDestinationConfig.model_validate(given)), folder, **context)
    one.open()
    try:
        for part in parts:
            await one.write(rows(list(part)))
        assert await one.prepare(Epoch(1, 1)) == ()
    finally:
        await one.close()


def ids(asked: Asked) -> list[int]:
    return [r["id"] for r in asked.json]


async def test_rows_are_gathered_into_requests_and_all_are_sent_before_the_epoch_is_sealed(server: LocalServer) -> None:
    await sent(server, [1], [2, 3], range(4, 12), rows_max=4, method="put")
    assert [ids(a) for a in server.asked] == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11]]
    assert {(a.method, a.path, a.headers["content-type"]) for a in server.asked} == {
        ("PUT", "/rows", "application/json")
    }


@pytest.mark.parametrize(
    ("settings", "kind", "bodies"),
    [
        ({}, "application/json", ['[{"id":1,"name":"name 1"},{"id":2,"name":"name 2"}]']),
        ({"wrap": "items"}, "application/json", ['{"items":[{"id":1,"name":"name 1"},{"id":2,"name":"name 2"}]}']),
        ({"rows_max": 1}, "application/json", ['{"id":1,"name":"name 1"}', '{"id":2,"name":"name 2"}']),
        ({"format": "jsonl"}, "application/x-ndjson", ['{"id":1,"name":"name 1"}\n{"id":2,"name":"name 2"}\n']),
        ({"format": "csv"}, "text/csv; charset=utf-8", ["id,name\n1,name 1\n2,name 2\n"]),
        (
            {"format": "form", "rows_max": 1},
            "application/x-www-form-urlencoded",
            ["id=1&name=name+1", "id=2&name=name+2"],
        ),
        ({"headers": {"Content-Type": "x/y"}, "compression": "gzip", "format": "jsonl"}, "x/y", None),
    ],
)
async def test_bodies_are_of_the_format(
    server: LocalServer, settings: Any, kind: str, bodies: list[str] | None
) -> None:
    await sent(server, [1, 2], **settings)
    assert {a.headers["content-type"] for a in server.asked} == {kind}
    if bodies is None:
        assert server.asked[0].headers["content-encoding"] == "gzip"
        assert gzip.decompress(server.asked[0].body).count(b"\n") == 2
    else:
        assert [a.body.decode() for a in server.asked] == bodies


async def test_a_body_is_no_longer_than_it_may_be(server: LocalServer) -> None:
    await sent(server, range(100), bytes_max=300)
    assert all(len(a.body) <= 300 for a in server.asked)
    assert [n for a in server.asked for n in ids(a)] == [*range(100)]


async def test_a_url_may_hold_values_of_the_row(server: LocalServer) -> None:
    await sent(server, [1, 2], url=f"{server.url}/rows/{{id}}/{{name}}", rows_max=1, params={"dry": True})
    assert [(a.path, a.query) for a in server.asked] == [(f"/rows/{n}/name%20{n}", {"dry": "true"}) for n in (1, 2)]
    with pytest.raises(ValueError, match="one row: set rows_max: 1"):
        HttpDestinationConfig(url="http://x/{id}")


async def test_requests_may_be_under_way_together(server: LocalServer) -> None:
    await sent(server, range(40), rows_max=2, concurrency=8)
    assert sorted(n for a in server.asked for n in ids(a)) == [*range(40)]


@pytest.mark.parametrize("concurrency", [1, 4])
async def test_what_fails_for_a_while_is_sent_again_with_its_key(server: LocalServer, concurrency: int) -> None:
    left = [Said(status=503), Said(b"{}", sent=1), Said(status=429, headers={"Retry-After": "0"})]
    server.say = lambda _: left.pop() if left else Said()
    await sent(server, [1, 2, 3, 4], rows_max=2, concurrency=concurrency)
    keys: dict[str, set[bytes]] = {}
    for asked in server.asked:
        keys.setdefault(asked.headers["idempotency-key"], set()).add(asked.body)
    assert len(keys) == 2
    assert all(len(bodies) == 1 for bodies in keys.values())
    assert len(server.asked) == 5
    server.say = lambda _: Said(status=503)
    with pytest.raises(ExternalError, match="answered 503 4 times"):
        await sent(server, [1], concurrency=concurrency)


async def test_keys_tell_requests_apart_and_are_the_same_after_a_crash(server: LocalServer) -> None:
    epoch = {"context": {"epoch": lambda: 7}}
    await sent(server, [1, 1, 2], rows_max=1, **epoch)
    first = [a.headers["idempotency-key"] for a in server.asked]
    assert len(set(first)) == 3, "two rows that are alike are two rows"
    server.asked.clear()
    await sent(server, [2], [1, 1, 3], rows_max=1, **epoch)
    again = [a.headers["idempotency-key"] for a in server.asked]
    assert again[:3] == [first[2], first[0], first[1]], "in whatever order"
    assert again[3] not in first
    server.asked.clear()
    await sent(server, [1], rows_max=1, context={"epoch": lambda: 8})
    assert server.asked[0].headers["idempotency-key"] not in first, "the same row in another epoch is another row"


def picky(asked: Asked) -> Said:
    """Refuse whole requests that hold a number that ends in 7."""
    bad = [n for n in ids(asked) if n % 10 == 7]
    return Said(f"{bad[0]} is unlucky".encode(), 422) if bad else Said()


async def test_refused_rows_are_found_and_kept_and_all_others_arrive(server: LocalServer, tmp_path: Path) -> None:
    server.say = picky
    await sent(server, range(40), folder=tmp_path, rejects={"path": "bad/rows.jsonl"})
    assert sorted(n for a in server.asked for n in ids(a) if not picky(a).body) == [n for n in range(40) if n % 10 != 7]
    kept = [json.loads(line) for line in (tmp_path / "bad" / "rows.jsonl").read_text().splitlines()]
    assert [k["row"] for k in kept] == [{"id": n, "name": f"name {n}"} for n in (7, 17, 27, 37)]
    assert {(k["node"], k["status"]) for k in kept} == {("node", 422)}
    assert kept[0]["error"].endswith("it answered 422: 7 is unlucky")


async def test_tagged_values_are_kept_nowhere(server: LocalServer, tmp_path: Path) -> None:
    server.say = lambda asked: Said(f"what is {asked.json[0]['name']}?".encode(), 422)
    context = {"schemas": {"0": SUITE_SCHEMA.tagged({"name": ["pii"]})}}
    await sent(server, [1], folder=tmp_path, rejects={"path": "bad.jsonl"}, context=context)
    text = (tmp_path / "bad.jsonl").read_text()
    assert "name 1" not in text
    assert json.loads(text)["row"] == {"id": 1, "name": "***"}
    with pytest.raises(DataError) as caught:
        await sent(server, [1], context=context)
    assert "name 1" not in str(caught.value)


async def test_refusals_fail_the_run_unless_they_are_kept(server: LocalServer, tmp_path: Path) -> None:
    server.say = picky
    with pytest.raises(DataError, match=r"answered 422: 7 is unlucky .*rejects: "):
        await sent(server, [7])
    server.say = lambda _: Said(b"who?", 401)
    with pytest.raises(UnavailableError, match="answered 401: who"):
        await sent(server, [7], folder=tmp_path, rejects={"path": "bad.jsonl"}, concurrency=3)
    assert not (tmp_path / "bad.jsonl").exists()


async def test_forms_hold_texts_of_all_values(server: LocalServer) -> None:
    schema = Schema.of({"a": "decimal(8,2)", "b": "bool", "c": "list<int64>", "d": "string"})
    config = HttpDestinationConfig(url=server.url, format="form", rows_max=1)
    one = staged(HttpDestination(config), schemas={"0": schema})
    one.open()
    row = {"a": Decimal("1.50"), "b": True, "c": [1, 2], "d": None}
    await one.write(Batch.of([row], schema=schema.to_arrow()))
    await one.prepare(Epoch(1, 1))
    await one.close()
    assert parse_qs(server.asked[0].body.decode()) == {"a": ["1.5"], "b": ["true"], "c": ["[1,2]"]}


async def test_a_server_that_is_not_there_is_told_by_check(server: LocalServer) -> None:
    one = staged(HttpDestination(HttpDestinationConfig(url=server.url)), schemas={"0": SUITE_SCHEMA})
    await one.check()
    assert [a.method for a in server.asked] in ([], ["OPTIONS"])
    gone = staged(HttpDestination(HttpDestinationConfig(url="http://127.0.0.1:1")), schemas={"0": SUITE_SCHEMA})
    with pytest.raises(ExternalError, match="no connection"):
        await gone.check()
