"""A loaded plugin takes JSON lines and gives JSON lines, without a table and without pyarrow."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dataflare.batch import Encoded
from dataflare.errors import DataError
from dataflare.processors.wasm import WasmProcessor

CODE = """
export const outputs = { big: null };
export const process = (row) => {
  if (row.amount < 0) throw new Error("below zero");
  if (row.amount === 0) return null;
  return row.amount > 100 ? [row, dataflare.to("big", { amount: row.amount })] : { ...row, amount: row.amount * 2 };
};
"""
ADDS = """
export const input = ['amount'], adds = { total: 'float64' };
export const process = (row) => ({ total: row.amount * 2 });
"""


def encoded(*lines):
    return Encoded("\n".join(lines).encode(), "jsonl")


@pytest.fixture
def loaded(tmp_path):
    made = []

    def load(code=CODE):
        (tmp_path / "p.js").write_text(code)
        made.append(WasmProcessor.load(tmp_path / "p.js"))
        return made[-1]

    yield load
    for one in made:
        one.close()


def test_lines_become_lines(loaded):
    found = loaded().process_lines(encoded('{"id":1,"amount":2}', '{"id":2,"amount":0}', "", '{"id":3,"amount":200}'))
    assert (bytes(found.rows.data), found.rows.count) == (b'{"id":1,"amount":4}\n{"id":3,"amount":200}\n', 2)
    assert found.outputs["big"] == Encoded(b'{"amount":200}\n', "jsonl", 1)
    assert found.rejected == {}
    assert loaded(ADDS).process_lines(encoded('{"id":1,"amount":2}')).rows.data == b'{"id":1,"amount":2,"total":4}\n'


def test_lines_that_are_none_and_rows_that_fail_are_told_by_their_number(loaded):
    lines = encoded("nothing", '{"id":1,"amount":-2}', "[]", '{"id":1,"amount":2}', '{"id":"\xff')
    found = loaded().process_lines(Encoded(lines.data.replace("\xff".encode(), b"\xff"), "jsonl"), on_error="skip")
    assert found.rows.count == 1
    assert {n: why.split(":")[0] for n, why in found.rejected.items()} == {
        0: "the line is no record",
        1: "below zero (4)",
        2: "the line is no record",
        4: "the line is no record",
    }
    with pytest.raises(DataError, match=r"below zero \(line 2\)"):
        loaded().process_lines(encoded("", '{"amount":-2}'))
    with pytest.raises(DataError, match=r"no record.*\(line 1\)"):
        loaded().process_lines(encoded("nothing"))
    with pytest.raises(DataError, match="rows are csv"):
        loaded().process_lines(Encoded(b"a,b", "csv"))


def test_it_needs_no_pyarrow(tmp_path):
    (tmp_path / "p.js").write_text(CODE)
    code = f"""
import sys
sys.modules["pyarrow"] = None
from pathlib import Path
from dataflare.batch import Encoded
from dataflare.plugin.limits import Limits
from dataflare.plugin.loaded import LoadedPlugin, Use, require_wasmtime
from dataflare.plugin.program import Settings
plugin = LoadedPlugin(require_wasmtime()(Path({str(tmp_path / "p.js")!r})), Settings(), Limits(), Use())
print(bytes(plugin.process_lines(Encoded(b'{{"amount":3}}', "jsonl")).rows.data).decode(), end="")
plugin.close()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ('{"amount":6}\n', "")
