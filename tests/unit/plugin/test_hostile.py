"""Plugins that mean harm, or run wild: the host goes on, and so does the next call."""

from __future__ import annotations

import pytest

from dataflare.errors import DataError
from dataflare.plugin.failures import BadRecordError, FatalError, PluginError, TrappedError
from dataflare.plugin.limits import Limits

QUICK = Limits(seconds_max=0.5, memory_bytes_max=32 << 20, traps_max=3)
LOOPING = """let n = 0;
export function process(r) {
  n++;
  dataflare.setState([0], n);
  if (r.loop) for (;;);
  return { n, kept: dataflare.getState([0]) };
}
export const exportState = () => n;
export const importState = (state) => { n = state; };"""


def test_an_endless_loop_is_stopped_and_nothing_of_its_call_is_left(opened, host):
    plugin = opened(LOOPING, limits=QUICK, stateful=True)
    assert plugin.process({}) == {"n": 1, "kept": 1}
    with pytest.raises(TrappedError, match="longer than it may"):
        plugin.process({"loop": True})
    assert host.state == {"[0]": "1"}
    assert plugin.process({}) == {"n": 2, "kept": 2}


def test_an_instance_is_replaced_so_many_times_and_no_more(opened):
    plugin = opened(LOOPING, limits=QUICK, stateful=True)
    for _ in range(QUICK.traps_max):
        with pytest.raises(TrappedError):
            plugin.process({"loop": True})
    with pytest.raises(DataError, match=r"rules\.js: the plugin had to be stopped 4 times"):
        plugin.process({"loop": True})


def test_a_loop_while_it_is_opened_is_stopped(opened):
    with pytest.raises(Exception, match="longer than it may"):
        opened("for (;;);\nexport const process = (r) => r;", limits=QUICK)


def test_fuel_stops_a_loop_at_the_same_place_each_time(opened, counting_engine):
    source = "let n = 0;\nexport function process(r) { for (;;) { if (++n % 1000 == 0) dataflare.metric('n', 1000); } }"
    limits = Limits(fuel_max=30_000_000)
    counted = []
    for _ in range(2):
        plugin = opened(source, limits=limits, of=counting_engine)
        host = plugin.instance._host
        before = host.metrics.get("n", 0)
        with pytest.raises(TrappedError, match="more fuel than it may"):
            plugin.process({})
        counted.append(host.metrics["n"] - before)
    assert counted[0] == counted[1] > 0


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("const a = []; for (;;) a.push(new Uint8Array(1 << 20));", BadRecordError),
        ("let s = 'x'; for (;;) s += s;", BadRecordError),
        ("const f = (n) => f(n + 1) + 1; return f(0);", (BadRecordError, TrappedError)),
        ("const o = {}; o.o = o; return o;", BadRecordError),
        ("return { get a() { throw new Error('no'); } };", BadRecordError),
        ("throw null;", BadRecordError),
        ("throw { toString: () => { throw 1; } };", PluginError),
        ("return new Proxy({}, { ownKeys: () => { for (;;); } });", TrappedError),
        ("return { then: (f) => f() };", FatalError),
        ("return { a: '\\ud800' };", PluginError),
    ],
)
def test_the_next_call_finds_a_plugin_that_works(opened, body, error):
    plugin = opened(f"export function process(r) {{ if (r.ok) return r; {body} }}", limits=QUICK)
    try:
        found = plugin.process({"a": 1})
    except error:
        found = None
    assert found is None or found == {"a": "\ud800"}
    assert plugin.process({"ok": 1}) == {"ok": 1}


def test_a_lone_surrogate_is_written_as_an_escape(opened):
    assert opened("export const process = () => ({ a: '\\ud800' });").process({}) == {"a": "\ud800"}


def test_huge_output_is_bounded_by_the_memory(opened):
    plugin = opened("export const process = (r) => r.ok ? r : { a: 'x'.repeat(1 << 30) };", limits=QUICK)
    with pytest.raises(PluginError):
        plugin.process({})
    assert plugin.process({"ok": 1}) == {"ok": 1}


@pytest.mark.parametrize(
    "name", ["std", "os", "fetch", "require", "WebAssembly", "XMLHttpRequest", "Worker", "process"]
)
def test_there_is_nothing_to_reach_out_with(opened, name):
    source = f"export default {{ process: () => ({{ kind: typeof globalThis.{name} }}) }};"
    assert opened(source).process({}) == {"kind": "undefined"}


def test_a_plugin_cannot_wait(opened):
    with pytest.raises(PluginError):
        opened("export const process = () => { setTimeout(() => 1, 10); };").process({})


def test_plugins_do_not_see_each_other(opened):
    one = opened("globalThis.mine = 1;\nArray.prototype.flat = null;\nexport const process = () => ({ mine });", "a.js")
    other = opened("export const process = () => ({ mine: typeof mine, flat: typeof [].flat });", "b.js")
    assert one.process({}) == {"mine": 1}
    assert other.process({}) == {"mine": "undefined", "flat": "function"}


def test_what_the_host_raises_ends_the_call_alone(opened, host, monkeypatch):
    plugin = opened("export const process = (r) => { if (r.log) console.log('x'); return r; };")

    def full(*_):
        raise OSError("the log is full")

    monkeypatch.setattr(type(host), "log", full)
    again = opened("export const process = (r) => { if (r.log) console.log('x'); return r; };", "again.js")
    with pytest.raises(TrappedError, match="the log is full"):
        again.process({"log": 1})
    assert again.process({"a": 1}) == {"a": 1}
    assert plugin.process({"a": 1}) == {"a": 1}
