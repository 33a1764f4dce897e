"""The HTTP source against a real server on loopback: pages, who asks, what is new, and a server that behaves badly."""

from __future__ import annotations

import gzip
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.http_server import Asked, LocalServer, Said, numbered

from dataflare.component import Split
from dataflare.errors import DataError, ExternalError, UnavailableError
from dataflare.testing.source_suite import plain, rows_of
from dataflare.testing.stage import batches_of, settled

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataflare.monitoring.events import Event


from tests.integration.http.reading import COLUMNS, PAGES, ROWS, make, read


def by_cursor(asked: Asked) -> Said:
    at = int(asked.query.get("cursor", "0"))
    more = str(at + 3) if at + 3 < len(ROWS) else None
    return Said.of({"data": {"items": ROWS[at : at + 3]}, "meta": {"next": more, "more": more is not None}})


def by_offset(asked: Asked) -> Said:
    at = int(asked.query["offset"])
    return Said.of({"rows": ROWS[at : at + 3], "total": len(ROWS)})


def by_url(asked: Asked) -> Said:
    at = int(asked.query.get("at", "0"))
    found = {"items": ROWS[at : at + 3], "next": f"/rows?at={at + 3}" if at + 3 < len(ROWS) else None}
    return Said.of(found)


def by_link(asked: Asked) -> Said:
    at = int(asked.query.get("at", "0"))
    links = ['</rows>; rel="first"', *([f'</rows?at={at + 3}>; rel="next last"'] if at + 3 < len(ROWS) else [])]
    return Said.of(ROWS[at : at + 3], headers={"Link": ", ".join(links)})


def by_body(asked: Asked) -> Said:
    at = asked.json["offset"]
    assert asked.json["only"] == "paid"
    return Said.of(ROWS[at : at + asked.json["limit"]])


@pytest.mark.parametrize(
    ("say", "settings", "requests"),
    [
        (None, {"pagination": PAGES}, 4),
        (None, {"pagination": {**PAGES, "size": 3, "stop": "short"}}, 3),
        (by_offset, {"pagination": {"type": "offset"}, "records": "rows"}, 4),
        (by_offset, {"pagination": {"type": "offset", "total_path": "total"}, "records": "rows"}, 3),
        (by_cursor, {"pagination": {"type": "cursor", "path": "meta.next"}, "records": "data.items"}, 3),
        (
            by_cursor,
            {"pagination": {"type": "cursor", "path": "meta.next", "more_path": "meta.more"}, "records": "data.items"},
            3,
        ),
        (by_url, {"pagination": {"type": "next_url", "path": "next"}, "records": "items"}, 3),
        (by_link, {"pagination": {"type": "link_header"}}, 3),
        (
            by_body,
            {"pagination": {"type": "offset", "in_body": True, "size": 5}, "method": "post", "json": {"only": "paid"}},
            3,
        ),
    ],
    ids=["page", "short page", "offset", "total", "cursor", "more", "next url", "link header", "body"],
)
def test_all_pages_come_and_a_resume_goes_on_at_any_of_them(
    server: LocalServer, say: Callable[[Asked], Said] | None, settings: dict[str, Any], requests: int
) -> None:
    server.say = say or server.say
    source = make(server, **settings)
    batches = list(batches_of(source, Split("all")))
    assert rows_of(batches)[""] == ROWS
    assert len(server.asked) == requests
    for number, batch in enumerate(batches):
        before = len(server.asked)
        rest, _ = read(source, plain(batch.position))
        assert rest == rows_of(batches[number + 1 :])[""]
        assert len(server.asked) - before == requests - number - 1, "no page is asked for twice"


def test_without_pagination_one_answer_is_all(server: LocalServer) -> None:
    server.say = lambda _: Said.of(ROWS[0])
    assert read(make(server))[0] == ROWS[:1]


def test_columns_are_guessed_from_the_first_page(server: LocalServer) -> None:
    assert {c.name: c.type for c in make(server, columns=None).context.schemas[""]} == COLUMNS
    server.say = lambda _: Said.of([])
    with pytest.raises(DataError, match="no row to tell the columns"):
        make(server, columns=None)


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_lines_and_csv_are_read_packed_or_not(server: LocalServer, form: str) -> None:
    lines = "".join(f"{json.dumps(r)}\n" for r in ROWS)
    text = lines if form == "jsonl" else "id,name\n" + "".join(f"{r['id']},{r['name']}\n" for r in ROWS)
    server.say = lambda _: Said(text.encode())
    assert read(make(server, format=form))[0] == ROWS
    server.say = lambda _: Said(gzip.compress(text.encode()), headers={"Content-Encoding": "gzip"})
    assert read(make(server, format=form))[0] == ROWS


def test_text_comes_in_the_encoding_that_the_server_tells(server: LocalServer) -> None:
    server.say = lambda _: Said(
        "id,name\n1,Köln\n".encode("latin-1"), headers={"Content-Type": "text/csv; charset=latin-1"}
    )
    assert read(make(server, format="csv"))[0] == [{"id": 1, "name": "Köln"}]


def test_values_stay_as_they_are_written(server: LocalServer) -> None:
    server.say = lambda _: Said(b'{"data": [\n {"amount": 12345678901234567890.12,\r\n "note": "a\\nb"}\n]}')
    source = make(server, records="data", columns={"amount": "decimal(24,2)", "note": "string"})
    ((row,), _) = read(source)
    assert str(row["amount"]) == "12345678901234567890.12"
    assert row["note"] == "a\nb"


