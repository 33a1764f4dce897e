"""Scripts that mean harm: the row to blame is put aside, all others arrive, and nobody else notices anything."""

from __future__ import annotations

import pytest
from tests.integration.plugin.conftest import MARK, Ran, Run

NAMES = ["a", "b", "c", f"d{MARK}", "e"]
GOOD = [0, 1, 2, 4]
SLOW = "longer than it may"
HARM = {
    "an endless loop": ("for (;;);", SLOW),
    "an endless loop in a generator": ("for (const x of (function* () { for (;;) yield 1; })());", SLOW),
    "recursion": ("const f = (n) => f(n + 1) + 1; return f(0);", ""),
    "a search that goes back without end": ("/^(a+)+$/.test('a'.repeat(40) + 'b');", SLOW),
    "a sort that is never done": ("[...Array(50).keys()].sort(() => { for (;;); });", SLOW),
    "a comparison by chance": (
        "let s = 7; return Array(3e6).fill(0).sort(() => (s = s * 16807 % 2147483647) % 3 - 1);",
        "",
    ),
    "a proxy without end": ("return new Proxy({}, { ownKeys() { for (;;); } });", SLOW),
    "a proxy whose traps throw": (
        "const t = () => { throw Error('trap'); }; return new Proxy({}, { get: t, ownKeys: t });",
        "trap",
    ),
    "a getter that throws": ("return { get id() { throw Error('get'); }, name: 'x' };", "get"),
    "a getter without end": ("return { get id() { for (;;); }, name: 'x' };", SLOW),
    "a toJSON that throws": ("return { id: 1, name: { toJSON() { throw Error('json'); } } };", "json"),
    "a cyclic record": ("const o = { id: 1 }; o.name = o; return o;", "circular"),
    "a bomb of lists": ("const a = []; for (;;) a.push(new Uint8Array(1 << 16));", ""),
    "a bomb of text": ("let s = 'x'; for (;;) s += s;", ""),
    "text of a gigabyte": ("return { id: 1, name: 'x'.repeat(1 << 30) };", ""),
    "nothing thrown": ("throw null;", "null"),
    "undefined thrown": ("throw undefined;", "undefined"),
    "a symbol thrown": ("throw Symbol('s');", "s"),
    "a cyclic object thrown": ("const e = {}; e.e = e; throw e;", "object"),
    "a proxy thrown": ("throw new Proxy(Error('x'), { get() { throw Error('inner'); } });", ""),
    "a thing whose text throws": ("throw { toString() { throw Error('no text'); } };", ""),
    "a thing whose text never ends": ("throw { toString() { for (;;); } };", SLOW),
    "an error with a message that throws": (
        "throw Object.defineProperty(Error(), 'message', { get() { throw 1; } });",
        "",
    ),
    "an error with a message without end": (
        "throw Object.defineProperty(Error(), 'message', { get() { for (;;); } });",
        SLOW,
    ),
    "an error with a stack without end": (
        "throw Object.defineProperty(Error(), 'stack', { get() { for (;;); } });",
        SLOW,
    ),
    "an error of megabytes": ("throw Error('m'.repeat(3e6));", "characters)"),
    "an error that moves the cursor": ("throw Error('\\u001b[2J\\u001b]0;title\\u0007 \\u202e seen');", "seen"),
    "a null of C in a message": ("throw Error('a\\0b');", "a"),
    "no record": ("return 5;", "no record"),
    "a list of nothing": ("return [null];", "null in a list"),
    "a hundred thousand columns": (
        "return Object.fromEntries(Array.from({ length: 9000 }, (_, n) => [`c${n}`, n]));",
        "no column",
    ),
    "a column called __proto__": ('return JSON.parse(\'{"__proto__": 1, "id": 1, "name": "x"}\');', "__proto__"),
    "an output that there is not": ("return dataflare.to('nowhere', { id: 1, name: 'x' });", "did not name"),
    "a number beyond all": ("return { id: 1e300, name: 'x' };", "id"),
    "no number": ("return { id: 'one', name: 'x' };", "id"),
    "a big number of JavaScript": ("return { id: 1n, name: 'x' };", "BigInt"),
    "a list for a text": ("return { id: 1, name: ['x'] };", "name"),
    "state without saying so": ("dataflare.setState([1], 1); return null;", "a plugin that keeps state must say so"),
    "a counter that is no name": ("dataflare.metric('\\n'.repeat(5000)); return null;", "metric"),
    "logs without end": ("for (;;) console.log('x'.repeat(100000));", SLOW),
    "counters without end": ("for (let n = 0; ; n++) dataflare.metric(`n${n}`);", SLOW),
}


def source(body: str, more: str = "") -> str:
    return f"{more}\nexport function process(r) {{ if (r.name.endsWith('{MARK}')) {{ {body} }} return r; }}"


