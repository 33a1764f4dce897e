"""JSON lines go into a plugin as they are where that gives what their rows give; else they come again as rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataflare.batch import Batch, Encoded
from dataflare.component import StageContext
from dataflare.errors import DataError
from dataflare.executor.runtime import LocalRuntime
from dataflare.formats.jsonl.decode import JsonlDecoder
from dataflare.monitoring.events import Event, RowsRejected
from dataflare.processors.wasm import WasmConfig, WasmProcessor
from dataflare.processors.wasm_texts import LINES, SMALL, Texts
from dataflare.schema import Column, Schema

SCHEMA = Schema.of({"id": "int64", "name": "string", "amount": "float64", "some": "list<int32>"})
CODE = """
export const outputs = { big: null };
export const process = (row) => {
  if (row.id === 13) throw new Error("thirteen");
  if (row.id === 14) for (;;) {}
  if (row.id === 12) return [row, { ...row, some: "none" }];
  if (row.id % 5 === 4) return null;
  if (row.amount > 100) return [row, dataflare.to("big", row)];
  return { ...row, name: row.name === null ? null : row.name.toUpperCase() };
};
"""
Make = Callable[..., WasmProcessor]


class ByLines(WasmProcessor):
    """A plugin that is quickest with lines, as compiled ones are; a script takes them, too."""

    def look(self) -> None:
        super().look()
        assert self._program is not None
        self._program = replace(self._program, packs=False)


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return []


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory, events: list[Event]) -> Iterator[Make]:
    """Return a maker of open processors, which are closed at the end."""
    runtime, folder = LocalRuntime(events.append), tmp_path_factory.mktemp("lines")
    made: list[WasmProcessor] = []

    def build(code: str = CODE, on_error: str = "dead_letter", **config: Any) -> WasmProcessor:
        (folder / "rules.js").write_text(code)
        node = ByLines(WasmConfig(module="rules.js", timeout=0.2, **config))
        node.context = StageContext(
            runtime, "w", "n", directory=folder, schemas={"0": SCHEMA}, on_error=on_error, epoch_time=lambda: 7
        )
        made.append(node)
        node.open()
        return node

    yield build
    for node in made:
        node.close()
    runtime.close()


@pytest.fixture(scope="module")
def node(make: Make) -> WasmProcessor:
    return make()


def batch(*lines: str) -> Batch:
    return Batch(Encoded("".join(f"{line}\n" for line in lines).encode(), "jsonl", judged=False), position={"at": 3})


def row(number: int, name: str | None = "ann", amount: float | None = 1.5) -> str:
    return json.dumps({"id": number, "name": name, "amount": amount, "some": [number % 7, None]})


def by_stream(batches: Any) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for one in batches:
        assert one.position == {"at": 3}
        found.setdefault(one.stream, []).extend(one.rows.to_pylist())
    return {name: rows for name, rows in found.items() if rows}


def as_rows(node: WasmProcessor, given: Batch) -> dict[str, list[dict[str, Any]]]:
    decoder = JsonlDecoder(SCHEMA)
    rows = decoder.decode(bytes(given.payload.data)).rows  # type: ignore[union-attr]
    decoder.close()
    return by_stream(node.process(given.replace(rows)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(-30, 30).filter(lambda n: n not in (13, 14)),
            st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
            st.none() | st.floats(-1e6, 1e6),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_lines_give_what_their_rows_give(node: WasmProcessor, rows: list[tuple[Any, ...]]) -> None:
    lines = batch(*(row(*one) for one in rows))
    taken = node.take(lines)
    assert taken is not None
    assert taken[0] == len(rows)
    assert by_stream(taken[1]) == as_rows(node, lines)


def test_a_row_that_fails_and_one_that_stops_the_plugin_go_where_on_error_says(make: Make, events: list[Event]) -> None:
    node = make()
    events.clear()
    lines = batch(row(1), row(13), row(2), row(3, amount=500), row(12))
    taken = node.take(lines)
    assert taken is not None
    found = by_stream(taken[1])
    assert found == as_rows(node, lines)
    assert [r["id"] for r in found[""]] == [1, 2, 3]
    assert [r["id"] for r in found["big"]] == [3]
    assert [json.loads(r["row"])["id"] for r in found["errors"]] == [13, 12]
    taken = node.take(batch(row(1), row(14), row(2)))
    assert taken is not None
    found = by_stream(taken[1])
    assert [r["id"] for r in found[""]] == [1, 2]
    assert "longer than it may" in found["errors"][0]["error"]
    rejected = [event.rows for event in events if isinstance(event, RowsRejected)]
    assert rejected == [2, 2, 1]
    failing = make(on_error="fail").take(batch(row(1), row(13)))
    assert failing is not None
    with pytest.raises(DataError, match="thirteen"):
        list(failing[1])


@pytest.mark.parametrize(
    "line",
    [
        '{"id":1,"name":"a","amount":1.0}',  # one is missing: a row has null there, a record nothing
        '{"id":1,"name":"a","amount":1.0,"some":[],"more":1}',
        '{"id":"1","name":"a","amount":1.0,"some":[]}',
        '{"id":1.0,"name":"a","amount":1.0,"some":[]}',
        '{"id":1,"name":2,"amount":1.0,"some":[]}',
        '{"id":9007199254740993,"name":"a","amount":1.0,"some":[]}',
        '{"id":1,"name":"a","amount":1.0,"some":[3000000000]}',
        '{"id":1,"name":"a",\n"amount":1.0,"some":[]}',
        "",
        "nothing",
        '{"id":1,"name":"\\ud800","amount":1.0,"some":[]}',
    ],
)
def test_a_line_that_is_not_plain_is_left_alone(make: Make, line: str) -> None:
    assert make().take(batch(row(1), line)) is None


def test_after_some_blocks_in_vain_none_is_tried(make: Make) -> None:
    node = make()
    assert [node.take(batch("{}")) for _ in range(3)] == [None] * 3
    assert node.take(batch(row(1))) is None


@pytest.mark.parametrize(("code", "config"), [
    ("export const input = ['id']; export const process = (row) => row;", {}),
    ("export const adds = { total: 'float64' }; export const process = () => ({ total: 1 });", {}),
    (CODE, {"columns": ["id"]}),
    (CODE, {"key": ["id"]}),
])  # fmt: skip
def test_lines_are_not_asked_for_where_columns_pass_by_or_rows_have_keys(
    make: Make, code: str, config: dict[str, Any]
) -> None:
    assert make().unjudged(SCHEMA) == ("jsonl",)
    assert make(code, **config).unjudged(SCHEMA) == ()
    assert make().unjudged(Schema.of({"id": "decimal(5,1)"})) == ()


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
    st.lists(st.none() | st.integers(-(2**33), 2**33), max_size=2),
)
GOOD = st.fixed_dictionaries(
    {"id": st.integers(-(2**63), 2**63 - 1)},
    optional={
        "name": st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
        "amount": st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53),
        "some": st.none() | st.lists(st.none() | st.integers(-(2**31), 2**31 - 1), max_size=2),
        "ignored": VALUES,
    },
)
ANY = st.dictionaries(st.sampled_from([*SCHEMA.names, "ignored", "other"]), VALUES, max_size=5)
READ = Schema((Column("id", "int64", nullable=False), *(c for c in SCHEMA if c.name != "id")))


@settings(deadline=None, max_examples=150)
@given(records=st.lists(GOOD, min_size=1, max_size=8), odd=st.lists(ANY, max_size=1))
def test_lines_that_come_back_are_read_as_their_values_one_by_one(
    records: list[dict[str, Any]], odd: list[dict[str, Any]]
) -> None:
    texts = Texts(Schema((*READ, Column("ignored", "string"))), 64 << 20, scripts=False)
    text = "\n".join(json.dumps(one) for one in [*records, *odd])
    quick = texts._read_plain(text, READ, ["ignored"])
    rows, unfit = texts.read(text, LINES, READ, ["ignored"])
    texts.close()
    assert len(text) < SMALL, "read one by one"
    if quick is None:
        assert odd, "plain records are read at once"
    else:
        assert not unfit
        assert quick.equals(rows)


def test_long_texts_are_written_and_read_at_once() -> None:
    texts = Texts(SCHEMA, 64 << 20, scripts=False)
    rows = pa.table({
        "id": range(3000), "name": ["ü"] * 3000, "amount": [0.5] * 3000, "some": [[1, None]] * 3000,
    }).cast(SCHEMA.to_arrow())  # fmt: skip
    text = texts.written(rows.slice(5), LINES)
    assert len(text) > SMALL
    assert json.loads(text.split("\n")[0]) == {"id": 5, "name": "ü", "amount": 0.5, "some": [1, None]}
    assert texts.read(text, LINES, SCHEMA)[0].equals(rows.slice(5))
    bad = text.replace('"id":7,', '"id":"x",')
    found, unfit = texts.read(bad, LINES, SCHEMA)
    assert (found.num_rows, [*unfit]) == (2994, [2])
    texts.close()
