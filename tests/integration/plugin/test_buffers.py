"""Plugins in C and Rust that take rows as buffers of Arrow; and one of interface 1.0, as it was built then."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.integration.plugin.golden.languages import FOLDER, RUST
from tests.integration.plugin.pages import DOCS
from tests.integration.plugin.test_c import compiled

from dataflare.batch import Batch
from dataflare.component import StageContext
from dataflare.errors import DataError, ExternalError, WorkflowError
from dataflare.executor.runtime import LocalRuntime
from dataflare.monitoring.events import Event, Noticed
from dataflare.plugin.program import Program
from dataflare.processors.wasm import WasmConfig, WasmProcessor
from dataflare.schema import Schema

FROZEN = Path(__file__).parent / "frozen" / "interface-1.0.wasm"
SCHEMA = Schema.of({"id": "int64", "name": "string", "amount": "int64"})
Make = Callable[..., WasmProcessor]
Build = Callable[..., Path]
needs_clang = pytest.mark.skipif(shutil.which("clang-19") is None, reason="needs clang-19 and wasi-libc")

PRICES = """
#define DF_BUFFERS
#include "dataflare.h"
static const char *const input[] = {"amount", "name"}, *const kinds[] = {"float64", NULL};
static const df_column added[] = {{"total", "float64"}, {"length", "int32"}}, names[] = {{"name", "string"}};
static const df_output outputs[] = {{.name = "", .columns = added, .count = 2, .adds = true},
                                    {.name = "long", .columns = names, .count = 1}};
const df_info df_plugin = {.name = "prices", .version = "1.0.0", .input = input, .input_count = 2, .input_kinds = kinds,
                           .outputs = outputs, .output_count = 2};
