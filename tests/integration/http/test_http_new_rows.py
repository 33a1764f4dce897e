"""The HTTP source tells the server who asks, and asks for what is new only."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.http_server import Asked, LocalServer, Said, numbered

from dataflare.component import Split
from dataflare.errors import UnavailableError
from dataflare.testing.source_suite import plain, rows_of
from dataflare.testing.stage import batches_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataflare.monitoring.events import Event


from tests.integration.http.reading import PAGES, ROWS, make, read

# ---- who asks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ({"type": "bearer", "token": "abc"}, "authorization", "Bearer abc"),
        ({"type": "basic", "user": "me", "password": "pä"}, "authorization", "Basic bWU6cMOk"),
        ({"type": "api_key", "value": "abc"}, "x-api-key", "abc"),
        ({"type": "api_key", "name": "Token", "value": "abc"}, "token", "abc"),
    ],
)
def test_the_server_learns_who_asks(server: LocalServer, auth: dict[str, Any], header: str, value: str) -> None:
    source = make(server, auth=auth)
    read(source)
    assert server.asked[0].headers[header] == value
    assert value.rpartition(" ")[2] not in repr(source.config)


def test_a_key_in_the_url_stands_in_no_position(server: LocalServer) -> None:
    server.say = lambda a: Said.of(
        {"items": [{"id": 1}], "next": f"/rows?key={a.query['key']}&at=1" if len(a.query) == 1 else None}
    )
    source = make(
        server,
        auth={"type": "api_key", "name": "key", "value": "t0ps3cret", "in_query": True},
        pagination={"type": "next_url", "path": "next"},
        records="items",
    )
    batches = list(batches_of(source, Split("all")))
    assert [a.query["key"] for a in server.asked] == ["t0ps3cret"] * 2
    assert "t0ps3cret" not in json.dumps([b.position for b in batches])


def test_tokens_are_fetched_once_and_again_when_they_are_refused(server: LocalServer) -> None:
    good, given = server.say, []

    def guarded(asked: Asked) -> Said:
        if asked.path == "/token":
            given.append(asked)
            return Said.of({"access_token": f"token{len(given)}", "expires_in": 3600})
        if asked.query["page"] == "3" and asked.headers["authorization"] == "Bearer token1":
            return Said(b"expired", 401)
        return good(asked)

    server.say = guarded
    auth = {
        "type": "oauth2",
        "token_url": f"{server.url}/token",
        "client_id": "me",
        "client_secret": "s3cret",
        "scopes": ["a", "b"],
    }
    assert read(make(server, auth=auth, pagination=PAGES))[0] == ROWS
    assert [a.body for a in given] == [b"grant_type=client_credentials&scope=a+b"] * 2
    assert given[0].headers["authorization"] == "Basic bWU6czNjcmV0"
    server.say = lambda _: Said(b"no", 400)
    with pytest.raises(UnavailableError, match="server of tokens answered 400"):
        read(make(server, auth=auth))


# ---- what is new ----------------------------------------------------------------------------------------------------


def since(rows: list[dict[str, Any]]) -> Callable[[Asked], Said]:
    """Return a server that gives rows from a value on, itself included."""

    def say(asked: Asked) -> Said:
        low = asked.query.get("since", "")
        return Said.of(numbered(asked, [r for r in rows if r["at"] >= low]))

    return say


INCREMENTAL = {
    "mode": "incremental",
    "columns": {"id": "int64", "at": "timestamp"},
    "incremental": {"cursor_field": "at", "parameter": "since"},
    "pagination": PAGES,
}


@pytest.mark.parametrize("key", [["id"], []])
def test_each_row_comes_once_though_rows_share_the_newest_value(server: LocalServer, key: list[str]) -> None:
    rows = [{"id": n, "at": f"2026-01-01T00:00:{n // 3:02}.000000Z"} for n in range(8)]
    server.say = since(rows)
    first, position = read(make(server, key=key, **INCREMENTAL))
    assert [r["id"] for r in first] == [*range(8)]
    again, position = read(make(server, key=key, **INCREMENTAL), position)
    assert again == []
    rows += [{"id": n, "at": f"2026-01-01T00:00:{n // 3:02}.000000Z"} for n in range(8, 13)]
    more, position = read(make(server, key=key, **INCREMENTAL), position)
    assert [r["id"] for r in more] == [*range(8, 13)]
    assert server.asked[-1].query["since"] == "2026-01-01T00:00:02.000000Z"


def test_an_incremental_run_that_is_broken_off_goes_on_and_asks_from_where_it_began(server: LocalServer) -> None:
    rows = [{"id": n, "at": f"2026-01-01T00:00:{n:02}.000000Z"} for n in (4, 0, 7, 2, 6, 1, 3, 5)]
    server.say = since(rows)
    source = make(server, **INCREMENTAL)
    batches = list(batches_of(source, Split("all")))
    for number, batch in enumerate(batches):
        rest, after = read(source, plain(batch.position))
        assert rest == rows_of(batches[number + 1 :])[""]
        assert read(source, after)[0] == []


def test_a_run_that_ends_at_pages_max_goes_on_there(server: LocalServer) -> None:
    rows = [{"id": n, "at": f"2026-01-01T00:00:{n:02}.000000Z"} for n in range(8)]
    server.say = since(rows)
    found, position = [], None
    for _ in range(3):
        events: list[Event] = []
        more, position = read(make(server, events, pages_max=2, **INCREMENTAL), position)
        found.append([r["id"] for r in more])
    assert found == [[0, 1, 2, 3, 4, 5], [6, 7], []]


@pytest.mark.parametrize(
    ("kind", "value", "form", "asked"),
    [
        ("timestamp", "2026-01-02T03:04:05.5Z", "unix", "1767323045"),
        ("timestamp", "2026-01-02T03:04:05.5Z", "unix_ms", "1767323045500"),
        ("timestamp", "2026-01-02T03:04:05.5Z", "%d.%m.%Y", "02.01.2026"),
        ("datetime", "2026-01-02T03:04:05", "iso", "2026-01-02T03:04:05.000000"),
        ("date", "2026-01-02", "iso", "2026-01-02"),
        ("int64", 7, "iso", "7"),
        ("string", "b7", "iso", "b7"),
    ],
)
def test_a_value_is_asked_for_as_the_server_wants_it(
    server: LocalServer, kind: str, value: Any, form: str, asked: str
) -> None:
    server.say = lambda _: Said.of([{"id": 1, "at": value}])
    settings = {
        "mode": "incremental",
        "columns": {"id": "int64", "at": kind},
        "incremental": {"cursor_field": "at", "parameter": "since", "format": form, "cursor_value": "first"},
    }
    _, position = read(make(server, **settings))
    rows, _ = read(make(server, **settings), position)
    assert [a.query["since"] for a in server.asked] == ["first", asked]
    assert rows == []


@pytest.mark.parametrize(("kind", "asked"), [("timestamp", "2026-01-01T23:00:00.000000Z"), ("date", "2026-01-01")])
def test_rows_that_come_late_are_found_where_runs_overlap(server: LocalServer, kind: str, asked: str) -> None:
    late = "T23:30:00.000000Z" if kind == "timestamp" else ""
    new = "T00:00:00.000000Z" if kind == "timestamp" else ""
    rows = [{"id": 1, "at": f"2025-12-30{new}"}, {"id": 2, "at": f"2026-01-02{new}"}]
    server.say = lambda _: Said.of(rows)
    incremental = {"cursor_field": "at", "parameter": "since", "overlap": "1h"}
    settings = {"mode": "incremental", "columns": {"id": "int64", "at": kind}, "incremental": incremental}
    _, position = read(make(server, **settings))
    rows.append({"id": 3, "at": f"2026-01-01{late}"})
    again, _ = read(make(server, **settings), position)
    assert [r["id"] for r in again] == [2, 3]
    assert server.asked[-1].query["since"] == asked
