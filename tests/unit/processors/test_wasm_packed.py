"""Numbers of columns cross as their bytes: a script sees the same values, and the rows are the same as by digits."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflare.errors import DataError
from dataflare.plugin.engine import shared_engine
from dataflare.plugin.host import QuietHost
from dataflare.plugin.limits import Limits
from dataflare.plugin.program import Program, Settings
from dataflare.processors.wasm_packed import packed, unpacked
from dataflare.processors.wasm_texts import COLUMNS, Texts
from dataflare.schema import Schema

if TYPE_CHECKING:
    from pathlib import Path

Through = Callable[..., list[Any]]
SAFE = st.integers(-(2**53), 2**53)


@pytest.fixture
def through(tmp_path: Path) -> Through:
    """Return what gets values of a column through a script; `packs`: as their bytes, where they can be."""

    def run(code: str, values: list[Any], kind: str = "float64", out: str = "", *, packs: bool = True) -> list[Any]:
        given, returned = Schema.of({"v": kind}), Schema.of({"v": out or kind})
        texts = Texts(given, 64 << 20, scripts=True, packs=packs, rounds=True)
        (tmp_path / "p.js").write_text(f"export const input = ['v'];\n{code}")
        engine = shared_engine()
        with engine.ticking():
            program = Program.load(tmp_path / "p.js", engine, "p.js")
            instance = program.opened(Settings(packed=packs), QuietHost(), Limits())
            written = texts.written(pa.table({"v": values}).cast(given.to_arrow()), COLUMNS)
            assert ("f64" in written) == (
                packs and packed(pa.chunked_array([pa.array(values, given.to_arrow().field(0).type)])) is not None
            )
            ((_, rows, data, _),), errors = instance.call("process-batch", (COLUMNS, len(values), written))
            assert not errors
        table, unfit = texts.read(data, COLUMNS, returned)
        assert table.num_rows + len(unfit) == rows
        texts.close()
        return [*table.column(0).to_pylist(), *unfit.values()]

    return run


SAME = "export const process = ({ v }) => ({ v });"
SEEN = "export const output = { v: 'string' }; export const process = ({ v }) => ({ v: `${v} ${typeof v}` });"
ALL = "export const output = { v: 'string' }; export const processColumns = ({ v }) => ({ v: v.map(String) });"


@pytest.mark.parametrize("code", [SAME, "export const processColumns = (columns) => columns;"])
@pytest.mark.parametrize(("kind", "values"), [
    ("int64", [2**53, -(2**53), 0, None, 7, 8, 9, 10, 11]),
    ("int64", [1, None]),
    ("int8", [1, -128]),
    ("float64", [0.1, -0.0, 5e-324, 1.7976931348623157e308]),
    ("float64", [None] * 3),
    ("float32", [0.5, 0.10000000149011612]),
    ("float64", []),
    ("bool", [True, None]),
])  # fmt: skip
def test_values_are_the_same(through: Through, code: str, kind: str, values: list[Any]) -> None:
    assert through(code, values, kind) == values


@pytest.mark.parametrize(
    "values", [[1.5, 2.0, 1e300], [1, 2, 3, None, 5, 6, 7, 8, 9], [0.1, None], [float("nan"), 1.0]]
)
def test_a_script_sees_what_it_sees_of_digits(through: Through, values: list[Any]) -> None:
    kind = "int64" if values[0] == 1 else "float64"
    assert through(SEEN, values, kind, "string") == through(SEEN, values, kind, "string", packs=False)
    assert through(ALL, values, kind, "string") == through(ALL, values, kind, "string", packs=False)


@pytest.mark.parametrize(("result", "out", "found"), [
    ("v / 2", "float64", [0.5, 1.0]),
    ("v * 3", "int64", [3, 6]),
    ("v / 2", "int64", None),
    ("v === 1 ? NaN : v", "float64", [None, 2.0]),
    ("v === 1 ? 1 / 0 : v", "float64", [None, 2.0]),
    ("v === 1 ? null : v", "int64", [None, 2]),
    ("v * 0.5", "decimal(5,1)", None),
    ("v", "string", None),
    ("v * 300", "int8", None),
])  # fmt: skip
def test_results_are_what_they_are_by_digits(through: Through, result: str, out: str, found: list[Any] | None) -> None:
    code = f"export const process = ({{ v }}) => ({{ v: {result} }});"
    by_digits = through(code, [1, 2], "int64", out, packs=False)
    assert through(code, [1, 2], "int64", out) == by_digits
    if found is not None:
        assert [str(one)[:9] for one in by_digits] == [str(one)[:9] for one in found]


@pytest.mark.parametrize("packs", [True, False])
def test_a_fraction_for_a_whole_number_is_the_fault_of_its_row(through: Through, *, packs: bool) -> None:
    code = "export const process = ({ v }) => ({ v: v / 2 });"
    found = through(code, [2, 3, 4], "int64", packs=packs)
    assert found == [1, 2, "TypeError: column 'v' is int64; a value of type float is not"]


def test_an_array_of_numbers_may_be_returned(through: Through) -> None:
    code = "export const processColumns = ({ v }) => ({ v: new Float64Array(v).map((one) => one * 2) });"
    assert through(code, [1.5, 2.5]) == [3.0, 5.0]


@given(st.lists(st.none() | SAFE, min_size=1, max_size=30), st.data())
def test_what_is_packed_is_told_by_bytes_and_nulls(values: list[int | None], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(values)))
    kind = data.draw(st.sampled_from([pa.int64(), pa.float64()]))
    column = pa.chunked_array([pa.array(part, kind) for part in (values[:cut], values[cut:])])
    start = data.draw(st.integers(0, len(values) - 1))
    column, values = column.slice(start), values[start:]
    text = packed(column)
    if values.count(None) * 8 > len(values):
        assert text is None
        return
    assert text is not None
    told = json.loads(text)
    numbers = unpacked(told, "v")
    assert numbers.to_pylist() == [v or 0 for v in values]
    assert told.get("nulls", []) == [n for n, v in enumerate(values) if v is None]


@pytest.mark.parametrize("value", ["5", '"x"', "{}", '{"f64":7}', '{"f64":"*"}', '{"f64":"AAAA"}'])
def test_what_is_no_column_is_told(value: str) -> None:
    texts = Texts(Schema.of({"v": "int64"}), 1 << 20, scripts=True)
    with pytest.raises(DataError, match="column 'v' is no list"):
        texts.read(f'{{"v":{value}}}', COLUMNS, Schema.of({"v": "int64"}))
    texts.close()