def blamed(found: Ran) -> str:
    """Return why the row with the mark was put aside; all others arrived, and the witness saw nothing."""
    assert found.code == 0, found.said
    assert found.ids == GOOD
    assert [row["name"] for row in found.witnessed] == [f"{name} seen by function" for name in NAMES]
    assert [*found.reasons] == [3]
    assert len(found.reasons[3]) < 3000
    assert not any(ord(c) < 32 and c not in "\n\t" for c in found.reasons[3] + found.said)
    assert "\u202e" not in found.said
    return found.reasons[3]


@pytest.mark.parametrize(("body", "why"), HARM.values(), ids=HARM)
def test_the_row_to_blame_is_put_aside_and_the_others_arrive(ran: Run, body: str, why: str) -> None:
    assert why in blamed(ran(source(body), NAMES))


def test_a_row_that_becomes_a_hundred_thousand_does_not_stop_the_others(ran: Run) -> None:
    found = ran(
        source("return Array.from({ length: 100000 }, () => ({ id: 3, name: 'many' }));"),
        NAMES,
        memory="64MB",
        timeout="5s",
    )
    assert found.code == 0
    assert len(found.good) == 100_004


def test_deep_nesting_is_no_value(ran: Run) -> None:
    deep = "let v = 1; for (let n = 0; n < 5000; n++) v = [v]; return { id: 1, name: v };"
    assert blamed(ran(source(deep), NAMES))


def test_a_lone_surrogate_is_no_text(ran: Run) -> None:
    found = ran(source("return { id: 3, name: '\\ud800' };"), NAMES)
    assert found.code == 0
    assert len(found.good) + len(found.bad) == len(NAMES)
    assert [n for n in found.ids if n != 3] == GOOD


PLANNING = {
    "a loop at the top": "for (;;);",
    "a loop in open": "export const open = () => { for (;;); };",
    "a getter in its exports": "export const input = { get length() { for (;;); } };",
    "a million outputs": "export const outputs = Object.fromEntries([...Array(2e5)].map((_, n) => [n, null]));",
    "a million columns": "export const output = Object.fromEntries([...Array(2e5)].map((_, n) => [n, 'int64']));",
    "a type that there is not": "export const output = { a: 'x'.repeat(1e6) };",
    "an unhappy name": "export const name = { toString() { throw 1; } };",
    "settings of no sense": "export const settings = (() => { const s = {}; s.s = s; return s; })();",
    "patched at the top": "JSON.parse = () => { throw Error('patched'); };",
}


@pytest.mark.parametrize("code", PLANNING.values(), ids=PLANNING)
def test_what_is_wrong_before_the_first_row_ends_the_run_with_its_reason(ran: Run, code: str) -> None:
    found = ran(f"{code}\nexport const process = (r) => r;", NAMES, memory="32MB")
    assert found.code in (1, 2, 3)
    assert "plugin.js" in found.said
    assert len(found.said) < 20_000
    assert "Traceback" not in found.said
    assert "internal" not in found.said


def test_what_a_plugin_does_to_its_own_world_stays_there(ran: Run) -> None:
    """It may spoil its own next rows, as they share one instance; a plugin beside it has another world."""
    spoilt = """Array.prototype.flat = undefined; Object.prototype.extra = 1; globalThis.mine = 1;
      export const process = (r) => ({ ...r, name: `${typeof [].flat} ${({}).extra}` });"""
    found = ran(spoilt, NAMES)
    assert {row["name"] for row in found.good} == {"undefined 1"}
    assert [row["name"] for row in found.witnessed] == [f"{name} seen by function" for name in NAMES]


def test_a_promise_ends_the_run(ran: Run) -> None:
    found = ran(source("return Promise.resolve({ id: 1 });"), NAMES)
    assert found.code == 1
    assert "process is asynchronous" in found.said


def test_a_plugin_that_throws_its_own_words_away_harms_itself_alone(ran: Run) -> None:
    spoilt = "JSON.stringify = JSON.parse = Array.prototype.map = Array.isArray = null; throw Error('gone');"
    found = ran(source(spoilt), NAMES, action="skip")
    assert "Traceback" not in found.said
    assert found.code in (0, 1)
    if not found.code:
        assert [row["name"] for row in found.witnessed] == [f"{name} seen by function" for name in NAMES]


def test_logs_are_told_a_hundred_times_in_pieces(ran: Run) -> None:
    found = ran(
        "export const process = (r) => { console.log('\\u001b[31m' + 'l'.repeat(1e6)); return r; };",
        ["a"] * 300,
        timeout="5s",
    )
    assert found.code == 0
    assert len(found.good) == 300
    assert "\u001b" not in found.said
    assert len(found.said) < 400_000
