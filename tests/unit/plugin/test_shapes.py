"""Components whose functions have other types than the interface says are refused before they are called."""

from __future__ import annotations

import pytest
from wasmtime import wat2wasm

from dataflare.errors import WorkflowError
from dataflare.plugin.limits import Limits
from dataflare.plugin.program import Program, Settings

NUMBER = "(result i32) i32.const 16"
TYPES = {
    "a number": ("(result u32)", NUMBER),
    "a text taken": ('(param "x" string) (result u32)', f"(param i32 i32) {NUMBER}"),
    "a result of another type": ('(param "x" string) (result (result string))', f"(param i32 i32) {NUMBER}"),
    "nothing": ('(param "x" string) (param "y" string)', "(param i32 i32 i32 i32)"),
    "a pair": ('(param "x" f64) (result (tuple u32 u32))', f"(param f64) {NUMBER}"),
    "something that comes later": ('(param "x" string) (result (future u32))', f"(param i32 i32) {NUMBER}"),
    "a stream": ('(param "x" string) (result (stream u8))', f"(param i32 i32) {NUMBER}"),
    "a list in lists": (f"(result {'(list ' * 90}u32{')' * 90})", NUMBER),
}
LIFECYCLE = ("describe", "open", "close", "export-state", "import-state")


@pytest.mark.parametrize(("kind", "body"), TYPES.values(), ids=TYPES)
def test_a_component_with_other_types_is_refused(tmp_path, engine, host, kind, body):
    wat = f"""(component
      (core module $m (func (export "f") {body}) (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 64))
      (core instance $i (instantiate $m))
      (func $f {kind} (canon lift (core func $i "f") (memory (core memory $i "memory"))
        (realloc (core func $i "realloc"))))
      (instance $l {" ".join(f'(export "{name}" (func $f))' for name in LIFECYCLE)})
      (export "dataflare:plugin/lifecycle@1.0.0" (instance $l))
      (instance $p (export "process" (func $f)) (export "process-batch" (func $f)))
      (export "dataflare:plugin/processor@1.0.0" (instance $p)))"""
    (tmp_path / "plugin.wasm").write_bytes(bytes(wat2wasm(wat)))
    program = Program.load(tmp_path / "plugin.wasm", engine, "plugin.wasm")
    with pytest.raises(WorkflowError, match=r"other values than it should|interface does not have"):
        program.opened(Settings(), host, Limits())
