"""Modules that mean harm: the row to blame is put aside, all others arrive, and nobody else notices anything."""

from __future__ import annotations

import pytest
from tests.integration.plugin.conftest import MARK, Ran, Run
from tests.integration.plugin.hostile_modules import hostile, words

NAMES = ["a", "b", "c", f"d{MARK}", "e"]
GOOD = [0, 1, 2, 4]
GROWN = "(drop (memory.grow (i32.const 200)))"
AT, NOTHING = "(i32.const 1096)", "(i32.const 512)"
BAD_CASE = words((1096, 1), (1100, 0))
"""A result that is an error of the first case."""

HARM = {
    "an endless loop": (f"(call $loop) {NOTHING}", "longer than it may"),
    "endless recursion": ("(call $deep (i32.const 1))", "nested too deeply"),
    "an end": ("unreachable", "gave up"),
    "the end of the process": (f"(call $exit (i32.const 0)) {NOTHING}", "ended itself"),
    "a division by zero": ("(i32.div_u (i32.const 1) (i32.const 0))", "divide by zero"),
    "a read beyond its memory": ("(i32.load (i32.const -4))", "beyond its memory"),
    "a memory bomb": (
        f"(loop $l (br_if $l (i32.ne (memory.grow (i32.const 10)) (i32.const -1)))) (call $loop) {NOTHING}",
        "longer than it may",
    ),
    "waiting": (
        words((2048 + 24, 0x7FFFFFFF), (2048 + 28, 0x7FFF))
        + "(call $poll (i32.const 2048) (i32.const 3000) (i32.const 1) (i32.const 700))",
        "may not wait",
    ),
    "waiting for wild memory": (
        f"(call $poll (i32.const -9) (i32.const -9) (i32.const 0x7fffffff) (i32.const -9)) drop {NOTHING}",
        "",
    ),
    "host calls without end": (f"(loop $l (drop (call $now)) (br $l)) {NOTHING}", "longer than it may"),
    "random bytes without end": (
        f"{GROWN} (loop $l (drop (call $random (i32.const 0) (i32.const 9000000))) (br $l)) {NOTHING}",
        "longer than it may",
    ),
    "filling without end": (
        f"{GROWN} (loop $l (memory.fill (i32.const 0) (i32.const 1) (i32.const 9000000)) (br $l)) {NOTHING}",
        "longer than it may",
    ),
    "a flood of logs": (
        f"{GROWN} (loop $l (call $log (i32.const 1) (i32.const 65536) (i32.const 9000000)) (br $l)) {NOTHING}",
        "longer than it may",
    ),
    "a flood of counters": (
        f"""(local $n i32) (loop $l
          (i32.store (i32.const 2048) (local.get $n)) (local.set $n (i32.add (local.get $n) (i32.const 1)))
          (i32.store (i32.const 2052) (i32.and (local.get $n) (i32.const 0x7f7f7f7f)))
          (call $metric (i32.const 2052) (i32.const 4) (f64.const 1)) (br $l)) {NOTHING}""",
        "metric",
    ),
    "a counter with a long name": (
        f"(call $metric (i32.const 65536) (i32.const 100000) (f64.const 1)) {NOTHING}",
        "the name of a metric has at most",
    ),
    "a log beyond its memory": (
        f"(call $log (i32.const 0) (i32.const -1) (i32.const -1)) {NOTHING}",
        "text lies beyond its memory",
    ),
    "a counter of wild memory": (
        f"(call $metric (i32.const 0x7fffffff) (i32.const 9) (f64.const nan)) {NOTHING}",
        "text lies beyond its memory",
    ),
    "state without saying so": (
        f"(call $set (i32.const 512) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) {NOTHING}",
        "a plugin that keeps state must say so",
    ),
    "state at a wild place": (
        f"(call $get (i32.const 512) (i32.const 0) (i32.const -2)) {NOTHING}",
        "a value beyond its memory",
    ),
    "an answer beyond its memory": ("(i32.const -8)", "a value lies beyond its memory"),
    "a text beyond its memory": (
        words((1096, 0), (1100, 1104), (1104, 1), (1108, 0)) + words((1104, 0), (1108, -1), (1112, 2)) + AT,
        "it",
    ),
    "more parts than it has memory": (words((1096, 0), (1100, 2048), (1104, -1)) + AT, "beyond its memory"),
    "millions of parts": (
        GROWN + words((1096, 0), (1100, 65536), (1104, 300_000), (1108, 0), (1112, 0)) + AT,
        "a list of 300,000 elements",
    ),
    "millions of errors": (
        GROWN + words((1096, 0), (1100, 0), (1104, 0), (1108, 65536), (1112, 900_000)) + AT,
        "a list of 900,000 elements",
    ),
    "the same text many times": (
        GROWN
        + "(memory.fill (i32.const 65536) (i32.const 32) (i32.const 12000000))"
        + """(local $i i32) (loop $l
          (i32.store offset=2056 (i32.mul (local.get $i) (i32.const 32)) (i32.const 1))
          (i32.store offset=2060 (i32.mul (local.get $i) (i32.const 32)) (i32.const 65536))
          (i32.store offset=2064 (i32.mul (local.get $i) (i32.const 32)) (i32.const 9000000))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $l (i32.lt_u (local.get $i) (i32.const 900))))"""
        + words((1096, 0), (1100, 2048), (1104, 900), (1108, 0), (1112, 0))
        + AT,
        "the same memory many times",
    ),
    "no Unicode": (
        words((2048, -1), (1096, 0), (1100, 1104), (1104, 1))
        + words((1108, 0), (1112, 0))
        + words((1100, 1136), (1136, 2048), (1140, 4), (1144, 1), (1148, 2048), (1152, 4), (1156, 0))
        + AT,
        "no Unicode",
    ),
    "more rows than there are": (
        words((1096, 0), (1100, 1136), (1104, 1), (1108, 0), (1112, 0))
        + words((1136, 0), (1140, 0), (1144, -1), (1148, 0), (1152, 0), (1156, 0))
        + AT,
        "returned more than",
    ),
    "rows that it does not return": (
        words((1096, 0), (1100, 1136), (1104, 1), (1108, 0), (1112, 0))
        + words((1136, 0), (1140, 0), (1144, 1), (1148, 0), (1152, 0), (1156, 0))
        + AT,
        "says that it returns 1 rows, and does not",
    ),
    "the blame of a row that there is not": (
        words((1096, 0), (1100, 0), (1104, 0), (1108, 1136), (1112, 1), (1136, 77), (1140, 0), (1144, 0)) + AT,
        "blames row 77 of 1",
    ),
    "a source that there is not": (
        words((1096, 0), (1100, 1136), (1104, 1), (1108, 0), (1112, 0), (2048, 99))
        + words((1136, 0), (1140, 0), (1144, 1), (1148, 0), (1152, 0), (1156, 1), (1160, 2048), (1164, 1))
        + AT,
        "does not say which came of which",
    ),
    "an output that there is not": (
        words((2048, 0x78787878), (1096, 0), (1100, 1136), (1104, 1), (1108, 0), (1112, 0))
        + words((1136, 2048), (1140, 4), (1144, 1), (1148, 0), (1152, 0), (1156, 0))
        + AT,
        "the output 'xxxx', which it did not name",
    ),
    "a case that there is not": (words((1096, 1), (1100, 200)) + AT, "a case that there is not"),
}


