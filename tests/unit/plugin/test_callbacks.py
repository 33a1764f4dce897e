"""What components call of the host: quick, of known types, and nothing of it stays in memory."""

from __future__ import annotations

import gc
import json
from pathlib import Path

import pytest
from wasmtime import wat2wasm

from dataflare.errors import WorkflowError
from dataflare.plugin import callbacks
from dataflare.plugin.component import ComponentInstance
from dataflare.plugin.grants import Grants
from dataflare.plugin.limits import Limits
from dataflare.plugin.program import Program, Settings

LIAR = """(component
  (import "dataflare:plugin/host@1.0.0" (instance $host (export "{name}" (func {signature}))))
  (core module $memory (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 64))
  (core instance $m (instantiate $memory))
  (core func $called (canon lower (func $host "{name}") (memory (core memory $m "memory"))
    (realloc (core func $m "realloc"))))
  (core module $start (import "host" "f" (func $f {core})) (func $s {call}) (start $s))
  (core instance (instantiate $start (with "host" (instance (export "f" (func $called)))))))"""
ODD = "a function takes or returns something that the interface does not have"


@pytest.mark.parametrize(
    ("name", "signature", "core", "call"),
    [
        ("now", '(param "x" u32)', "(param i32)", "(call $f (i32.const 1))"),
        ("now", "", "", "(call $f)"),
        ("get-state", '(param "key" u32)', "(param i32)", "(call $f (i32.const 1))"),
        ("metric", '(param "name" string) (param "value" u32)', "(param i32 i32 i32)",
         "(call $f (i32.const 0) (i32.const 1) (i32.const 7))"),
        ("set-state", '(param "key" string) (param "value" string)', "(param i32 i32 i32 i32)",
         "(call $f (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1))"),
    ],
)  # fmt: skip
def test_a_component_that_calls_by_other_types_is_stopped(engine, host, name, signature, core, call):
    text = LIAR.format(name=name, signature=signature, core=core, call=call)
    component = engine.compiled(bytes(wat2wasm(text)))
    with pytest.raises(WorkflowError, match=ODD):
        ComponentInstance(engine, component, host, Limits(), Grants())


def test_texts_go_and_come_whole_and_none_is_none(opened, host):
    plugin = opened("""export const process = ({ set, to }) => {
      if (set !== undefined) dataflare.setState(set, to);
      return { was: dataflare.getState(set === undefined ? "nothing" : set) ?? "none" };
    };""")
    for text in ("", "a", "é€😀\\u0000", "x" * 100_000):
        assert plugin.process({"set": text, "to": text + "!"}) == {"was": text + "!"}
    assert plugin.process({}) == {"was": "none"}
    assert host.get_state(json.dumps("a")) == '"a!"'
    assert plugin.process({"set": "a", "to": None}) == {"was": "none"}


def test_what_goes_by_is_freed(opened):
    plugin = opened("""export const process = () => {
      for (let n = 0; n < 200; n++) {
        dataflare.setState([1], "x".repeat(100_000));
        dataflare.getState([1]); dataflare.getState([2]); dataflare.setState([2], null);
        console.log("y".repeat(10_000)); dataflare.metric("a", 1);
      }
      return null;
    };""")

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    plugin.process({})
    before = resident()
    for _ in range(10):
        plugin.process({})
    assert resident() - before < 100 << 20, "420 MB went by"


def test_functions_are_let_go_with_the_instances_that_call_them(engine, host, tmp_path):
    (tmp_path / "rules.js").write_text("export const process = (r) => r;")
    program = Program.load(tmp_path / "rules.js", engine, "rules.js")
    gc.collect()
    before = len(callbacks._functions)
    made = [program.opened(Settings({}), host, Limits()) for _ in range(3)]
    assert len(callbacks._functions) == before + 3 * len(callbacks.SIGNATURES)
    made.clear()
    gc.collect()
    assert len(callbacks._functions) == before
