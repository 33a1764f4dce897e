"""What leads from page to page, and how circles are noticed; when a server wants to be asked again."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflare.connectors.http.exchange import Answer, asked_wait
from dataflare.connectors.http.pages import Pager, Walk, linked
from dataflare.connectors.http.records import records_at, value_at, with_fields
from dataflare.connectors.http.settings import HttpPagination, HttpSourceConfig
from dataflare.errors import DataError

NOW = 1_767_323_045_000_000
"""2026-01-02T03:04:05Z."""


def answer(value: object) -> Answer:
    return Answer(200, {}, json.dumps(value).encode(), "http://api.example/rows")


@given(st.lists(st.integers(0, 30), min_size=1, max_size=31))
def test_every_circle_is_noticed_and_every_path_is_walked_to_its_end(next_of: list[int]) -> None:
    """Page n leads to page next_of[n]; numbers without a page are ends."""
    pager = Pager(HttpPagination(type="cursor", path="next"), "http://api.example/rows")
    walk: Walk | None = Walk()
    seen, at = [0], 0
    try:
        while walk := pager.onward(walk, answer({"next": f"p{next_of[at]}" if at < len(next_of) else None}), 1, b""):
            walk = Walk.from_json(json.loads(json.dumps(walk.to_json())))
            at = int(walk.token[1:])
            seen.append(at)
            assert len(seen) < 200, "it goes round for ever"
    except DataError:
        assert len(set(seen)) < len(seen) or next_of[at] in seen, "there is no circle"
    else:
        assert len(set(seen)) == len(seen) or at >= len(next_of)


@pytest.mark.parametrize(
    ("header", "target"),
    [
        ("", None),
        ('<https://x/?page=2>; rel="next"', "https://x/?page=2"),
        ('<https://x/?a=1,2&page=9>; rel="last", <https://x/?a=1,2&page=2>; title="a, b"; rel="prefetch next"', None),
        ("</rows?page=3>;rel=next", "/rows?page=3"),
        ('</rows?page=1>; rel="prev"', None),
        ('</rows?page=1>; rel="nextish"', None),
    ],
)
def test_the_link_header_is_read(header: str, target: str | None) -> None:
    expected = "https://x/?a=1,2&page=2" if "prefetch next" in header else target
    assert linked(header) == expected


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("", 0.0),
        ("7", 7.0),
        ("soon", 0.0),
        ("-3", 0.0),
        ("Fri, 02 Jan 2026 03:05:05 GMT", 60.0),
        ("Fri, 02 Jan 2026 03:03:05 GMT", 0.0),
    ],
)
def test_the_wait_that_a_server_asks_for_is_read(told: str, seconds: float) -> None:
    assert asked_wait({"retry-after": told}, NOW) == seconds


def test_rows_are_cut_out_without_a_change() -> None:
    body = b'{"a": {"b": [ {"x": 1.10,\r\n "y": "\\n"} , 1e400 , null ]}}'
    assert records_at(body, "a.b") == [b'{"x": 1.10,   "y": "\\n"}', b"1e400", b"null"]
    assert value_at(body, "a.c") is not None
    assert records_at(b'{"a": null}', "a") == []


@given(
    st.dictionaries(st.text(), st.integers() | st.text()),
    st.dictionaries(st.text(), st.integers() | st.text()),
    st.sampled_from(["", " ", "\n\t"]),
)
def test_fields_are_added_to_any_object(own: dict[str, object], more: dict[str, object], blank: str) -> None:
    line = f"{blank}{json.dumps(own)}{blank}".encode()
    made = with_fields(line, json.dumps(more).encode()[1:-1])
    assert json.loads(made) == {**own, **more}


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"url": "ftp://x"}, "begins with http"),
        ({"url": "http://me:pw@x/"}, "stand under auth"),
        ({"auth": {"type": "bearer"}}, "needs token"),
        ({"auth": {"type": "bearer", "token": "t", "user": "u"}}, "takes no user"),
        ({"auth": {"type": "oauth2", "token_url": "x", "client_id": "a", "client_secret": "b"}}, "begins with http"),
        ({"pagination": {"type": "cursor"}}, "needs path"),
        ({"pagination": {"type": "page", "path": "x"}}, "takes no path"),
        ({"pagination": {"type": "page", "stop": "short"}}, "needs a size"),
        ({"pagination": {"type": "cursor", "path": "x", "start": 1}}, "are for pagination by page or offset"),
        ({"json": {}, "body": "x"}, "only one of the two"),
        ({"format": "csv", "records": "x"}, "stand in answers of JSON"),
        ({"body": "x", "pagination": {"type": "page", "in_body": True}}, "needs a body that is a JSON object"),
        ({"method": "GET /"}, "no HTTP method"),
    ],
)
def test_settings_that_do_not_go_together_are_told(settings: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        HttpSourceConfig.model_validate({"url": "http://x/", **settings})