def blamed(found: Ran) -> str:
    """Return why the row with the mark was put aside; all others arrived, and the witness saw nothing."""
    assert found.code == 0, found.said
    assert found.ids == GOOD
    assert [row["name"] for row in found.witnessed] == [f"{name} seen by function" for name in NAMES]
    assert [*found.reasons] == [3]
    return found.reasons[3]


@pytest.mark.parametrize(("harm", "why"), HARM.values(), ids=HARM)
def test_the_row_to_blame_is_put_aside_and_the_others_arrive(ran: Run, harm: str, why: str) -> None:
    locals_ = harm.partition("(local $")
    if locals_[1]:  # locals come first in a function
        name, _, rest = locals_[2].partition(")")
        body = f"(local ${name}) (if (call $marked (local.get 2) (local.get 3)) (then {locals_[0]} {rest} (return)))"
        module = hostile(process_batch=f"{body} (call $kept (local.get 1) (local.get 2) (local.get 3))")
    else:
        module = hostile(harm)
    told = blamed(ran(module, NAMES))
    assert told.startswith("stopped: ")
    assert why in told


def test_what_came_of_other_rows_before_is_not_in_a_row_of_a_call_that_was_stopped(ran: Run) -> None:
    found = ran(hostile(f"(call $loop) {NOTHING}"), NAMES, action="skip")
    assert (found.code, found.ids, found.bad) == (0, GOOD, [])
    assert len(found.witnessed) == len(NAMES)
    found = ran(hostile(f"(call $loop) {NOTHING}"), NAMES, action="fail")
    assert found.code != 0
    assert "stopped: it took longer than it may" in found.said


