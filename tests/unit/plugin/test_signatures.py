"""Functions of other types than they should have would write into the memory of the host: none of them is called."""

from __future__ import annotations

import pytest
from tests.unit.plugin.test_core_modules import FUNCTIONS, LIMITS, PARTS, module
from wasmtime import wat2wasm

from dataflare.errors import WorkflowError
from dataflare.plugin.failures import TrappedError
from dataflare.plugin.program import Program, Settings

RIGHT = {name.rpartition("#")[2]: kind for name, (kind, _) in FUNCTIONS.items()}
POST, START = "cabi_post_dataflare:plugin/processor@1.0.0#process", "_initialize"
WRONG = {
    "results beyond the cells of a call": ("process", f"(param i32 i32) (result {'i64 ' * 200})", "unreachable"),
    "one result more": ("process", "(param i32 i32) (result i32 i32)", "unreachable"),
    "no result": ("process-batch", "(param i32 i32 i32 i32)", "unreachable"),
    "parameters beyond the cells of a call": ("process", f"(param {'i64 ' * 200}) (result i32)", "unreachable"),
    "one parameter more": ("cabi_realloc", "(param i32 i32 i32 i32 i32) (result i32)", "unreachable"),
    "a function as a number": ("open", "(param funcref i32) (result i32)", "unreachable"),
    "something foreign as a number": ("export-state", "(result externref)", "ref.null extern"),
    "wider numbers": ("import-state", "(param i64 i64) (result i32)", "unreachable"),
    "vectors": ("describe", "(result v128)", "v128.const i64x2 1 2"),
    "a result of close": ("close", "(result i32)", "unreachable"),
    "another cleaning up": (POST, "(param i32) (result i64)", "i64.const 1"),
    "another start": (START, "(param i64 i64 i64 i64 i64 i64 i64 i64 i64)", ""),
}


@pytest.mark.parametrize(("function", "kind", "body"), WRONG.values(), ids=WRONG)
def test_a_function_of_another_type_is_refused(tmp_path, engine, host, function, kind, body):
    functions = []
    for name, (right, own) in FUNCTIONS.items():
        full = name if "#" not in name else f"dataflare:plugin/{name}"
        wrong = name.rpartition("#")[2] == function
        functions.append(f'(func (export "{full}") {kind if wrong else right} {body if wrong else own})')
    if function not in RIGHT:
        functions.append(f'(func (export "{function}") {kind} {body})')
    (tmp_path / "plugin.wasm").write_bytes(bytes(wat2wasm(f"(module {PARTS} {' '.join(functions)})")))
    program = Program.load(tmp_path / "plugin.wasm", engine, "plugin.wasm")
    with pytest.raises((WorkflowError, TrappedError), match="other values than"):
        used(program.opened(Settings(), host, LIMITS))


def used(instance):
    """Call all functions that the processor calls."""
    instance.call("describe")
    instance.call("import-state", instance.call("export-state"))
    instance.call("process", "{}")
    instance.call("process-batch", ("json-lines", 1, "{}"))
    instance.call("close")


def test_the_right_ones_are_called(tmp_path, engine, host):
    (tmp_path / "plugin.wasm").write_bytes(module(f'(func (export "{POST}") (param i32))(func (export "{START}"))'))
    used(Program.load(tmp_path / "plugin.wasm", engine, "plugin.wasm").opened(Settings(), host, LIMITS))
