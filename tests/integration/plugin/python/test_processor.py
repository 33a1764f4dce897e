"""The wasm processor with plugins in Python: values, rows that are bad, state."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from dataflare.batch import Batch
from dataflare.component import StageContext
from dataflare.errors import DataError, ExternalError
from dataflare.executor.runtime import LocalRuntime
from dataflare.processors.wasm import WasmConfig, WasmProcessor
from dataflare.schema import Schema

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = Schema.of({"id": "int64", "name": "string", "amount": "float64"})
Make = Callable[..., WasmProcessor]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Return a maker of open processors, which are closed at the end."""
    runtime = LocalRuntime(lambda _: None)
    made: list[WasmProcessor] = []

    def build(code: str, schema: Schema = SCHEMA, on_error: str = "dead_letter", **config: Any) -> WasmProcessor:
        (tmp_path / "rules.py").write_text(code)
        node = WasmProcessor(WasmConfig(module="rules.py", **config))
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


def rows_of(*amounts: float | None) -> Batch:
    rows = [{"id": n, "name": f"n{n}", "amount": a} for n, a in enumerate(amounts)]
    return Batch.of(rows, schema=SCHEMA.to_arrow(), position={"at": 7})


def by_stream(node: WasmProcessor, batch: Batch) -> dict[str, list[dict[str, Any]]]:
    planned = node.outputs([node.context.schemas["0"]])
    found = list(node.process(batch))
    assert all(one.stream == "errors" or one.rows.schema.equals(planned[one.stream].to_arrow()) for one in found)
    return {one.stream: one.rows.to_pylist() for one in found}


VALUES = {
    "id": "int64",
    "big": "uint64",
    "price": "decimal(30,10)",
    "at": "timestamp",
    "on": "date",
    "tags": "list<string>",
    "flag": "bool",
    "raw": "binary",
}
KINDS = """import decimal
def process(r):
    assert r["id"] is None or type(r["price"]) is decimal.Decimal
    kinds = [type(value).__name__ for value in r.values()]
    return {**r, "id": r["id"] and r["id"] + 1, "price": r["price"] and r["price"] + 1, "tags": kinds}
"""


def test_values_of_all_types_come_back_as_they_went_and_whole_numbers_are_exact(make: Make) -> None:
    schema = Schema.of(VALUES)
    row = {
        "id": 2**63 - 2, "big": 2**64 - 1, "price": Decimal("12345678901234567890.0123456789"),
        "at": 1_700_000_000_123_456, "on": 20000, "tags": ["blue"], "flag": True, "raw": b"\x00\xff",
    }  # fmt: skip
    rows = pa.Table.from_pylist([row, dict.fromkeys(row)], schema=schema.to_arrow())
    kinds = ["int", "int", "Decimal", "str", "str", "list", "bool", "str"]
    expected = rows.to_pylist()
    expected[0] |= {"id": 2**63 - 1, "price": row["price"] + 1, "tags": kinds}
    expected[1] |= {"tags": ["NoneType"] * 8}
    assert by_stream(make(KINDS, schema), Batch(rows)) == {"": expected}


@pytest.mark.parametrize("head", ["", "input = ['id', 'name', 'amount']\n"])
def test_whole_numbers_beyond_the_type_are_bad_rows(make: Make, head: str) -> None:
    node = make(head + "def process(r): return {**r, 'id': 10 ** r['id']}")
    rows = [{"id": n, "name": "", "amount": 0.0} for n in (1, 40, 18, 19)]
    found = by_stream(node, Batch.of(rows, schema=SCHEMA.to_arrow()))
    assert [r["id"] for r in found[""]] == [10, 10**18]
    assert len(found["errors"]) == 2
    assert all("id" in r["error"] for r in found["errors"])


BAD = """def process(r):
    match r["amount"]:
        case 1: raise ValueError(f"no {r['name']}")
        case 2: return {**r, "amount": "two"}
        case 3: return [r, {**r, "other": 1}]
        case 4:
            while True: pass
        case 5: exit()
    return r
"""


@pytest.mark.parametrize("head", ["", "input = ['id', 'name', 'amount']\n"])
def test_bad_rows_are_put_aside_whole_and_told_with_why(make: Make, head: str) -> None:
    found = by_stream(make(head + BAD, timeout="400ms"), rows_of(0, 1, 2, 3, 4, 5, 6))
    assert [r["id"] for r in found[""]] == [0, 6]
    assert [json.loads(r["row"])["id"] for r in found["errors"]] == [1, 2, 3, 4, 5]
    first, second, third, fourth, fifth = (r["error"] for r in found["errors"])
    assert first.startswith("ValueError: no <name> (")
    assert second == "TypeError: column 'amount' is double; a value of type str is not"
    assert "other" in third
    assert fourth == "stopped: it took longer than it may"
    assert fifth.startswith(("NameError", "SystemExit"))


