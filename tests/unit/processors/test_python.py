"""The python processor calls a function in another process and puts its rows together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from dataflare.batch import Batch
from dataflare.component import StageContext
from dataflare.errors import DataError, WorkflowError
from dataflare.executor.runtime import LocalRuntime
from dataflare.monitoring.events import Event, Noticed, RowsRejected
from dataflare.processors.python import Python, PythonConfig
from dataflare.schema import Column, Schema

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = Schema.of({"id": "int64", "name": "string"})
Make = Callable[..., Python]


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def make(tmp_path: Path, events: list[Event]) -> Iterator[Make]:
    """Return a maker of open processors, which are closed at the end."""
    runtime = LocalRuntime(events.append)
    made: list[Python] = []

    def build(code: str | None = None, schema: Schema = SCHEMA, on_error: str = "fail", **config: Any) -> Python:
        node = Python(PythonConfig(**({"code": code} if code else {}), **config))
        node.context = StageContext(runtime, "w", "n", directory=tmp_path, schemas={"0": schema}, on_error=on_error)
        made.append(node)
        node.open()
        return node

    yield build
    for node in made:
        node.close()
    runtime.close()


def rows_of(*names: str | None) -> Batch:
    return Batch.of(
        [{"id": n, "name": name} for n, name in enumerate(names)], schema=SCHEMA.to_arrow(), position={"at": 7}
    )


def by_stream(node: Python, batch: Batch) -> dict[str, list[dict[str, Any]]]:
    return {b.stream: b.rows.to_pylist() for b in node.process(batch)}


def test_a_record_function_changes_drops_and_multiplies_rows(make: Make) -> None:
    node = make(
        "def process(r):\n"
        "    if r['name'] == 'drop':\n        return None\n"
        "    if r['name'] == 'twice':\n        return [r, r]\n"
        "    if r['name'] == 'lazily':\n        return ({'id': i, 'name': None} for i in range(3))\n"
        "    r['name'] = r['name'].upper()\n    return r\n"
    )
    (out,) = node.process(rows_of("a", "drop", "twice", "lazily"))

    assert out.rows.to_pydict() == {"id": [0, 2, 2, 0, 1, 2], "name": ["A", "twice", "twice", None, None, None]}
    assert out.position == {"at": 7}
    assert out.rows.schema == SCHEMA.to_arrow()


def test_a_columns_function_takes_and_returns_lists(make: Make) -> None:
    node = make(
        "def process(c):\n    return {'double': [i * 2 for i in c['id']]}\n", mode="columns", output={"double": "int64"}
    )
    assert by_stream(node, rows_of("a", "b")) == {"": [{"double": 0}, {"double": 2}]}


def test_a_batch_function_takes_and_returns_a_table(make: Make) -> None:
    node = make(
        "import pyarrow.compute as pc\ndef process(t):\n    return t.filter(pc.greater(t['id'], 0))\n", mode="batch"
    )
    assert by_stream(node, rows_of("a", "b", "c")) == {"": [{"id": 1, "name": "b"}, {"id": 2, "name": "c"}]}


def test_columns_that_the_function_is_not_given_pass_it_by(make: Make) -> None:
    node = make(
        "def process(r):\n    assert list(r) == ['name']\n"
        "    return None if r['name'] == 'b' else [{'name': r['name'] * 2}] * len(r['name'])\n",
        columns=["name"],
    )
    (out,) = node.process(rows_of("a", "b", "cc"))
    assert out.rows.to_pydict() == {"id": [0, 2, 2], "name": ["aa", "cccc", "cccc"]}


def test_columns_cannot_pass_by_a_columns_function_that_filters(make: Make) -> None:
    node = make("def process(c):\n    return {'name': c['name'][1:]}\n", mode="columns", columns=["name"])
    with pytest.raises(DataError, match="another number of rows"):
        list(node.process(rows_of("a", "b")))


def test_every_type_survives_the_journey(make: Make) -> None:
    schema = Schema.of(
        {
            "i": "int32", "f": "float64", "d": "decimal(12,2)", "s": "string", "y": "binary", "b": "bool",
            "day": "date", "ts": "timestamp", "dt": "datetime", "l": "list<int64>", "st": "struct<a: string>",
            "t": "time", "m": "map<string, int64>",
        }
    )  # fmt: skip
    instant = datetime(2024, 2, 29, 23, 59, 59, 999999, UTC)
    full = {
        "i": 1, "f": 0.1, "d": Decimal("1.25"), "s": "ä", "y": b"\x00\xff", "b": True, "day": instant.date(),
        "ts": instant, "dt": instant.replace(tzinfo=None), "l": [1, None], "st": {"a": "x"}, "t": instant.time(),
        "m": [("k", 1)],
    }  # fmt: skip
    old = full | {"ts": datetime(1, 1, 1, tzinfo=UTC), "dt": datetime(9999, 12, 31, 23, 59, 59, 999999)}  # noqa: DTZ001
    batch = Batch.of([full, dict.fromkeys(full), old], schema=schema.to_arrow())
    node = make("def process(r):\n    return r\n", schema)

    (out,) = node.process(batch)
    assert out.rows.equals(batch.rows)


def test_an_empty_batch_comes_out_empty_and_keeps_its_position(make: Make) -> None:
    node = make("def process(r):\n    return {'x': 1}\n", output={"x": "int64"})
    (out,) = node.process(rows_of())
    assert (out.num_rows, out.rows.schema.names, out.position) == (0, ["x"], {"at": 7})


def test_a_record_lacking_a_column_has_null_there(make: Make) -> None:
    node = make("def process(r):\n    del r['name']\n    return r\n")
    assert by_stream(node, rows_of("a")) == {"": [{"id": 0, "name": None}]}


RAISES = "def process(r):\n    if r['name'] == 'bad':\n        int(r['name'])\n    return r\n"


def test_fail_names_the_row_the_node_and_the_line_but_no_value(make: Make, tmp_path: Path) -> None:
    (tmp_path / "clean.py").write_text(RAISES)
    node = make(module="clean.py")
    with pytest.raises(DataError, match=r"row 1 of its batch") as caught:
        list(node.process(rows_of("a", "bad", "bad")))

    error = caught.value
    assert (error.place.file, error.place.line, error.place.path) == ("clean.py", 3, "n")
    assert "ValueError: invalid literal for int() with base 10: <name>" in error.what


def test_dead_letters_hold_reason_node_and_the_row_as_it_came(make: Make, events: list[Event]) -> None:
    node = make("def process(r):\n    r['id'] = 99\n    int(r['name'])\n    return r\n", on_error="dead_letter")
    out = by_stream(node, rows_of("bad", "5"))

    assert out[""] == [{"id": 99, "name": "5"}]
    (dead,) = out["errors"]
    assert dead["error"] == "ValueError: invalid literal for int() with base 10: <name>"
    assert dead["node"] == "n"
    assert json.loads(dead["row"]) == {"id": 0, "name": "bad"}
    assert [(e.rows, e.reason) for e in events if isinstance(e, RowsRejected)] == [(1, dead["error"])]


def test_skip_leaves_the_row_out_and_tells(make: Make, events: list[Event]) -> None:
    node = make(RAISES, on_error="skip")
    assert by_stream(node, rows_of("a", "bad")) == {"": [{"id": 0, "name": "a"}]}
    assert any(isinstance(e, RowsRejected) for e in events)


def test_null_is_refused_because_no_column_fails_alone(make: Make) -> None:
    with pytest.raises(WorkflowError, match="no on_error: null"):
        make(RAISES, on_error="null")


@pytest.mark.parametrize("mode", ["columns", "batch"])
def test_a_batch_that_raises_is_halved_down_to_its_bad_rows(make: Make, mode: str) -> None:
    listed = "t['name']" if mode == "columns" else "t['name'].to_pylist()"
    node = make(
        f"def process(t):\n    for n in {listed}:\n        if n == 'bad':\n"
        "            raise KeyError(n)\n    return t\n",
        mode=mode,
        on_error="dead_letter",
    )
    names = ["bad" if n in (0, 37, 38, 99) else str(n) for n in range(100)]
    out = by_stream(node, rows_of(*names))

    assert [r["id"] for r in out[""]] == [n for n in range(100) if names[n] != "bad"]
    assert [json.loads(r["row"])["id"] for r in out["errors"]] == [0, 37, 38, 99]
    assert {r["error"] for r in out["errors"]} == {"KeyError: <name>"}


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ("{'id': 'x', 'name': None}", "TypeError: column 'id' is int64; a value of type str is not"),
        ("{'id': 1.5, 'name': None}", "TypeError: column 'id' is int64; a value of type float is not"),
        ("{'id': 1, 'nam': 'x'}", "TypeError: the output has no column 'nam'"),
        ("{'id': 1, 'name': 'x', 'more': 1}", "TypeError: the output has no column 'more'"),
        ("7", "TypeError: returned int; mode record wants a dict, several dicts or None"),
        ("[{'id': 1}, 2]", "TypeError: returned int among its records; mode record wants dicts"),
        ("[{'id': 1}, {'id': 2**70}]", "TypeError: column 'id' is int64; a value of type int is not"),
        ("{'id': 1, 'name': chr(0xd800)}", "TypeError: column 'name' is string; a value of type str is not"),
    ],
)
def test_a_result_that_does_not_fit_rejects_its_row_alone(make: Make, result: str, reason: str) -> None:
    node = make(f"def process(r):\n    return {result} if r['name'] == 'bad' else r\n", on_error="dead_letter")
    out = by_stream(node, rows_of("a", "bad", "b"))
    assert [r["id"] for r in out[""]] == [0, 2]
    assert [r["error"] for r in out["errors"]] == [reason]


def test_null_in_a_column_that_excludes_it_rejects_the_row(make: Make) -> None:
    schema = Schema((Column("id", "int64", nullable=False), Column("name", "string")))
    node = make("def process(r):\n    return r | {'id': None if r['id'] == 1 else r['id']}\n", schema, "dead_letter")
    batch = Batch.of([{"id": n, "name": "x"} for n in range(3)], schema=schema.to_arrow())
    out = by_stream(node, batch)
    assert [r["id"] for r in out[""]] == [0, 2]
    assert [r["error"] for r in out["errors"]] == ["column 'id' must not be null"]


def test_a_value_beyond_pythons_years_rejects_its_row(make: Make) -> None:
    schema = Schema.of({"ts": "timestamp"})
    rows = pa.table({"ts": pa.array([0, 2**58, 1_000_000], pa.timestamp("us", "UTC"))})
    node = make("def process(r):\n    return r\n", schema, "dead_letter")
    out = by_stream(node, Batch(rows))
    assert len(out[""]) == 2
    assert "beyond the range" in out["errors"][0]["error"]
    assert out["errors"][0]["row"].startswith('{"ts": "11103')


@pytest.mark.parametrize(
    ("mode", "result", "message"),
    [
        ("columns", "[1]", "returned list; mode columns wants a dict of lists"),
        ("columns", "{'id': [1]}", "did not return column 'name'"),
        ("columns", "{'id': [1], 'name': []}", "columns of different lengths"),
        ("batch", "None", "returned NoneType; mode batch wants a pyarrow.Table"),
        ("batch", "t.append_column('x', t['id'])", "returned column 'x', which the output has not"),
    ],
)
def test_a_result_of_the_wrong_shape_fails_whatever_the_policy(
    make: Make, mode: str, result: str, message: str
) -> None:
    node = make(f"def process(t):\n    return {result}\n", mode=mode, on_error="skip")
    with pytest.raises(DataError, match=message):
        list(node.process(rows_of("a")))


def test_a_batch_result_is_cast_to_the_planned_types(make: Make) -> None:
    node = make(
        "import pyarrow as pa\ndef process(t):\n"
        "    return pa.record_batch({'name': ['x'], 'id': pa.array([1], 'int8')})\n",
        mode="batch",
    )
    assert by_stream(node, rows_of("a")) == {"": [{"id": 1, "name": "x"}]}


def test_prints_become_bounded_notices_and_disturb_nothing(make: Make, events: list[Event]) -> None:
    node = make(
        "import sys, os\ndef process(r):\n    print('hello', r['id'])\n    sys.stderr.write('oops\\n')\n"
        "    os.write(1, b'x' * 200_000)\n    return r\n"
    )
    assert len(by_stream(node, rows_of("a", "b", "c"))[""]) == 3
    (notice,) = [e for e in events if isinstance(e, Noticed)]
    assert notice.message.startswith("hello 0\noops\nxxx")
    assert len(notice.message) < 2100
    assert "bytes more" in notice.message


def test_code_that_closes_its_streams_still_works(make: Make) -> None:
    node = make("import os, sys\nsys.stdout.close()\nos.close(2)\ndef process(r):\n    return r\n")
    assert len(by_stream(node, rows_of("a"))[""]) == 1


# ---- loading ----------------------------------------------------------------------------------------------------


def test_a_file_is_found_beside_the_workflow_and_imports_its_neighbours(make: Make, tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "names.py").write_text("def upper(x):\n    return x.upper()\n")
    (tmp_path / "rules" / "clean.py").write_text(
        "from names import upper\ndef shout(r):\n    return r | {'name': upper(r['name'])}\n"
    )
    node = make(module="rules/clean.py", function="shout")
    assert by_stream(node, rows_of("a")) == {"": [{"id": 0, "name": "A"}]}


def test_a_function_of_a_package_beside_the_workflow_is_found(make: Make, tmp_path: Path) -> None:
    (tmp_path / "pricing").mkdir()
    (tmp_path / "pricing" / "__init__.py").write_text("")
    (tmp_path / "pricing" / "rules.py").write_text(
        "class Rules:\n    @staticmethod\n    def keep(r):\n        return r\n"
    )
    node = make(function="pricing.rules:Rules.keep")
    assert len(by_stream(node, rows_of("a"))[""]) == 1


@pytest.mark.parametrize(
    ("code", "line", "what"),
    [
        ("def process(r)\n    return r\n", 1, "SyntaxError: expected ':'"),
        ("x = 1\n\nimport nowhere_to_be_found\n", 3, "ModuleNotFoundError"),
        ("def process(r):\n    return r\n1 / 0\n", 3, "ZeroDivisionError: division by zero"),
        ("def other(r):\n    return r\n", 0, "there is no function 'process' in it; it has other"),
        ("async def process(r):\n    return r\n", 0, "is a coroutine"),
    ],
)
def test_code_that_cannot_be_loaded_is_a_workflow_error_with_its_line(
    make: Make, tmp_path: Path, code: str, line: int, what: str
) -> None:
    (tmp_path / "clean.py").write_text(code)
    with pytest.raises(WorkflowError) as caught:
        make(module="clean.py")
    assert (caught.value.place.file, caught.value.place.line) == ("clean.py", line)
    assert what in caught.value.what

    with pytest.raises(WorkflowError) as caught:
        make(code)
    assert (caught.value.place.file, caught.value.place.line) == ("code of n", line)


def test_a_missing_package_and_a_missing_file_are_told_with_their_cure(make: Make) -> None:
    with pytest.raises(WorkflowError, match="install 'nowhere_to_be_found' beside DataFlare"):
        make(function="nowhere_to_be_found:f")
    with pytest.raises(WorkflowError, match=r"gone\.py: there is no such file"):
        make(module="gone.py")


# ---- planning ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"function": "process"},
        {"module": "a.py", "code": "x"},
        {"code": "x", "function": "a:b"},
        {"code": "x", "mode": "batch", "columns": ["id"]},
        {"code": "x", "output": {"a": "nonsense"}},
        {"code": "x", "timeout": "0s"},
        {"code": "x", "memory": "1MiB"},
        {"code": "x", "columns": []},
    ],
)
def test_settings_that_contradict_themselves_are_refused(config: Mapping[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PythonConfig(**config)


def test_columns_carry_the_tags_of_all_that_the_function_is_given() -> None:
    given = Schema.of({"email": "string", "id": "int64"}).tagged({"email": ["pii"]})
    planned = Python(PythonConfig(code="x", output={"id": "int64", "domain": "string"})).outputs([given])
    blind = Python(PythonConfig(code="x", columns=["id"], output={"n": "int64"})).outputs([given])

    assert [c.tags for c in planned[""]] == [("pii",), ("pii",)]
    assert [c.tags for c in blind[""]] == [()]
    assert not any(c.tags for c in blind["errors"])


def test_a_column_that_a_function_returns_may_hold_a_tagged_value_under_an_old_name() -> None:
    given = Schema.of({"email": "string", "id": "int64"}).tagged({"email": ["pii"]})
    same, seen = Python(PythonConfig(code="x")), Python(PythonConfig(code="x", columns=["id"]))

    assert [c.tags for c in same.outputs([given])[""]] == [("pii",), ("pii",)]
    assert [c.tags for c in seen.outputs([given])[""]] == [("pii",), ()]
    assert len(list(same.remarks([given]))) == 1
    assert not list(seen.remarks([given]))


def test_a_column_that_is_not_there_cannot_be_given() -> None:
    with pytest.raises(WorkflowError, match=r"no column 'nam'.*id, name"):
        Python(PythonConfig(code="x", columns=["nam"])).outputs([SCHEMA])