LIFECYCLE = {
    "a loop in a start function": ({"more": "(start $loop)"}, "longer than it may"),
    "a loop in open": ({"open": f"(call $loop) {NOTHING}"}, "longer than it may"),
    "a loop in describe": ({"describe": f"(call $loop) {NOTHING}"}, "longer than it may"),
    "wild memory in describe": ({"describe": "(i32.const -4)"}, "beyond its memory"),
    "wild memory in open": ({"open": "(i32.const -4)"}, "beyond its memory"),
    "memory that it does not have": ({"cabi_realloc": "(i32.const 0x7fffff00)"}, "memory that it does not have"),
    "millions of outputs": (
        {"describe": GROWN + words((2048 + 44, 65536), (2048 + 48, 400_000)) + "(i32.const 2048)"},
        "a list of 400,000 elements",
    ),
    "more memory than it may": ({"more": "(memory 1)"}, "memory count too high"),
    "a large memory from the start": ({"memory": ""}, ""),
}


@pytest.mark.parametrize(("parts", "why"), [*LIFECYCLE.values()][:-1], ids=[*LIFECYCLE][:-1])
def test_a_module_that_does_harm_before_its_first_row_ends_the_run_with_the_reason(
    ran: Run, parts: dict[str, str], why: str
) -> None:
    found = ran(hostile(**parts), NAMES)
    if why:
        assert found.code != 0
        assert why in found.said
        assert "Traceback" not in found.said
        assert "internal" not in found.said
    else:
        assert found.ids == [0, 1, 2, 3, 4]


def test_functions_that_call_each_other_by_way_of_the_host_are_stopped(ran: Run) -> None:
    """To give a text the host asks for memory, for which the module asks for the text."""
    empty = "(i32.const 512) (i32.const 0)"
    harm = f"""(call $set {empty} (i32.const 1) (i32.const 65536) (i32.const 4))
      (global.set $deeper (i32.const 1)) (call $get {empty} (i32.const 3000)) {NOTHING}"""
    realloc = f"""(if (global.get $deeper) (then (call $get {empty} (i32.const 3000))))
      (global.get $top) (global.set $top (i32.add (global.get $top) (local.get 3)))"""
    bodies = {
        "more": "(global $deeper (mut i32) (i32.const 0))",
        "describe": "(i32.store8 (i32.const 536) (i32.const 1)) (i32.const 512)",
        "export_state": "(i32.const 640)",
        "cabi_realloc": realloc,
    }
    assert "call each other by way of the host" in blamed(ran(hostile(harm, **bodies), NAMES))


