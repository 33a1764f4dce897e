"""Core modules: nothing that one says about its memory is believed, and what it does ends with its call."""

from __future__ import annotations

import pytest
from wasmtime import wat2wasm

from dataflare.errors import WorkflowError
from dataflare.plugin.failures import BadRecordError, FatalError, TransientError, TrappedError
from dataflare.plugin.guarded import GuardedInstance
from dataflare.plugin.limits import Limits
from dataflare.plugin.program import Output, Program, Settings

LIMITS = Limits(seconds_max=0.5, memory_bytes_max=4 << 20, table_elements_max=1000)
BEYOND = "(i32.const 0x7fffff00)"
POLL = "(call $poll (i32.const 0) (i32.const 3000) (i32.const 1) (i32.const 3500))"
PARTS = """
  (import "dataflare:plugin/host@1.0.0" "log" (func $log (param i32 i32 i32)))
  (import "dataflare:plugin/host@1.0.0" "set-state" (func $set (param i32 i32 i32 i32 i32)))
  (import "dataflare:plugin/host@1.0.0" "get-state" (func $get (param i32 i32 i32)))
  (import "dataflare:plugin/host@1.0.0" "now" (func $now (result i64)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (table $table 1 funcref)
  (global $top (mut i32) (i32.const 4096))
  (func $loop (loop $again (br $again)))
  (func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1)))
  (func $word (param i32 i32) (i32.store (local.get 0) (local.get 1)))
"""
FUNCTIONS = {
    "cabi_realloc": (
        "(param i32 i32 i32 i32) (result i32)",
        "(global.get $top) (global.set $top (i32.add (global.get $top) (local.get 3)))",
    ),
    "lifecycle@1.0.0#describe": ("(result i32)", "(i32.const 1024)"),
    "lifecycle@1.0.0#open": ("(param i32 i32) (result i32)", "(i32.const 1024)"),
    "lifecycle@1.0.0#close": ("", ""),
    "lifecycle@1.0.0#export-state": ("(result i32)", "(i32.const 1024)"),
    "lifecycle@1.0.0#import-state": ("(param i32 i32) (result i32)", "(i32.const 1024)"),
    "processor@1.0.0#process": ("(param i32 i32) (result i32)", "(i32.const 1024)"),
    "processor@1.0.0#process-batch": ("(param i32 i32 i32 i32) (result i32)", "(i32.const 1024)"),
}
"""Bytes from 1024 on are zero, which is the first case of everything, and empty."""


def module(more: str = "", **bodies: str | None) -> bytes:
    """Return a module; bodies of its functions by the last part of their names, None for one that is not there."""
    functions = []
    for name, (kind, body) in FUNCTIONS.items():
        own = bodies.get(name.rpartition("#")[2].replace("-", "_"), body)
        if own is not None:
            full = name if "#" not in name else f"dataflare:plugin/{name}"
            functions.append(f'(func (export "{full}") {kind} {own})')
    return bytes(wat2wasm(f"(module {PARTS} {more} {' '.join(functions)})"))


@pytest.fixture
def opened(tmp_path, engine, host):
    """Return what makes a module of bodies and opens it."""
    made = []

    def open_(more="", **bodies):
        (tmp_path / "plugin.wasm").write_bytes(module(more, **bodies))
        program = Program.load(tmp_path / "plugin.wasm", engine, "plugin.wasm")
        instance = GuardedInstance(program, Settings(), host, LIMITS)
        made.append(instance)
        return instance.open(stateful=False)

    yield open_
    for instance in made:
        instance.close()


def words(*values: tuple[int, int]) -> str:
    return " ".join(f"(call $word (i32.const {at}) (i32.const {value}))" for at, value in values)


def batch(instance, text="{}"):
    return instance.call("process-batch", ("json-lines", 1, text))


def test_an_empty_answer_is_one(opened, tmp_path, engine, host):
    instance = opened()
    assert instance.call("process", "{}") == ("keep", "")
    assert batch(instance) == ([], [])
    assert instance.call("export-state") == ""
    program = Program.load(tmp_path / "plugin.wasm", engine, "plugin.wasm")
    told = program.described(Settings(), host, LIMITS)
    assert (told.name, told.input, told.format, told.outputs) == ("plugin", None, "json-lines", {})


