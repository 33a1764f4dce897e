"""Plugins in C: the page's example is compiled as it says, and runs in a workflow."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dataflare.plugin
from dataflare.plugin.engine import shared_engine
from dataflare.plugin.guarded import GuardedInstance
from dataflare.plugin.host import QuietHost
from dataflare.plugin.limits import Limits
from dataflare.plugin.program import Program, Settings

PAGE = Path(__file__).parents[3] / "docs" / "plugins-in-c.md"
SDK = Path(dataflare.plugin.__path__[0]) / "sdk"
COMPILE = ["clang-19", "--target=wasm32-wasi", "-O3", "-Wall", "-Wextra", "-Werror", "-mexec-model=reactor"]
pytestmark = pytest.mark.skipif(shutil.which("clang-19") is None, reason="needs clang-19 and wasi-libc")

ALL = """
#include "dataflare.h"
static const df_column ids[] = {{"id", "int64"}};
static const df_output outputs[] = {{.name = "big"}, {.name = "ids", .columns = ids, .count = 1}};
static const char *const input[] = {"id", "kind"};
const df_info df_plugin = {.name = "all", .version = "2.1", .settings_schema = "{\\"type\\":\\"object\\"}",
  .input = input, .input_count = 2, .outputs = outputs, .output_count = 2, .stateful = true};
static uint32_t seen;
df_verdict df_process(df_text record, df_out *out) {
  df_text kind, id, state;
  seen++;
  if (!df_find(record, "kind", &kind) || !df_find(record, "id", &id)) return DF_DROP;
  char which = kind.data[1];
  if (which == 'l') for (;;) {}
  if (which == 'b' || which == 't' || which == 'f') {
    df_put(out, df_lit("it is ")), df_put(out, kind);
    return which == 'b' ? DF_BAD : which == 't' ? DF_TRANSIENT : DF_FATAL;
  }
  if (which == 's') {
    bool there = df_get_state(id, &state);
    df_set_state(id, &kind);
    df_put(out, there ? state : df_lit("null"));
    if (there) free((void *)state.data);
    df_log(DF_WARN, kind), df_metric("states", 1);
    return DF_KEEP;
  }
  df_put(out, record);
  if (which == 'm') {
    df_emit(out, 0), df_put(out, id), df_emit(out, 1), df_put(out, df_lit("{}"));
  }
  return DF_KEEP;
}
void df_export_state(df_out *into) { df_put_number(into, seen); }
df_verdict df_import_state(df_text state, df_out *why) {
  double number;
  if (!df_number(state, &number)) return df_put(why, df_lit("no number")), DF_BAD;
  return seen = (uint32_t)number, DF_KEEP;
}
"""


def compiled(source: str, folder: Path, name: str = "plugin") -> Path:
    """Compile a plugin."""
    (folder / f"{name}.c").write_text(source)
    made = folder / f"{name}.wasm"
    subprocess.run([*COMPILE, "-I", str(SDK), str(folder / f"{name}.c"), "-o", str(made)], check=True)
    return made


def test_the_example_of_the_page_runs(tmp_path: Path) -> None:
    text = PAGE.read_text()
    source, command, workflow = (
        re.search(rf"```{kind}\n(.*?)```", text, re.DOTALL)[1]
        for kind in ("c", "sh", "yaml")  # type: ignore[index]
    )
    (tmp_path / "price.c").write_text(source)
    (tmp_path / "prices.yaml").write_text(workflow)
    with (tmp_path / "orders.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "amount"), (1, 2), (2, -1), (3, None), (4, 10)])
    environ = {**os.environ, "SDK": str(SDK)}
    subprocess.run(command, shell=True, cwd=tmp_path, env=environ, check=True)
    subprocess.run([sys.executable, "-m", "dataflare.cli", "run", "prices.yaml", "--json"], cwd=tmp_path, check=True)

    (written,) = (tmp_path / "out").glob("*.jsonl")
    rows = [json.loads(line) for line in written.read_text().splitlines()]
    assert rows == [{"id": 1, "amount": 2.0, "total": 3.0}, {"id": 4, "amount": 10.0, "total": 15.0}]


def test_all_that_the_header_offers(tmp_path: Path) -> None:
    program = Program.load(compiled(ALL, tmp_path), shared_engine(), "plugin.wasm")
    host, limits = QuietHost(), Limits(seconds_max=0.5)
    told = program.described(Settings(), host, limits)
    assert (told.name, told.version, told.settings_schema) == ("all", "2.1", {"type": "object"})
    assert (told.stateful, told.input, [*told.outputs]) == (True, ("id", "kind"), ["big", "ids"])
    assert told.outputs["big"].columns is None
    assert told.outputs["ids"].columns == (("id", "int64"),)

    instance = GuardedInstance(program, Settings(), host, limits).open(stateful=True)
    kinds = ["keep", "drop me", "many", "bad", "loop", "keep"]
    lines = [json.dumps({"id": n, "kind": k}) for n, k in enumerate(kinds)]
    lines[1] = "{}"
    with pytest.raises(Exception, match="longer than it may"):
        instance.call("process-batch", ("json-lines", len(lines), "\n".join(lines)))
    assert instance.call("export-state") == "0"  # the stopped call has no effect
    del lines[4]
    parts, errors = instance.call("process-batch", ("json-lines", len(lines), "\n".join(lines)))
    found = {name: (rows, data.split("\n"), list(sources)) for name, rows, data, sources in parts}
    assert found == {
        "": (3, [lines[0], "{}", lines[4]], [0, 2, 4]),
        "big": (1, [lines[2]], [2]),
        "ids": (1, ["2"], [2]),
    }
    assert errors == [(3, 'it is "bad"')]
    assert instance.call("process", lines[2]) == ("route", [("big", lines[2]), ("ids", "2"), ("", "{}")])
    assert instance.call("process", "{}") == ("drop", None)
    for kind in ("transient", "fatal"):
        with pytest.raises(Exception, match=f'it is "{kind}"'):
            instance.call("process-batch", ("json-lines", 2, f'{lines[0]}\n{{"id":1,"kind":"{kind}"}}'))
    assert instance.call("process", '{"id":7,"kind":"s1"}') == ("keep", "null")
    assert instance.call("process", '{"id":7,"kind":"s2"}') == ("keep", '"s1"')
    assert (host.state, host.metrics, host.said[-1]) == ({"7": '"s2"'}, {"states": 2.0}, ("warn", '"s2"'))
    assert int(instance.call("export-state")) > 0
    instance.call("import-state", "41")
    instance.call("process", "{}")
    assert instance.call("export-state") == "42"
    with pytest.raises(Exception, match="no number"):
        instance.call("import-state", '"x"')
    instance.close()


def test_a_plugin_that_runs_long_takes_no_more_memory(tmp_path: Path) -> None:
    program = Program.load(compiled(ALL, tmp_path), shared_engine(), "plugin.wasm")
    instance = GuardedInstance(program, Settings(), QuietHost(), Limits(memory_bytes_max=2 << 20)).open(stateful=True)
    batch = "\n".join(f'{{"id":{n},"kind":"many"}}' for n in range(1000))
    for _ in range(300):
        parts, _ = instance.call("process-batch", ("json-lines", 1000, batch))
        assert [rows for _, rows, _, _ in parts] == [1000] * 3
    instance.close()