def test_a_loop_in_close_does_not_keep_the_run(ran: Run) -> None:
    found = ran(hostile(close="(call $loop)"), NAMES)
    assert (found.code, found.ids) == (0, [0, 1, 2, 3, 4])


STATEFUL = words((512 + 24, 1)) + NOTHING


def test_state_that_cannot_be_told_ends_the_run(ran: Run) -> None:
    describe = "(i32.store8 (i32.const 536) (i32.const 1)) (i32.const 512)"
    found = ran(hostile(describe=describe, export_state=f"(call $loop) {NOTHING}"), NAMES)
    assert found.code != 0
    assert "the plugin cannot tell its state: it took longer than it may" in found.said


@pytest.mark.parametrize("config", [{}, {"key": ["name"]}])
def test_state_without_end_is_bounded(ran: Run, config: dict[str, list[str]]) -> None:
    """It sets the key of its row again and again, to megabytes; the key is what follows the marked row's name."""
    key = words((2048, 0x2164225B), (2052, 0x5D22))  # ["d!"]
    flood = f"""{GROWN} (memory.fill (i32.const 65536) (i32.const 49) (i32.const 9000000)) {key}
      (loop $l (call $set (i32.const 2048) (i32.const 6) (i32.const 1) (i32.const 65536) (i32.const 9000000)) (br $l))
      {NOTHING}"""
    stateful = "(i32.store8 (i32.const 536) (i32.const 1)) (i32.const 512)"
    bodies = {} if config else {"describe": stateful, "export_state": "(i32.const 640)"}
    found = ran(hostile(flood, **bodies), NAMES, timeout="3s", **config)
    assert "the state" in found.said + str(found.reasons)
    assert "more" in found.said + str(found.reasons)
    assert found.code == (1 if config else 0)
    assert [row["name"] for row in found.witnessed] in ([], [f"{name} seen by function" for name in NAMES])


def test_a_line_end_within_a_text_does_not_become_another_character(ran: Run) -> None:
    """It puts the end of a line in the place of its mark, which JSON has no room for."""
    spoilt = """(local $at i32) (local.set $at (local.get 2))
      (if (call $marked (local.get 2) (local.get 3)) (then
        (loop $next (if (i32.eq (i32.load8_u (local.get $at)) (i32.const 33)) (then
            (i32.store8 (local.get $at) (i32.const 10)))
          (else (local.set $at (i32.add (local.get $at) (i32.const 1))) (br $next))))))
      (call $kept (local.get 1) (local.get 2) (local.get 3))"""
    assert "are not a line each" in blamed(ran(hostile(process_batch=spoilt), NAMES))


def test_a_plugin_that_is_stopped_at_every_row_ends_the_run(ran: Run) -> None:
    found = ran(hostile(process_batch="unreachable"), [f"n{n}" for n in range(100)])
    assert found.code != 0
    assert "rows had the plugin stopped" in found.said
    assert len(found.said) < 5000


def test_stdin_is_empty_and_sockets_are_none(ran: Run) -> None:
    empty = "(call $word (i32.const 2048) (i32.const 3000)) (call $word (i32.const 2052) (i32.const 100))"
    tried = f"""{empty}
      (drop (call $read (i32.const 0) (i32.const 2048) (i32.const 1) (i32.const 2100)))
      (if (i32.load (i32.const 2100)) (then unreachable))
      (if (i32.eqz (call $accept (i32.const 3) (i32.const 0) (i32.const 2100))) (then unreachable))
      (if (i32.eqz (call $send (i32.const 3) (i32.const 2048) (i32.const 1) (i32.const 0) (i32.const 2100)))
        (then unreachable))
      (call $kept (local.get 1) (local.get 2) (local.get 3))"""
    found = ran(hostile(tried), NAMES)
    assert (found.code, found.ids, found.reasons) == (0, [0, 1, 2, 3, 4], {})
