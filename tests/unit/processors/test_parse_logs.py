"""Parse reads logs by grok, and the parts of URLs and user agents."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pyarrow as pa
import pytest
from tests.unit.processors.test_parse import faults, parsed, told

from dataflare.processors.parsing import user_agents
from dataflare.processors.parsing.grok import GrokExpressions
from dataflare.processors.parsing.grok_library import LIBRARY
from dataflare.processors.parsing.groups import checked, named_groups

ACCESS = (
    '127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /a.gif HTTP/1.0" 200 2326 "http://x/y" "Mozilla/4.08 [en]"'
)


def test_a_line_of_an_access_log_is_read() -> None:
    config: dict[str, Any] = {
        "format": "grok",
        "pattern": "^%{COMBINEDAPACHELOG}$",
        "columns": {"response": "int32", "bytes": "int64", "timestamp": "timestamp"},
        "times": {"timestamp": "%d/%b/%Y:%H:%M:%S %z"},
    }
    first, second = parsed(ACCESS, '::1 - - [10/Oct/2000:13:55:36 +0000] "-" 408 - "-" "-"', **config)
    assert first == {
        "clientip": "127.0.0.1",
        "ident": "-",
        "auth": "frank",
        "timestamp": dt.datetime(2000, 10, 10, 20, 55, 36, tzinfo=dt.UTC),
        "verb": "GET",
        "request": "/a.gif",
        "httpversion": "1.0",
        "rawrequest": None,
        "response": 200,
        "bytes": 2326,
        "referrer": "http://x/y",
        "agent": "Mozilla/4.08 [en]",
    }
    assert (second["clientip"], second["rawrequest"], second["bytes"]) == ("::1", "-", None)
    assert faults("not a line of that kind", **config) == ["the text does not match the pattern"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "Oct 11 22:14:15 host su[42]: failed",
            {"logsource": "host", "program": "su", "pid": "42", "message": "failed"},
        ),
        ("<34>Oct  1 02:14:15 a.example.com sshd: x", {"priority": "34", "program": "sshd", "pid": None}),
    ],
)
def test_lines_of_syslog_are_read(line: str, expected: dict[str, Any]) -> None:
    (row,) = parsed(line, format="grok", pattern="^%{SYSLOGLINE}$")
    assert {name: row[name] for name in expected} == expected


def test_fields_have_types_and_names_of_their_own_and_patterns_may_be_added() -> None:
    config: dict[str, Any] = {
        "format": "grok",
        "pattern": r"%{ORDER:order:int} by %{WORD:[user][name]} (?<rest>.*)",
        "patterns": {"ORDER": "[0-9]{3}", "UNUSED": "%{ORDER}x"},
    }
    assert parsed("order 123 by ann at noon", **config) == [{"order": 123, "user.name": "ann", "rest": "at noon"}]


EXAMPLES = {
    "UUID": ["123e4567-e89b-12d3-a456-426614174000"],
    "IPV4": ["192.168.0.255"],
    "IPV6": ["::1", "2001:db8::ff00:42:8329", "1:2:3:4:5:6:7:8", "::ffff:10.0.0.1", "fe80::1%eth0", "::"],
    "MAC": ["00:1b:44:11:3a:b7", "00-1b-44-11-3a-b7", "001b.4411.3ab7"],
    "IPORHOST": ["example.com", "10.0.0.1", "::1"],
    "HOSTPORT": ["example.com:80"],
    "NUMBER": ["-1", "2.5", "+.5", "10."],
    "INT": ["+7", "-7"],
    "BASE16NUM": ["0xdeadBEEF"],
    "EMAILADDRESS": ["first.last+tag@mail.example.com"],
    "QUOTEDSTRING": [r'"a \" b"', "'x'"],
    "URI": ["https://ann:secret@example.com:8080/a/b?x=1#top", "ftp://h"],
    "PATH": ["/var/log/x.log", r"C:\Windows\x"],
    "TIMESTAMP_ISO8601": ["2024-01-02T03:04:05.678Z", "2024-01-02 03:04", "2024-12-31T23:59:60+01:00"],
    "HTTPDATE": ["10/Oct/2000:13:55:36 -0700"],
    "SYSLOGTIMESTAMP": ["Oct  1 02:14:15", "Oct 11 22:14:15"],
    "DATE_US": ["12/31/2024"],
    "DATE_EU": ["31.12.2024"],
    "LOGLEVEL": ["ERROR", "warn", "Notice"],
    "MONTH": ["Sept", "December"],
    "SYSLOG5424LINE": ['<165>1 2003-10-11T22:14:15.003Z host app - ID47 [a@1 k="v"] text', "<0>1 - - - - - -"],
}  # fmt: skip
REFUSED = {
    "IPV4": ["256.1.1.1", "1.2.3"],
    "IPV6": ["1:2:3:4:5:6:7", ":1", "g::1"],
    "UUID": ["123e4567"],
    "TIMESTAMP_ISO8601": ["2024-13-02T03:04:05", "24-01-02"],
    "MONTHNUM": ["13"],
    "LOGLEVEL": ["loud"],
}


def matches(name: str, text: str) -> bool:
    return faults(text, format="grok", pattern=f"^%{{{name}:x}}$") == [None]


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_pattern_of_the_library_matches_what_it_is_for(name: str) -> None:
    assert [text for text in EXAMPLES[name] if not matches(name, text)] == []


@pytest.mark.parametrize("name", REFUSED)
def test_a_pattern_of_the_library_matches_nothing_else(name: str) -> None:
    assert [text for text in REFUSED[name] if matches(name, text)] == []


@pytest.mark.parametrize("name", sorted(LIBRARY))
def test_every_pattern_of_the_library_is_one_of_re2(name: str) -> None:
    grok = GrokExpressions({})
    pattern, groups = named_groups([grok.expand(f"%{{{name}:it}}")])
    assert checked(pattern)
    assert re.compile(pattern).groups == len(groups)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"pattern": "%{NUMBR:x}"}, "there is no grok pattern 'NUMBR' (did you mean 'NUMBER'?)"),
        ({"pattern": "%{ZZZZ:x}"}, "name your own under `patterns`"),
        ({"pattern": "%{A:x}", "patterns": {"A": "%{B}", "B": "x%{A}"}}, "A in B in A"),
        ({"pattern": "%{INT:x:decimal}"}, "'decimal' is no type of grok"),
        ({"pattern": "%{INT}"}, "name a group: %{WORD:user}"),
        ({"pattern": "%{A:x}", "patterns": {"A": "(?=x)"}}, "looks neither ahead nor behind"),
    ],
)
def test_mistakes_of_grok_are_told(config: dict[str, Any], words: str) -> None:
    assert words in told(format="grok", **config)


def test_the_parts_of_a_url_are_read_and_its_password_is_not() -> None:
    (row,) = parsed("HTTPS://ann:secret@Example.COM:8080/a%20b/c?x=1&y=a+b%20c&x=2&z&w=%FF#top", format="url")
    assert row == {
        "scheme": "https",
        "user": "ann",
        "host": "example.com",
        "port": 8080,
        "path": "/a%20b/c",
        "query": "x=1&y=a+b%20c&x=2&z&w=%FF",
        "fragment": "top",
        "parameters": [("x", "1"), ("y", "a b c"), ("z", ""), ("w", "%FF")],
    }
    assert parsed("/p?q=1", "http://[::1]:80", "mailto:x@y.z", format="url", columns=["host", "port", "path"]) == [
        {"host": None, "port": None, "path": "/p"},
        {"host": "[::1]", "port": 80, "path": None},
        {"host": None, "port": None, "path": "x@y.z"},
    ]
    assert faults("", "a b", "http://h:99999/", "/p", format="url", columns=["host", "port"], required=["host"]) == [
        *["the text is no URL"] * 2,
        "column 'port': the value is not of type uint16",
        "column 'host' is missing",
    ]


CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.6099.71 Safari/537.36"
ROBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


def test_a_user_agent_is_known_by_what_it_says() -> None:
    first, second, unknown, null = parsed(CHROME, ROBOT, "zzz", None, format="user_agent")
    assert (first["browser"], first["os"], first["robot"]) == ("Chrome", "Linux", False)
    assert first["browser_version"].startswith("120.0.6099")
    assert (second["browser"], second["robot"]) == ("Googlebot", True)
    assert set(unknown.values()) == set(null.values()) == {None}


def test_the_same_text_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    parts = user_agents.AgentReader._parts
    monkeypatch.setattr(user_agents.AgentReader, "_parts", lambda self, text: seen.append(text) or parts(self, text))
    parsed(*[CHROME, ROBOT] * 50, None, "x" * 5000, format="user_agent", columns=["browser"])
    assert seen == [CHROME, ROBOT, "x" * 5000]
    assert faults("zzz", CHROME, None, format="user_agent", columns=["browser"], required=["browser"]) == [
        "column 'browser' is missing",
        None,
        None,
    ]


def test_no_rows_and_only_nulls_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for config in ({"format": "user_agent"}, {"format": "url"}, {"format": "grok", "pattern": "%{INT:n:int}"}):
        assert parsed(**config) == []
        (row,) = parsed(None, **config)
        assert set(row.values()) == {None}
    assert pa.__version__
