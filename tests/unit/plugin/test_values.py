"""Functions of components by the C interface: types that the interface does not have are told."""

from __future__ import annotations

import pytest
from wasmtime import Store, wat2wasm
from wasmtime.component import Component, Linker

from dataflare.errors import WorkflowError
from dataflare.plugin.values import Function

TAKES = """(component
  (core module $m (func (export "f") (param i32)))
  (core instance $i (instantiate $m))
  (func (export "f") (param "x" u8) (canon lift (core func $i "f"))))"""
RETURNS = """(component
  (core module $m (func (export "f") (result i32) i32.const 1))
  (core instance $i (instantiate $m))
  (func (export "f") (result u8) (canon lift (core func $i "f"))))"""


@pytest.mark.parametrize(("text", "what"), [(TAKES, "takes a U8"), (RETURNS, "returns a U8")])
def test_a_type_that_the_interface_does_not_have_is_told(engine, text, what):
    component = engine.compiled(bytes(wat2wasm(text)))
    assert isinstance(component, Component)
    store = Store(engine.engine)
    instance = Linker(engine.engine).instantiate(store, component)
    with pytest.raises(WorkflowError, match=what):
        Function.of(instance, store, "f")
    with pytest.raises(WorkflowError, match="exports no function g"):
        Function.of(instance, store, "g")