# ---- what goes wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        Said(b"", 503),
        Said(b"", 429, {"Retry-After": "0"}),
        Said(b'[{"id": 0}, {"id": 1}]', sent=12),
        Said(b'{"id": 0}\n{"id": 1}\n', headers={"Content-Length": "400"}, sent=20),
        Said(gzip.compress(b'[{"id": 0}]' * 999)[:-9], headers={"Content-Encoding": "gzip"}),
        Said(b"", sent=0, headers={"Content-Length": "9"}),
    ],
    ids=["503", "429", "cut", "wrong length", "cut gzip", "nothing"],
)
def test_a_page_that_fails_for_a_while_is_asked_for_again_and_comes_once(server: LocalServer, bad: Said) -> None:
    good, left = server.say, [bad, bad]

    def flapping(asked: Asked) -> Said:
        return left.pop() if left and asked.query["page"] == "2" else good(asked)

    server.say = flapping
    events: list[Event] = []
    assert read(make(server, events, pagination=PAGES))[0] == ROWS
    assert len(events) == 2
    assert not left


def test_tries_and_waits_are_bounded(server: LocalServer) -> None:
    server.say = lambda _: Said(b"", 503)
    with pytest.raises(ExternalError, match="answered 503 4 times"):
        read(make(server))
    assert len(server.asked) == 4
    server.say = lambda _: Said(b"", 429, {"Retry-After": "86400"})
    with pytest.raises(ExternalError, match="asks to wait 86,400 s"):
        read(make(server))


def test_a_server_that_hangs_is_given_up(server: LocalServer) -> None:
    never = threading.Event()
    server.say = lambda _: Said(b"", wait=never)
    with pytest.raises(ExternalError, match=r"no answer within 0\.05 s"):
        read(make(server, timeout="50ms", retry={"attempts": 1}))
    never.set()


def test_a_server_that_is_not_there_is_told(server: LocalServer) -> None:
    with pytest.raises(ExternalError, match="no connection 4 times"):
        read(make(server, url="http://127.0.0.1:1/rows"))


def test_an_answer_that_does_not_end_fills_no_memory(server: LocalServer) -> None:
    server.say = lambda _: Said(gzip.compress(b"[" + b" " * (8 << 20)), headers={"Content-Encoding": "gzip"})
    with pytest.raises(DataError, match="longer than 1,048,576 bytes"):
        read(make(server, answer_bytes_max="1MiB"))


@pytest.mark.parametrize(
    ("pagination", "say", "match"),
    [
        (PAGES, lambda _: Said.of(ROWS[:3]), "pages 0 and 1 are the same|pages 1 and 2 are the same"),
        ({"type": "cursor", "path": "next"}, lambda _: Said.of({"next": "x", "rows": []}), "leads back"),
        (
            {"type": "cursor", "path": "next"},
            lambda a: Said.of({"next": str((int(a.query.get("cursor", "0")) + 1) % 5 + 2), "rows": []}),
            "leads back",
        ),
        (
            {"type": "next_url", "path": "next"},
            lambda _: Said.of({"next": "http://evil.example/", "rows": []}),
            "nobody",
        ),
    ],
    ids=["page", "itself", "circle", "another server"],
)
def test_pages_that_lead_nowhere_fail(server: LocalServer, pagination: Any, say: Any, match: str) -> None:
    server.say = say
    records = "" if pagination is PAGES else "rows"
    with pytest.raises(DataError, match=match):
        read(make(server, pagination=pagination, records=records, auth={"type": "bearer", "token": "t0ps3cret"}))


@pytest.mark.parametrize(
    ("said", "match"),
    [
        (Said(b"no such order", 404), r"it answered 404: no such order .*check url"),
        (Said(b"key t0ps3cret is unknown", 401), r"it answered 401: key \*\*\* is unknown .*check auth"),
        (Said(b"", 302, {"Location": "http://evil.example/"}), "has moved to http://evil.example/"),
    ],
)
def test_a_refusal_is_told_with_its_cure_and_without_secrets(server: LocalServer, said: Said, match: str) -> None:
    server.say = lambda _: said
    with pytest.raises(UnavailableError, match=match) as caught:
        read(make(server, auth={"type": "bearer", "token": "t0ps3cret"}))
    assert "t0ps3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "settings", "match"),
    [
        (b"<html>", {}, "the answer is no JSON"),
        (b'{"a": 1}', {"records": "data"}, "the answer has no data"),
        (b'{"data": 7}', {"records": "data"}, "neither a list nor an object"),
        (b"\xff\xfe", {}, "the answer is no JSON"),
    ],
)
def test_an_answer_of_another_kind_is_told(server: LocalServer, body: bytes, settings: Any, match: str) -> None:
    server.say = lambda _: Said(body)
    with pytest.raises(DataError, match=match):
        read(make(server, **settings))


def test_rows_that_cannot_be_read_go_to_errors_and_come_once_over_a_resume(server: LocalServer) -> None:
    bad = [*ROWS[:2], {"id": "many"}, 7, *ROWS[2:]]
    server.say = lambda asked: Said.of(numbered(asked, bad, 5))
    with pytest.raises(DataError, match="column 'id' is not int64"):
        read(make(server, pagination=PAGES))
    source = make(server, pagination=PAGES, on_error="dead_letter")
    batches = list(batches_of(source, Split("all")))
    found = rows_of(batches)
    assert found[""] == ROWS
    assert [(e["line"], e["raw"]) for e in found["errors"]] == [(3, '{"id": "many"}'), (4, "7")]
    for number, batch in enumerate(batches):
        rest = rows_of(batches_of(source, Split("all"), plain(batch.position)))
        assert rest == rows_of(batches[number + 1 :])
    settled(source.close())


def test_moved_within_the_server_is_followed(server: LocalServer) -> None:
    good = server.say
    server.say = lambda a: Said(b"", 307, {"Location": "/there?page=1"}) if a.path == "/rows" else good(a)
    assert read(make(server))[0] == ROWS[:3]
