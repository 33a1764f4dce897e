"""The wasm processor gets rows through a plugin, and finds the row that is to blame where that fails."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pytest

from dataflare.batch import Batch
from dataflare.component import StageContext
from dataflare.errors import DataError, ExternalError, WorkflowError
from dataflare.executor.runtime import LocalRuntime
from dataflare.monitoring.events import Event, Noticed, RowsRejected
from dataflare.processors.wasm import WasmConfig, WasmProcessor
from dataflare.processors.wasm_breaker import Breaker, BreakerConfig
from dataflare.processors.wasm_calls import Calls
from dataflare.processors.wasm_texts import LINES, Texts
from dataflare.schema import Column, Schema

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = Schema.of({"id": "int64", "name": "string", "amount": "float64"})
Make = Callable[..., WasmProcessor]


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def make(tmp_path: Path, events: list[Event]) -> Iterator[Make]:
    """Return a maker of open processors, which are closed at the end."""
    runtime = LocalRuntime(events.append)
    made: list[WasmProcessor] = []

    def build(code: str, schema: Schema = SCHEMA, on_error: str = "fail", **config: Any) -> WasmProcessor:
        (tmp_path / "rules.js").write_text(code)
        node = WasmProcessor(WasmConfig(module="rules.js", **config))
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
    found = list(node.process(batch))
    planned = node.outputs([node.context.schemas["0"]])
    for one in found:
        assert one.position == batch.position
        assert one.stream == "errors" or one.rows.schema.equals(planned[one.stream].to_arrow())
    return {one.stream: one.rows.to_pylist() for one in found}


@pytest.mark.parametrize("head", ["", "export const input = ['id', 'name', 'amount'];"])
def test_rows_are_changed_dropped_and_multiplied(make: Make, head: str) -> None:
    node = make(f"""{head}
        export function process(r) {{
          if (r.amount === null) return null;
          return r.amount > 5 ? [r, {{ ...r, name: null }}] : {{ ...r, amount: r.amount + 0.5 }};
        }}""")
    assert by_stream(node, rows_of(1, None, 6)) == {
        "": [
            {"id": 0, "name": "n0", "amount": 1.5},
            {"id": 2, "name": "n2", "amount": 6.0},
            {"id": 2, "name": None, "amount": 6.0},
        ]
    }


@pytest.mark.parametrize("head", ["", "export const input = ['amount'];"])
def test_columns_are_added_and_the_others_pass_by(make: Make, head: str) -> None:
    node = make(f"""{head}
        export const adds = {{ total: "float64", label: "string" }};
        export const open = (settings) => {{ rate = settings.rate; }};
        let rate;
        export const process = (r) => r.amount < 0 ? null : {{ ...r, total: r.amount * rate, label: 'a "b"\\n' }};""",
        settings={"rate": 2})  # fmt: skip
    (out,) = node.process(rows_of(1, -1, 3))
    assert out.rows.to_pydict() == {
        "id": [0, 2], "name": ["n0", "n2"], "amount": [1.0, 3.0], "total": [2.0, 6.0], "label": ['a "b"\n'] * 2,
    }  # fmt: skip


def test_settings_of_the_node_go_before_what_the_plugin_says(make: Make) -> None:
    node = make(
        """export const input = ["amount"], output = { total: "float64" };
        export const process = (r) => ({ n: r.id });""",
        columns=["id"],
        output={"n": "int32"},
    )
    assert by_stream(node, rows_of(1, 2)) == {"": [{"n": 0}, {"n": 1}]}
    assert node.reads([SCHEMA], frozenset({"n"})) == [{"id"}]


def test_rows_are_routed_to_the_outputs_that_the_plugin_names(make: Make) -> None:
    node = make(
        """export const outputs = { big: null, ids: { id: "int64" } };
        export const process = (r) => r.amount > 5 ? [dataflare.to("big", r), dataflare.to("ids", { id: r.id })] : r;"""
    )
    assert by_stream(node, rows_of(1, 6)) == {
        "": [{"id": 0, "name": "n0", "amount": 1.0}],
        "big": [{"id": 1, "name": "n1", "amount": 6.0}],
        "ids": [{"id": 1}],
    }
    node = make("export const process = (r) => dataflare.to('nowhere', r);")
    with pytest.raises(DataError, match=r"rules\.js: .*the output 'nowhere', which it did not name"):
        list(node.process(rows_of(1)))


BAD = """export function process(r) {
  if (r.amount === 1) throw new Error(`no ${r.name}`);
  if (r.amount === 2) return { ...r, amount: "two" };
  if (r.amount === 3) return [r, { ...r, other: 1 }];
  if (r.amount === 4) for (;;);
  return r;
}"""


@pytest.mark.parametrize("head", ["", "export const input = ['id', 'name', 'amount'];"])
def test_bad_rows_are_put_aside_whole_and_told_with_why(make: Make, events: list[Event], head: str) -> None:
    node = make(head + BAD, on_error="dead_letter", timeout="400ms")
    found = by_stream(node, rows_of(0, 1, 2, 3, 4, 5))
    assert [r["id"] for r in found[""]] == [0, 5]
    assert [json.loads(r["row"])["id"] for r in found["errors"]] == [1, 2, 3, 4]
    first, second, third, fourth = (r["error"] for r in found["errors"])
    assert first == "no <name> (2)"
    assert second == "TypeError: column 'amount' is double; a value of type str is not"
    assert "other" in third
    assert fourth == "stopped: it took longer than it may"
    (told,) = [e for e in events if isinstance(e, RowsRejected)]
    assert told.rows == 4


def test_the_first_bad_row_ends_the_run_if_it_may(make: Make) -> None:
    with pytest.raises(DataError) as told:
        list(make(BAD).process(rows_of(0, 1, 2)))
    assert str(told.value).startswith("rules.js: no <name> (2) (row 1 of its batch)")


def test_errors_of_the_plugin_decide_what_is_next(make: Make) -> None:
    node = make("export const process = (r) => { throw new dataflare[r.name](r.amount); };")
    for kind, error in (("Transient", ExternalError), ("Fatal", DataError)):
        rows = Batch.of([{"id": 1, "name": kind, "amount": 1.0}], schema=SCHEMA.to_arrow())
        with pytest.raises(error, match=r"rules\.js"):
            list(node.process(rows))


def test_values_that_javascript_would_bend_are_refused_or_told_as_texts(make: Make) -> None:
    schema = Schema.of({"id": "int64", "price": "decimal(30,10)", "at": "timestamp", "tags": "list<string>"})
    price = Decimal("12345678901234567890.0123456789")
    rows = pa.Table.from_pylist(
        [
            {"id": n, "price": price, "at": 1_700_000_000_123_456, "tags": ["blue"]}
            for n in (1, 2**53, 2**53 + 1, -(2**60))
        ],
        schema=schema.to_arrow(),
    )
    node = make("export const process = (r) => ({ ...r, tags: [...r.tags, typeof r.price] });", schema, "dead_letter")
    found = by_stream(node, Batch(rows))
    assert [(r["id"], r["price"], r["tags"]) for r in found[""]] == [
        (1, price, ["blue", "string"]),
        (2**53, price, ["blue", "string"]),
    ]
    assert found[""][0]["at"] == rows["at"][0].as_py()
    assert [r["error"] for r in found["errors"]] == [
        "column 'id' is a whole number beyond 2^53, which JavaScript would round"
    ] * 2


@pytest.mark.parametrize("head", ["", "export const input = ['id', 'name', 'amount'];"])
def test_floats_that_json_has_no_numbers_for_come_back(make: Make, head: str) -> None:
    found = by_stream(make(head + "export const process = (r) => r;"), rows_of(1, math.nan, math.inf, -math.inf, None))
    assert repr([r["amount"] for r in found[""]]) == "[1.0, nan, inf, -inf, None]"


def test_many_rows_go_in_portions(make: Make) -> None:
    node = make("export const input = ['amount']; export const process = (r) => r.amount % 2 ? r : null;")
    (out,) = node.process(rows_of(*range(20_001)))
    assert out.rows["id"].to_pylist() == list(range(1, 20_001, 2))
    assert out.rows["amount"].to_pylist() == list(range(1, 20_001, 2))


def test_no_rows_are_no_call(make: Make) -> None:
    assert by_stream(make("export const process = (r) => r;"), rows_of()) == {"": []}


STATEFUL = """let seen = 0;
export const process = (r) => {
  dataflare.setState([r.name], (dataflare.getState([r.name]) ?? 0) + 1);
  return { ...r, id: ++seen, amount: dataflare.getState([r.name]) };
};
export const exportState = () => seen;
export const importState = (state) => { seen = state; };"""


def test_state_is_in_the_checkpoint_and_comes_back(make: Make) -> None:
    first = make(STATEFUL)
    assert first.snapshot() == {}
    list(first.process(rows_of(0, 0)))
    state = first.snapshot()
    second = make(STATEFUL)
    second.restore(state)
    assert by_stream(second, rows_of(0)) == {"": [{"id": 3, "name": "n0", "amount": 2.0}]}
    assert [port.together for port in second.ports(1)] == [True]
    assert [port.together for port in make("export const process = (r) => r;").ports(1)] == [False]


def test_state_without_saying_so_is_refused(make: Make) -> None:
    node = make("export const process = (r) => { dataflare.setState([1], 1); return r; };", on_error="dead_letter")
    (error,) = by_stream(node, rows_of(1))["errors"]
    assert "must say so" in error["error"]


def test_what_a_plugin_says_is_told_and_bounded(make: Make, events: list[Event]) -> None:
    node = make("export const process = (r) => { console.warn(r.name, dataflare.now()); return r; };")
    list(node.process(rows_of(*range(300))))
    said = [e for e in events if isinstance(e, Noticed)]
    assert len(said) == 100
    assert (said[0].code, said[0].message) == ("plugin.warn", "n0 7")


def test_of_tagged_values_nothing_is_told(make: Make, events: list[Event]) -> None:
    schema = Schema((Column("id", "int64"), Column("name", "string", tags=("pii",)), Column("amount", "float64")))
    code = "export const process = (r) => { console.log(r.name); if (r.id) throw new Error(r.name); return r; };"
    node = make(code, schema, on_error="dead_letter")
    found = by_stream(node, rows_of(0, 0))
    assert "n1" not in json.dumps(found["errors"])
    assert "n0" not in repr([e for e in events if isinstance(e, Noticed)])
    planned = node.outputs([schema])[""]
    assert all(c.tags == ("pii",) for c in planned)


def test_columns_that_are_not_there_are_told(make: Make) -> None:
    with pytest.raises(WorkflowError, match="'total', and there is no such column"):
        make("export const input = ['total']; export const process = (r) => r;")


def test_columns_of_another_length_need_to_say_where_they_came_of(make: Make) -> None:
    node = make("export const input = ['amount']; export const processColumns = (c) => ({ amount: [1] });")
    with pytest.raises(DataError, match="returned 1 rows for 2, and does not say which came of which"):
        list(node.process(rows_of(1, 2)))


class Claiming:
    """Says that its rows came of some that there are not."""

    file = "rules.wasm"

    def __init__(self, *sources: int) -> None:
        self._sources = memoryview(array("I", sources))

    def call(self, name: str, batch: tuple[str, int, str], judge: Callable[[Any], Any]) -> Any:
        return judge(([("", len(self._sources), "\n".join(['{"id": 1}'] * len(self._sources)), self._sources)], []))


@pytest.mark.parametrize(("sources", "good"), [((0, 1, 1), True), ((0, 2), False), ((2**32 - 1,), False)])
def test_rows_of_which_the_plugin_says_that_they_came_of_none_are_refused(
    sources: tuple[int, ...], *, good: bool
) -> None:
    schema = Schema.of({"id": "int64"})
    texts = Texts(schema, 64 << 20, scripts=False)
    breaker = Breaker(BreakerConfig(), cast("Any", None), "rules.wasm")
    calls = Calls(cast("Any", Claiming(*sources)), texts, LINES, {"": schema}, {})
    rows = pa.table({"id": [7, 8]})
    if good:
        found = calls.run(rows, breaker, first_only=True)
        assert pa.chunked_array(found.sources[""]).to_pylist() == list(sources)
    else:
        with pytest.raises(DataError, match="does not say which came of which"):
            calls.run(rows, breaker, first_only=True)
    texts.close()