df_verdict df_bind(const df_column *columns, uint32_t count, df_out *why) {
  if (count == 2 && !strcmp(columns[1].kind, "string")) return DF_KEEP;
  return df_put(why, df_lit("name is no string")), DF_BAD;
}
df_verdict df_process_columns(uint32_t rows, const df_array *columns, uint32_t count, df_rows *out) {
  const double *amounts = columns[0].values;
  double *totals = df_scratch(out, rows * 8);
  int32_t *lengths = df_scratch(out, rows * 4), *offsets = df_scratch(out, (rows + 1) * 4), at = 0;
  uint32_t *sources = df_scratch(out, rows * 4), *of = df_scratch(out, rows * 4), kept = 0, longs = 0;
  char *letters = df_scratch(out, columns[1].values_size);
  df_array *made = df_scratch(out, 2 * sizeof *made), *texts = df_scratch(out, sizeof *texts);
  (void)count;
  for (uint32_t row = 0; row < rows; row++) {
    if (df_is_null(&columns[0], row) || df_is_null(&columns[1], row)) {
      df_refuse(out, row, df_lit("a null"));
      continue;
    }
    df_text name = df_text_at(&columns[1], row);
    if (amounts[row] == 13) return df_put(df_why(out), df_lit("thirteen")), DF_FATAL;
    if (amounts[row] == 14) return df_put(df_why(out), df_lit("fourteen")), DF_TRANSIENT;
    if (amounts[row] == 15) for (;;) {}
    if (name.size > 3) {
      offsets[longs] = at, of[longs++] = row;
      memcpy(letters + at, name.data, name.size), at += (int32_t)name.size;
    }
    if (amounts[row] < 0) continue;
    totals[kept] = amounts[row] * 2, lengths[kept] = (int32_t)name.size, sources[kept++] = row;
  }
  offsets[longs] = at;
  made[0] = df_values(totals, kept * 8), made[1] = df_values(lengths, kept * 4);
  *texts = (df_array){.offsets = offsets, .offsets_size = longs + 1, .values = letters, .values_size = (uint32_t)at};
  df_give(out, DF_DEFAULT, kept, made, 2, kept == rows ? NULL : sources);
  df_give(out, 1, longs, texts, 1, of);
  return DF_KEEP;
}
"""
SAME = """
#define DF_BUFFERS
#include "dataflare.h"
const df_info df_plugin = {.name = "same", .version = "1.0.0"};
df_verdict df_process_columns(uint32_t rows, const df_array *columns, uint32_t count, df_rows *out) {
  df_give(out, DF_DEFAULT, rows, columns, count, NULL);
  return DF_KEEP;
}
"""


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def make(tmp_path: Path, events: list[Event]) -> Iterator[Make]:
    runtime = LocalRuntime(events.append)
    made: list[WasmProcessor] = []

    def build(module: Path, schema: Schema = SCHEMA, on_error: str = "dead_letter", **config: Any) -> WasmProcessor:
        node = WasmProcessor(WasmConfig(module=str(module), **config))
        node.context = StageContext(
            runtime, "w", "n", directory=tmp_path, schemas={"0": schema}, on_error=on_error, epoch_time=lambda: 7
        )
        made.append(node)
        node.open()
        return node

    yield build
    for node in made:
        node.close()
    runtime.close()


@pytest.fixture(params=["c", "rust"])
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Build:
    """Return what compiles one of these plugins, which may want its amounts in a type of C, in a language."""

    def made(name: str, kind: str = "float64", number: str = "double") -> Path:
        if request.param == "rust":
            short = {"double": "f64", "int8_t": "i8"}[number]
            source = (FOLDER / f"{name}.rs").read_text().replace('"float64"]', f'"{kind}"]', 1)
            return RUST.built(
                tmp_path / f"{name}-{len([*tmp_path.iterdir()])}",
                source.replace("numbers::<f64>", f"numbers::<{short}>"),
            )
        source = {"prices": PRICES, "same": SAME}[name].replace('"float64", NULL', f'"{kind}", NULL')
        return compiled(source.replace("double *am", f"{number} *am"), tmp_path, name)

    return made


def batch(*rows: tuple[Any, ...]) -> Batch:
    return Batch.of([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], schema=SCHEMA.to_arrow())


def found(node: WasmProcessor, given: Batch) -> dict[str, list[dict[str, Any]]]:
    return {out.stream: out.rows.to_pylist() for out in node.process(given)}


@needs_clang
def test_columns_go_and_come_as_buffers(built: Build, make: Make) -> None:
    node = make(built("prices"))
    assert node.outputs([SCHEMA])[""].names == [*SCHEMA.names, "total", "length"]
    rows = batch((1, "one", 10), (2, "three", -1), (3, None, 4), (4, "seven", 5), (5, "ü", None))
    out = found(node, rows)
    assert out[""] == [
        {"id": 1, "name": "one", "amount": 10, "total": 20.0, "length": 3},
        {"id": 4, "name": "seven", "amount": 5, "total": 10.0, "length": 5},
    ]
    assert out["long"] == [{"name": "three"}, {"name": "seven"}]
    assert [row["error"] for row in out["errors"]] == ["a null", "a null"]
    assert found(node, batch((6, "x", 1))) == {
        "": [{"id": 6, "name": "x", "amount": 1, "total": 2.0, "length": 1}],
    }
    assert found(node, batch()) == {"": []}


@pytest.mark.parametrize("language", ["c", "rust"])
@needs_clang
def test_the_example_of_the_page(language: str, tmp_path: Path, make: Make) -> None:
    page = (DOCS / f"plugins-in-{language}.md").read_text()
    source = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)[1]
    schema = Schema.of({"amount": "decimal(10,2)", "quantity": "int32"})
    node = make(compiled(source, tmp_path) if language == "c" else RUST.built(tmp_path / "x", source), schema)
    rows = pa.table({"amount": [Decimal("1.50"), None], "quantity": [4, 2]}).cast(schema.to_arrow())
    out = found(node, Batch(rows))
    assert out[""] == [{"amount": Decimal("1.50"), "quantity": 4, "total": 6.0}]
    assert [row["error"] for row in out["errors"]] == ["a value is missing"]


@needs_clang
def test_the_row_to_blame_is_found_and_what_the_plugin_says_ends_the_run(built: Build, make: Make) -> None:
    node = make(built("prices"), timeout=0.1)
    out = found(node, batch((1, "a", 1), (2, "b", 15), (3, "c", 3)))
    assert [row["id"] for row in out[""]] == [1, 3]
    assert "longer than it may" in out["errors"][0]["error"]
    with pytest.raises(DataError, match="thirteen"):
        found(node, batch((1, "a", 13)))
    with pytest.raises(ExternalError, match="fourteen"):
        found(node, batch((1, "a", 14)))


@needs_clang
def test_a_value_that_does_not_fit_the_wanted_type_is_its_row_alone(built: Build, make: Make) -> None:
    node = make(built("prices", "int8", "int8_t"))
    out = found(node, batch((1, "a", 1), (2, "b", 1000), (3, "c", 3)))
    assert [row["total"] for row in out[""]] == [2.0, 6.0]
    assert "does not fit int8" in out["errors"][0]["error"]


@needs_clang
def test_a_plugin_may_refuse_the_columns(built: Build, make: Make) -> None:
    with pytest.raises(WorkflowError, match="name is no string"):
        make(built("prices"), Schema.of({"id": "int64", "name": "int64", "amount": "int64"}))
    with pytest.raises(WorkflowError, match=r"column 'name' of type list<string> has none"):
        make(built("prices"), Schema.of({"id": "int64", "name": "list<string>", "amount": "int64"}))


@needs_clang
def test_rows_that_are_given_back_are_the_same_and_memory_stays(
    built: Build, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = make(built("same"), memory=16 << 20)
    rows = pa.table(
        {
            "id": pa.array(range(150_000), pa.int64()),
            "name": pa.array([f"name {n}" if n % 7 else None for n in range(150_000)]),
            "amount": pa.array([n if n % 3 else None for n in range(150_000)], pa.int64()),
        }
    )
    instances = []
    opened = Program.opened
    monkeypatch.setattr(Program, "opened", lambda *given: instances.append(opened(*given)) or instances[-1])
    for _ in range(20):
        (out,) = node.process(Batch(rows.cast(SCHEMA.to_arrow())))
        assert out.rows.equals(rows.cast(SCHEMA.to_arrow()))
    assert not instances, "it was replaced, as it had no more memory"
    makes = make(built("prices"), memory=4 << 20)
    good = batch(*((n, "some name", 1) for n in range(20_000)))
    instances.clear()
    assert all(len(found(makes, good)["long"]) == 20_000 for _ in range(20))
    assert not instances


def test_a_plugin_of_the_version_before_runs_as_it_did(make: Make, events: list[Event]) -> None:
    """Interface 1.0.0: it stays as it was built, `frozen/interface-1.0.c` is what it was built from."""
    node = make(FROZEN, settings={"rate": 1.5})
    assert node.outputs([SCHEMA])[""].names == [*SCHEMA.names, "total"]
    out = found(node, batch((1, "a", 10), (2, "b", None), (1, "ü", 4)))
    total = [{"id": 1, "name": "a", "amount": 10, "total": 15.0}, {"id": 1, "name": "ü", "amount": 4, "total": 6.0}]
    assert out[""] == total[:1]
    assert out["late"] == [{k: v for k, v in total[1].items() if k != "total"}]
    assert [row["error"] for row in out["errors"]] == ["no amount"]
    assert [event.message for event in events if isinstance(event, Noticed)] == ["twice"]
    state = node.snapshot()
    again = make(FROZEN)
    again.restore(state)
    assert again.snapshot() == state
