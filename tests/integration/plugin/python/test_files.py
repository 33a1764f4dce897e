"""Files of plugins in Python: what they say of themselves, which modules and functions of the host are there."""

from __future__ import annotations

import pytest
from tests.unit.plugin.conftest import EPOCH_MICROSECONDS

from dataflare.errors import UnavailableError, WorkflowError
from dataflare.plugin import runtime_files
from dataflare.plugin.failures import FatalError, TrappedError
from dataflare.plugin.limits import Limits
from dataflare.plugin.program import Output, Program, Settings


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("def process(r):\n  x = = 1\n", "rules.py:2:7: invalid syntax"),
        ("def process(r):\nreturn r", "rules.py:2:1: expected an indented block after function definition on line 1"),
        ("x = 1", "rules.py: it defines neither process nor process_columns"),
        ("process = 1", "rules.py: process is no function"),
        ("\n1 / 0", "rules.py:2: ZeroDivisionError: division by zero"),
        ("def process(r): return r\ndef open(s): raise KeyError(s['rate'])", "rules.py:2: KeyError: 7"),
        ("import requests\ndef process(r): return r", "rules.py:1: ModuleNotFoundError: there is no module 'requests'"),
        ("from . import other", "rules.py:1: ImportError"),
        ("process = open = lambda s: s.nothing", "rules.py:1: AttributeError"),
        ("input = 'amount'\ndef process(r): return r", "rules.py: input is a list of names of columns"),
        ("adds = ['x']\ndef process(r): return r", "rules.py: adds is a dict: name of the column to its type, not a "),
        ("outputs = ['x']\ndef process(r): return r", "rules.py: outputs is a dict"),
        ("settings = 5\ndef process(r): return r", "rules.py: settings is a JSON Schema, as a dict, not a value of"),
        ("x = '\0'", "rules.py: source code string cannot contain null bytes"),
        ("raise SystemExit", "rules.py:1: SystemExit"),
    ],
)
def test_a_file_that_cannot_be_opened_says_where(python, source, what):
    with pytest.raises(WorkflowError) as told:
        python(source, settings={"rate": 7})
    assert str(told.value).startswith(what)


def test_a_file_that_is_no_text_is_told(tmp_path, engine):
    (tmp_path / "a.py").write_bytes(b"x = '\xff'")
    with pytest.raises(WorkflowError, match=r"a\.py: byte 5 is no UTF-8"):
        Program.load(tmp_path / "a.py", engine, "a.py")


def test_without_its_package_a_plugin_says_what_to_install(tmp_path, engine, monkeypatch):
    (tmp_path / "a.py").write_text("def process(r): return r")
    monkeypatch.setattr(runtime_files, "entry_points", lambda **_: [])
    runtime_files.runtime_digest.cache_clear()
    with pytest.raises(UnavailableError, match="need the package dataflare-python-runtime") as told:
        Program.load(tmp_path / "a.py", engine, "a.py")
    assert "pip install dataflare-python-runtime" in str(told.value.hint)


def test_what_a_plugin_says_of_itself(python, host):
    plugin = python(
        """name, version, settings = "pricing", "1.2.0", {"type": "object"}
input = ("amount",)
output = {"total": "decimal(12,2)"}
outputs = {"big": None, "ids": {"id": "int64"}}
def export_state(): return 1
def process(r): return r"""
    )
    told = plugin.program.described(Settings(), host, Limits())
    assert (told.name, told.version, told.settings_schema) == ("pricing", "1.2.0", {"type": "object"})
    assert (told.stateful, told.input, told.format) == (True, ("amount",), "json-columns")
    assert told.outputs == {
        "": Output((("total", "decimal(12,2)"),)),
        "big": Output(None),
        "ids": Output((("id", "int64"),)),
    }
    adding = python("adds = {'a': 'int64'}\ndef process(r): return r").program
    assert adding.described(Settings(), host, Limits()).outputs == {"": Output((("a", "int64"),), adds=True)}
    told = adding.described(Settings(output={"b": "int32"}), host, Limits())
    assert told.outputs == {"": Output((("b", "int32"),))}
    told = python("def process(r): return r").program.described(Settings(), host, Limits())
    assert (told.name, told.stateful, told.input, told.format, told.outputs) == ("rules", False, None, "json-lines", {})