def test_what_it_says_of_itself_is_read(tmp_path, engine, host):
    more = r'(data (i32.const 2048) "price1.0amounttotalfloat64")'
    name, version, wanted = ((1024, 2048), (1028, 5)), ((1032, 2053), (1036, 3)), ((1200, 2056), (1204, 6))
    settings = ((1048, 1), (1052, 1), (1056, 1200), (1060, 1), (1064, 1), (1068, 1300), (1072, 1))
    output = ((1308, 1), (1312, 1400), (1316, 1), (1320, 1))
    column = ((1400, 2062), (1404, 5), (1408, 2067), (1412, 7))
    body = words(*name, *version, *wanted, *settings, *output, *column)
    (tmp_path / "plugin.wasm").write_bytes(module(more, describe=f"{body} (i32.const 1024)"))
    told = Program.load(tmp_path / "plugin.wasm", engine, "p.wasm").described(Settings(), host, LIMITS)
    assert (told.name, told.version, told.stateful, told.input) == ("price", "1.0", True, ("amount",))
    assert (told.format, told.outputs) == ("json-columns", {"": Output((("total", "float64"),), adds=True)})


@pytest.mark.parametrize(("case", "error"), [*enumerate((BadRecordError, TransientError, FatalError))])
def test_an_error_is_told_by_its_case(opened, case, error):
    more = '(data (i32.const 2048) "so it is")'
    body = words((1100, 1), (1104, case), (1108, 2048), (1112, 8)) + " (i32.const 1100)"
    with pytest.raises(error, match="so it is"):
        opened(more, process=body).call("process", "{}")
    with pytest.raises(error, match="so it is"):
        batch(opened(more, process_batch=body))


WILD = {
    "a place beyond its memory": BEYOND,
    "the last byte of its memory": "(i32.const 65535)",
    "a negative place": "(i32.const -1)",
    "a text beyond its memory": words((1104, 0x7FFFFF00), (1108, 4), (1100, 0)) + " (i32.const 1096)",
    "a text that is too long": words((1104, 2048), (1108, -1)) + " (i32.const 1096)",
    "more parts than it has memory": words((1100, 2048), (1104, 0x7FFFFFF)) + " (i32.const 1096)",
    "more parts than there are numbers": words((1100, 2048), (1104, -1)) + " (i32.const 1096)",
    "a case that there is not": words((1096, 1), (1100, 200)) + " (i32.const 1096)",
    "no Unicode": words((2048, -1), (1100, 0), (1104, 2048), (1108, 3), (1112, 1)) + " (i32.const 1096)",
}


@pytest.mark.parametrize("body", WILD.values(), ids=WILD)
def test_what_lies_outside_of_its_memory_is_not_read(opened, body):
    instance = opened(process=body, process_batch=body)
    for call in (lambda: instance.call("process", "{}"), lambda: batch(instance)):
        try:
            call()
        except TrappedError as error:
            assert "\n" not in error.what
    assert instance.call("export-state") == ""


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("(call $loop) (i32.const 1024)", "longer than it may"),
        ("(call $deep (i32.const 1))", "nested too deeply"),
        ("unreachable", "gave up"),
        ("(call $exit (i32.const 0)) (i32.const 1024)", "ended itself"),
        ("(call $exit (i32.const 3)) (i32.const 1024)", "ended itself"),
        ("(i32.load (i32.const 0x7fffff00))", "beyond its memory"),
        ("(call $log (i32.const 0) (i32.const 0x7fffff00) (i32.const 9)) (i32.const 1024)", "beyond its memory"),
        ("(call $log (i32.const 9) (i32.const 0) (i32.const -1)) (i32.const 1024)", "beyond its memory"),
        ("(call $get (i32.const 0) (i32.const 0) (i32.const -4)) (i32.const 1024)", "beyond its memory"),
        (f"(i64.store (i32.const 24) (i64.const 1000001)) {POLL}", "may not wait"),
        (f"(i64.store (i32.const 24) (i64.const -1)) {POLL}", "may not wait"),
        (f"(i32.store8 (i32.const 40) (i32.const 1)) {POLL}", "may not wait"),
        (f"(i32.store8 (i32.const 8) (i32.const 1)) {POLL}", "may not wait"),
        ("(call $poll (i32.const -48) (i32.const 0) (i32.const 2) (i32.const 0))", "beyond its memory"),
        ("(call $poll (i32.const 0) (i32.const -8) (i32.const 1) (i32.const 0))", "beyond its memory"),
        ("(i32.div_u (i32.const 1) (i32.const 0))", "divide by zero"),
    ],
)
def test_a_module_that_runs_wild_is_replaced(opened, body, why):
    started = opened(process=f"(if (i32.eq (local.get 1) (i32.const 2)) (then {body} drop)) (i32.const 1024)")
    with pytest.raises(TrappedError, match=why):
        started.call("process", "{}")
    assert started.call("process", '{"a":1}') == ("keep", "")


