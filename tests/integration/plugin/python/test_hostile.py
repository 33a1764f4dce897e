"""Plugins in Python that mean harm, or run wild: the host goes on, and so does the next call."""

from __future__ import annotations

import pytest

from dataflare.errors import DataError
from dataflare.plugin.failures import BadRecordError, FatalError, PluginError, TrappedError
from dataflare.plugin.limits import Limits

QUICK = Limits(seconds_max=0.5, memory_bytes_max=48 << 20, traps_max=3)
LOOPING = """import dataflare
n = 0
def process(r):
    global n
    n += 1
    dataflare.set_state([0], n)
    while "loop" in r:
        pass
    return {"n": n, "kept": dataflare.get_state([0])}
def export_state(): return n
def import_state(state):
    global n
    n = state"""


def test_an_endless_loop_is_stopped_and_nothing_of_its_call_is_left(python, host):
    plugin = python(LOOPING, limits=QUICK, stateful=True)
    assert plugin.process({}) == {"n": 1, "kept": 1}
    with pytest.raises(TrappedError, match="longer than it may"):
        plugin.process({"loop": True})
    assert host.state == {"[0]": "1"}
    assert plugin.process({}) == {"n": 2, "kept": 2}


def test_an_instance_is_replaced_so_many_times_and_no_more(python):
    plugin = python(LOOPING, limits=QUICK, stateful=True)
    for _ in range(QUICK.traps_max):
        with pytest.raises(TrappedError):
            plugin.process({"loop": True})
    with pytest.raises(DataError, match=r"rules\.py: the plugin had to be stopped 4 times"):
        plugin.process({"loop": True})


@pytest.mark.parametrize(
    "source", ["while True: pass", "def f():\n    while 1: pass\nf()", "[0] * 10**8", "import sys; sys.exit()"]
)
def test_what_runs_wild_while_it_is_opened_is_stopped(python, source):
    with pytest.raises(Exception, match=r"longer than it may|MemoryError|SystemExit"):
        python(f"{source}\ndef process(r): return r", limits=QUICK)


def test_fuel_stops_a_loop_at_the_same_place_each_time(opened, counting_engine):
    source = "import dataflare\ndef process(r):\n    while True: dataflare.metric('n')"
    counted = []
    for _ in range(2):
        plugin = opened(source, "rules.py", limits=Limits(fuel_max=300_000_000), of=counting_engine)
        host = plugin.instance._host
        before = host.metrics.get("n", 0)
        with pytest.raises(TrappedError, match="more fuel than it may"):
            plugin.process({})
        counted.append(host.metrics["n"] - before)
    assert counted[0] == counted[1] > 0


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("l = []\nwhile True: l.append(bytearray(1 << 20))", BadRecordError),
        ("s = 'x'\nwhile True: s += s", PluginError),
        ("return {'a': 'x' * (1 << 30)}", BadRecordError),
        ("def f(n): return f(n + 1) + 1\nreturn f(0)", BadRecordError),
        ("import sys\nsys.setrecursionlimit(10**9)\ndef f(n): return f(n + 1) + 1\nreturn f(0)", PluginError),
        ("d = {}\nd['d'] = d\nreturn d", TrappedError),
        ("x = []\nfor _ in range(100000): x = [x]\nreturn {'x': x}", TrappedError),
        ("import json\nreturn json.loads('[' * 100000)", PluginError),
        ("eval('(' * 10000)", BadRecordError),
        ("import re\nreturn {'m': bool(re.match('(a+)+$', 'a' * 40 + 'b'))}", TrappedError),
        ("return {'a': 7 ** 7 ** 9}", (BadRecordError, TrappedError)),
        ("import sys\nsys.exit(1)", BadRecordError),
        ("import os\nos._exit(1)", TrappedError),
        ("import os\nos.abort()", TrappedError),
        ("def g():\n    while True: yield r\nreturn g()", PluginError),
        ("class D(dict):\n    def items(self): raise ValueError\nreturn D(a=1)", None),
        ("class E(Exception):\n    def __str__(self):\n        while 1: pass\nraise E", TrappedError),
        ("class L(list):\n    def __iter__(self): raise SystemExit\nreturn L([r])", BadRecordError),
        ("import sys\nsys.stdout = sys.stderr = None\nprint('x')\nreturn r", None),
        ("import sys\nsys.modules.clear()\nreturn r", None),
        ("import gc\nfor o in gc.get_objects():\n    if type(o) is dict and 'write' in o: o.clear()\nreturn r", None),
    ],
)
def test_the_next_call_finds_a_plugin_that_works_or_says_why_not(python, body, error):
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    plugin = python(f"def process(r):\n    if 'ok' in r: return r\n{lines}", limits=QUICK)
    if error is None:
        try:
            plugin.process({"a": 1})
        except PluginError as told:
            assert told.what
    else:
        with pytest.raises(error):
            plugin.process({"a": 1})
    again = python("def process(r): return r")
    assert again.process({"ok": 1}) == {"ok": 1}
    if error is not None:
        assert plugin.process({"ok": 1}) == {"ok": 1}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("open('/etc/passwd')", "FileNotFoundError"),
        ("open('/tmp/x', 'w')", "FileNotFoundError"),
        ("import os; os.listdir('/')", "FileNotFoundError"),
        ("import os; os.environ['HOME']", "KeyError"),
        ("import socket; socket.create_connection(('127.0.0.1', 22))", "Error"),
        ("import socket; socket.socket().bind(('127.0.0.1', 0))", "Error"),
        ("import socket; socket.getaddrinfo('localhost', 22)", "rror"),
        ("import subprocess", "ModuleNotFoundError: there is no module 'subprocess' in here: this part of"),
        ("import os; os.system('id')", "AttributeError"),
        ("import os; os.fork()", "AttributeError"),
        ("import os; os.execv('/bin/sh', ['sh'])", "Error"),
        ("import ctypes", "ModuleNotFoundError: there is no module 'ctypes' in here: this part of"),
        ("import asyncio", "ModuleNotFoundError: there is no module 'asyncio' in here: this part of"),
        ("import threading; threading.Thread(target=print).start()", "RuntimeError: can't start new thread"),
        ("import time; time.sleep(60)", "PermissionError: a plugin may not wait (3)"),
        ("import requests", "ModuleNotFoundError: there is no module 'requests' in here: a plugin is one file"),
        ("import importlib; importlib.import_module('numpy')", "ModuleNotFoundError: there is no module 'numpy'"),
        ("input()", "EOFError"),
        ("import sys; sys.path.append('/'); import x", "ModuleNotFoundError: there is no module 'x'"),
    ],
)  # fmt: skip
def test_there_is_nothing_to_reach_out_with(python, body, why):
    plugin = python(f"def process(r):\n    if 'ok' in r: return r\n    {body}\n    return r", limits=QUICK)
    with pytest.raises(BadRecordError) as told:
        plugin.process({})
    assert why in told.value.what
    assert plugin.process({"ok": 1}) == {"ok": 1}