def test_the_host_is_there(python, host):
    plugin = python(
        """import datetime, logging, sys, time
import dataflare
def process(r):
    print("seen", {"n": 1})
    print("a\\nb", end="")
    print("careful", file=sys.stderr)
    logging.warning("so %s", 1)
    dataflare.log({"n": 1}, "debug")
    dataflare.metric("rows", 2)
    before = dataflare.get_state([r["id"]]) or 0
    dataflare.set_state([r["id"]], before + 1)
    today = datetime.datetime.now(datetime.UTC).date()
    return {"before": before, "now": dataflare.now(), "time": time.time(), "on": today, "ns": time.monotonic_ns()}"""
    )
    seconds = EPOCH_MICROSECONDS // 1_000_000
    assert plugin.process({"id": 1}) == {
        "before": 0, "now": EPOCH_MICROSECONDS, "time": seconds, "on": "2023-11-14", "ns": EPOCH_MICROSECONDS * 1000,
    }  # fmt: skip
    assert plugin.process({"id": 1})["before"] == 1
    assert plugin.process({"id": 2})["before"] == 0
    said = [("info", "seen {'n': 1}"), ("info", "a"), ("warn", "careful"), ("warn", "WARNING:root:so 1")]
    assert host.said == [*said, ("debug", '{"n":1}'), ("info", "b")] * 3
    assert host.metrics == {"rows": 6.0}
    assert host.state == {"[1]": "2", "[2]": "1"}


def test_settings_and_state_come_and_go(python):
    source = """rate = seen = 0
def open(settings):
    global rate
    rate = settings["rate"]
def process(r):
    global seen
    seen += 1
    return {"n": seen, "total": r["a"] * rate}
def export_state():
    return {"seen": seen}
def import_state(state):
    global seen
    seen = state["seen"]"""
    first = python(source, settings={"rate": 3})
    assert first.process({"a": 2}) == {"n": 1, "total": 6}
    state = first.instance.call("export-state")
    second = python(source, settings={"rate": 4})
    second.instance.call("import-state", state)
    assert second.process({"a": 2}) == {"n": 2, "total": 8}
    with pytest.raises(FatalError, match=r"not subscriptable \(13\)"):
        second.instance.call("import-state", "5")


def test_state_that_cannot_be_written_is_told(python, host):
    plugin = python("def process(r): return r\ndef export_state(): return {1}")
    with pytest.raises(TrappedError):
        plugin.instance.call("export-state")
    assert host.said[0] == ("error", "export_state: TypeError: a value of type set cannot be written as JSON")


def test_the_modules_of_the_page_are_there(python):
    source = """import base64, collections, csv, dataclasses, datetime, decimal, enum, fractions, functools, hashlib
import heapq, hmac, html, io, ipaddress, itertools, json, logging, math, operator, random, re, statistics, string
import textwrap, tomllib, typing, unicodedata, urllib.parse, uuid, zlib, zoneinfo
import xml.etree.ElementTree as xml
def process(r):
    at = datetime.datetime(2026, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Zurich"))
    return {
      "at": at, "zones": len(zoneinfo.available_timezones()) > 400, "hash": hashlib.sha256(b"x").hexdigest()[:8],
      "md5": hashlib.md5(b"x").hexdigest()[:8], "xml": xml.fromstring("<a>1</a>").text, "random": random.random(),
      "url": urllib.parse.quote("a b"), "name": unicodedata.name("ß"), "ip": str(ipaddress.ip_address("::1")),
      "rows": list(csv.reader(io.StringIO("a,b"))), "mean": statistics.mean([1, 2]), "uuid": uuid.uuid4().version,
    }"""
    expected = {
        "at": "2026-07-01T00:00:00+02:00", "zones": True, "hash": "2d711642", "md5": "9dd4e461", "xml": "1",
        "random": 0.8444218515250481, "url": "a%20b", "name": "LATIN SMALL LETTER SHARP S", "ip": "::1",
        "rows": [["a", "b"]], "mean": 1.5, "uuid": 4,
    }  # fmt: skip
    assert python(source).process({}) == expected
    assert python(source).process({})["random"] == expected["random"]  # the seed is 0 in each instance
