"""A plugin that keeps ever more: its memory is full now and then, and no row is the worse for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dataflare.batch import Batch
from dataflare.processors.wasm import WasmConfig, WasmProcessor
from dataflare.schema import Schema
from dataflare.testing.stage import staged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA = Schema.of({"id": "int64"})
LEAKING = """const kept = [];
let seen = 0;
export const process = (r) => {
  if (r.id < 0) for (;;) kept.push("x".repeat(100_000) + kept.length);
  kept.push("x".repeat(100_000) + r.id);
  dataflare.setState([1], (dataflare.getState([1]) ?? 0) + 1);
  dataflare.metric("rows");
  return { id: ++seen };
};
export const exportState = () => seen;
export const importState = (state) => { seen = state; };"""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[WasmProcessor]:
    (tmp_path / "r.js").write_text(LEAKING)
    made: Any = WasmProcessor(WasmConfig(module="r.js", memory="32MB"))
    made = staged(made, tmp_path, schemas={"0": SCHEMA}, on_error="dead_letter")
    made.open()
    yield made
    made.close()


def through(node: WasmProcessor, *ids: int) -> tuple[list[int], list[str]]:
    out, why = [], []
    for batch in node.process(Batch.of([{"id": n} for n in ids], schema=SCHEMA.to_arrow())):
        if batch.stream:
            why += batch.rows["error"].to_pylist()
        else:
            out += batch.rows["id"].to_pylist()
    return out, why


def test_a_plugin_that_leaks_goes_on_with_its_state(node: WasmProcessor) -> None:
    found = [through(node, *range(200)) for _ in range(6)]
    assert [n for out, _ in found for n in out] == list(range(1, 1201))
    assert [why for _, why in found] == [[]] * 6
    assert node._host.get_state("[1]") == "1200", "what a call that was repeated has set counts once"
    assert node.noted() == {"rows": 1200 * 1_000_000}


def test_a_row_that_needs_too_much_is_put_aside_alone(node: WasmProcessor) -> None:
    out, why = through(node, *range(20), -1, *range(20, 40))
    assert out == list(range(1, 41))
    assert why == ["stopped: its memory is full"]