@pytest.mark.parametrize(
    "body",
    ["import _socket; s = _socket.socket(); s.settimeout(10**6); s.connect(('127.0.0.1', 9))",
     "import select; select.select([], [], [], 10**6)",
     "import threading; threading.Event().wait(10**6)",
     "import threading; l = threading.Lock(); l.acquire(); l.acquire(timeout=10**6)",
     "import queue; queue.Queue().get(timeout=10**6)"],
)  # fmt: skip
def test_no_way_to_wait_is_open(python, body):
    plugin = python(f"def process(r):\n    if 'ok' in r: return r\n    {body}\n    return r", limits=QUICK)
    try:  # some of them end at once, as time stands still
        plugin.process({})
    except PluginError as told:
        assert told.what
    assert plugin.process({"ok": 1}) == {"ok": 1}


def test_builtins_that_are_replaced_between_rows_harm_this_plugin_alone(python):
    source = """import builtins, json
def process(r):
    if r["n"] == 1:
        for name in ("len", "dict", "list", "isinstance", "type", "enumerate", "range", "str", "zip", "tuple"):
            setattr(builtins, name, None)
        json.loads = json.dumps = None
    return r"""
    plugin = python(source, limits=QUICK)
    try:
        plugin.lines({"n": 0}, {"n": 1}, {"n": 2})
    except (FatalError, TrappedError) as told:
        assert told.what
    other = python("import json\ndef process(r): return json.loads(json.dumps({'n': len(r)}))")
    assert other.lines({"a": 1}) == ({"": (1, [{"n": 1}], None)}, {})


def test_a_bomb_in_a_batch_costs_its_row_alone(python):
    source = "def process(r): return r if r['n'] != 1 else {'n': bytearray(1 << 30)}"
    found, errors = python(source, limits=QUICK).lines({"n": 0}, {"n": 1}, {"n": 2})
    assert found == {"": (2, [{"n": 0}, {"n": 2}], [0, 2])}
    assert errors == {1: "MemoryError (1)"}


def test_a_batch_that_does_not_fit_into_memory_says_so(python):
    plugin = python("def process(r): return r", limits=Limits(memory_bytes_max=20 << 20))
    with pytest.raises(PluginError, match=r"memory|gave up"):
        plugin.lines(*[{"a": "x" * 1000}] * 8000)


def test_the_memory_by_default_is_enough_for_the_largest_batch(python):
    plugin = python("def process(r): return {**r, 'more': 1.5}")
    wide = {f"column {n}": n for n in range(100)}
    found, errors = plugin.lines(*[wide] * 3500)  # some 5 MB of JSON; no call has more than 4 MB of Arrow
    assert (found[""][0], errors) == (3500, {})


def test_plugins_do_not_see_each_other(python):
    one = python("import json\njson.mine = 1\nimport builtins\nbuiltins.mine = 1\ndef process(r): return {'m': mine}")
    other = python(
        "import json, builtins\ndef process(r): return {'m': [hasattr(m, 'mine') for m in (json, builtins)]}"
    )
    assert one.process({}) == {"m": 1}
    assert other.process({}) == {"m": [False, False]}


def test_a_plugin_that_runs_long_takes_no_more_memory(python):
    source = "def process(r):\n    x = []\n    x.append(x)\n    return r"
    plugin = python(source, limits=Limits(memory_bytes_max=32 << 20))
    for _ in range(60):
        found, _ = plugin.lines(*[{"n": n, "a": "x" * 100} for n in range(1000)])
        assert found[""][0] == 1000


def test_what_the_host_raises_ends_the_call_alone(python, host, monkeypatch):
    def full(*_):
        raise OSError("the log is full")

    monkeypatch.setattr(type(host), "log", full)
    plugin = python("def process(r):\n    if 'log' in r: print('x')\n    return r")
    with pytest.raises(TrappedError, match="the log is full"):
        plugin.process({"log": 1})
    assert plugin.process({"a": 1}) == {"a": 1}