def test_memory_and_tables_do_not_grow_beyond_their_bounds(opened):
    grown = """(if (i32.ne (memory.grow (i32.const 1000)) (i32.const -1)) (then unreachable))
      (if (i32.ne (table.grow $table (ref.null func) (i32.const 5000)) (i32.const -1)) (then unreachable))
      (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
      (i32.const 1024)"""
    assert opened(process=grown).call("process", "{}") == ("keep", "")


def test_memory_that_moves_is_found_again(opened):
    text = "x" * 100_000
    instance = opened(cabi_realloc="(drop (memory.grow (i32.const 2))) (i32.const 65536)")
    for _ in range(3):
        assert instance.call("process", text) == ("keep", "")


def test_memory_that_it_does_not_have_is_not_written(opened):
    with pytest.raises(WorkflowError, match="it gave memory that it does not have"):
        opened(cabi_realloc=BEYOND)


def test_a_short_wait_has_passed_at_once(opened):
    waits = f"""(i64.store (i32.const 0) (i64.const 77)) (i64.store (i32.const 24) (i64.const 1000000)) (drop {POLL})
      (if (i64.ne (i64.load (i32.const 3000)) (i64.const 77)) (then unreachable))
      (if (i32.ne (i32.load (i32.const 3500)) (i32.const 1)) (then unreachable))
      (i32.const 1024)"""
    assert opened(process=waits).call("process", "{}") == ("keep", "")


def test_time_is_that_of_the_epoch_and_there_are_no_files(opened, host):
    shown = """(drop (call $clock (i32.const 0) (i64.const 0) (i32.const 3000)))
      (if (i64.ne (i64.load (i32.const 3000)) (i64.mul (call $now) (i64.const 1000))) (then unreachable))
      (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 3000)))
      (if (i64.le_u (i64.load (i32.const 3000)) (i64.mul (call $now) (i64.const 1000))) (then unreachable))
      (if (i32.eqz (call $open (i32.const 3) (i32.const 0) (i32.const 2048) (i32.const 1) (i32.const 0) (i64.const 2)
        (i64.const 2) (i32.const 0) (i32.const 3000))) (then unreachable))
      (i32.const 1024)"""
    assert opened('(data (i32.const 2048) "/")', process=shown).call("process", "{}") == ("keep", "")


def test_state_by_key_goes_through_its_memory(opened, host):
    body = """(call $set (i32.const 2048) (i32.const 3) (i32.const 1) (i32.const 2051) (i32.const 2))
      (call $get (i32.const 2048) (i32.const 3) (i32.const 1104))
      (if (i32.ne (i32.load (i32.const 1104)) (i32.const 1)) (then unreachable))
      (i32.store (i32.const 1104) (i32.const 0))
      (i32.const 1100)"""
    instance = opened('(data (i32.const 2048) "[1]42")', process=body)
    assert instance.call("process", "{}") == ("keep", "42")
    assert host.state == {"[1]": "42"}


@pytest.mark.parametrize(
    ("more", "bodies", "why"),
    [
        ("", {"cabi_realloc": None}, "exports no function cabi_realloc"),
        ("", {"process_batch": None}, "process-batch"),
        (
            '(func $other (export "x"))',
            {"process": None, "process_batch": None},
            "exports no dataflare:plugin/processor",
        ),
        ("(start $loop)", {}, "longer than it may"),
        ('(func (export "_initialize") (call $loop))', {}, "longer than it may"),
    ],
)
def test_a_module_that_is_not_whole_says_why(opened, more, bodies, why):
    with pytest.raises(Exception, match=why):
        opened(more, **bodies)


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ('"env" "system"', "imports env system, which no host"),
        ('"dataflare:plugin/host@1.0.0" "exec"', "host@1.0.0 exec, which no host"),
        ('"wasi_snapshot_preview1" "sock_connect"', "cannot be started"),
    ],
)
def test_an_import_that_nobody_grants_is_refused(tmp_path, engine, host, wanted, why):
    wat = f'(module (import {wanted} (func)) (memory (export "memory") 1))'
    (tmp_path / "plugin.wasm").write_bytes(bytes(wat2wasm(wat)))
    program = Program.load(tmp_path / "plugin.wasm", engine, "plugin.wasm")
    with pytest.raises(WorkflowError, match=why):
        program.opened(Settings(), host, LIMITS)


def test_another_major_version_is_told(tmp_path, engine, host):
    wat = """(module (memory (export "memory") 1) (func (export "dataflare:plugin/lifecycle@2.0.0#open"))
      (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 0))"""
    (tmp_path / "plugin.wasm").write_bytes(bytes(wat2wasm(wat)))
    program = Program.load(tmp_path / "plugin.wasm", engine, "plugin.wasm")
    with pytest.raises(WorkflowError, match=r"speaks version 2\.0\.0 of dataflare:plugin; this host speaks 1\.x"):
        program.opened(Settings(), host, LIMITS)