def test_errors_of_the_plugin_decide_what_is_next(make: Make) -> None:
    node = make("import dataflare\ndef process(r): raise getattr(dataflare, r['name'])(r['amount'])")
    for kind, error in (("Transient", ExternalError), ("Fatal", DataError)):
        rows = Batch.of([{"id": 1, "name": kind, "amount": 1.0}], schema=SCHEMA.to_arrow())
        with pytest.raises(error, match=r"rules\.py"):
            list(node.process(rows))


def test_columns_are_added_and_the_others_pass_by(make: Make) -> None:
    node = make(
        """input = ["amount"]
adds = {"total": "decimal(12,2)", "label": "string"}
import decimal
rate = None
def open(settings):
    global rate
    rate = decimal.Decimal(settings["rate"])
def process(r):
    return None if r["amount"] < 0 else {"total": round(rate * int(r["amount"]), 2), "label": 'a "b"\\n'}""",
        settings={"rate": "1.10"},
    )
    (out,) = node.process(rows_of(1, -1, 3))
    assert out.rows.to_pydict() == {
        "id": [0, 2], "name": ["n0", "n2"], "amount": [1.0, 3.0],
        "total": [Decimal("1.10"), Decimal("3.30")], "label": ['a "b"\n'] * 2,
    }  # fmt: skip


def test_process_columns_takes_columns_of_any_type(make: Make) -> None:
    schema = Schema.of({"id": "int64", "price": "decimal(12,2)"})
    rows = pa.Table.from_pylist([{"id": n, "price": Decimal(n)} for n in range(3)], schema=schema.to_arrow())
    node = make("def process_columns(c, rows): return {**c, 'price': [p * rows for p in c['price']]}", schema)
    assert [r["price"] for r in by_stream(node, Batch(rows))[""]] == [0, 3, 6]


STATEFUL = """import dataflare
seen = 0
def process(r):
    global seen
    seen += 1
    count = (dataflare.get_state([r["name"]]) or 0) + 1
    dataflare.set_state([r["name"]], count)
    return {**r, "id": seen, "amount": count}
def export_state(): return seen
def import_state(state):
    global seen
    seen = state
"""


def test_state_is_in_the_checkpoint_and_comes_back(make: Make) -> None:
    first = make(STATEFUL)
    assert first.snapshot() == {}
    list(first.process(rows_of(0, 0)))
    second = make(STATEFUL)
    second.restore(first.snapshot())
    assert by_stream(second, rows_of(0)) == {"": [{"id": 3, "name": "n0", "amount": 2.0}]}
    assert [port.together for port in second.ports(1)] == [True]


@pytest.mark.parametrize("head", ["", "input = ['amount']\n"])
def test_numbers_that_json_does_not_have_come_as_texts(make: Make, head: str) -> None:
    node = make(head + "def process(r): return {'seen': repr(r['amount'])}", output={"seen": "string"})
    found = by_stream(node, rows_of(math.nan, -math.inf, 1.5))
    assert found == {"": [{"seen": "'NaN'"}, {"seen": "'-Infinity'"}, {"seen": "1.5"}]}
    node = make(head + "def process(r): return {**r, 'amount': float(r['amount']) * 10}")
    found = by_stream(node, rows_of(math.nan, -math.inf, 1e308, 1.5))
    assert repr([r["amount"] for r in found[""]]) == "[nan, -inf, inf, 15.0]"


GRANTED = """import os, time
from pathlib import Path
adds = {"rate": "string", "region": "string", "moves": "bool", "why": "string"}
def process(r):
    before = time.time_ns()
    for _ in range(100000): pass
    try:
        why = Path("/rates/b").write_text("x")
    except OSError as error:
        why = type(error).__name__
    rate = Path("/rates/a").read_text()
    return {"rate": rate, "region": os.environ.get("REGION"), "moves": time.time_ns() > before, "why": str(why)}
"""


def test_what_is_granted_is_there(make: Make, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a").write_text("1.5")
    files = [{"path": "data", "at": "/rates", "write": False}]
    grants = {"files": files, "env": {"REGION": "eu"}, "clock": True}
    (row,) = by_stream(make(GRANTED, grants=grants), rows_of(1))[""]
    assert {n: row[n] for n in ("rate", "region", "moves")} == {"rate": "1.5", "region": "eu", "moves": True}
    assert row["why"].endswith("Error")
    (error,) = by_stream(make(GRANTED), rows_of(1))["errors"]
    assert error["error"].startswith("FileNotFoundError")


def test_a_plugin_is_called_from_python(tmp_path: Path) -> None:
    path = tmp_path / "rules.py"
    path.write_text("def process(r): return {**r, 'n': r['n'] + 1, 'kind': type(r['price']).__name__}")
    with WasmProcessor.load(path) as plugin:
        made = plugin.process({"n": 2**62, "price": Decimal("1.50")})
        assert made == {"n": 2**62 + 1, "price": "1.50", "kind": "str"}
        with pytest.raises(DataError, match=r"rules\.py:1: KeyError: 'n'"):
            plugin.process({})
