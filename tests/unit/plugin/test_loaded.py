"""A plugin is called from Python: with records, with rows, with tables, by many threads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from dataflare import WasmProcessor
from dataflare.cli.main import main
from dataflare.errors import DataError, DataFlareError, ExternalError, UnavailableError, WorkflowError
from dataflare.plugin.loaded import Routed

RULES = """export const outputs = { big: null };
let rate;
export const open = (settings) => { if (settings.rate === 0) throw new Error("no rate"); rate = settings.rate ?? 1; };
export function process(r) {
  if (r.amount === -1) throw new Error("below zero");
  if (r.amount === -2) throw new dataflare.Transient("busy");
  if (r.amount === -3) throw new dataflare.Fatal("lost");
  if (r.amount === -4) for (;;);
  if (r.amount === 0) return null;
  if (r.amount === 10) return [r, { ...r, amount: 11 }];
  if (r.amount === 20) return [dataflare.to("big", r), r];
  if (r.say) dataflare.log(r.say, "warn");
  return { ...r, total: r.amount * rate };
}"""
TIME = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def load(tmp_path: Path):
    """Return what loads a source as a plugin, which is closed at the end."""
    with ExitStack() as stack:

        def loaded(source: str, *given, name: str = "rules.js", **config):
            (tmp_path / name).write_text(source)
            return stack.enter_context(WasmProcessor.load(tmp_path / name, *given, **config))

        yield loaded


def test_a_record_becomes_a_record_none_several_or_goes_to_outputs(load) -> None:
    plugin = load(RULES, {"rate": 2})
    assert plugin.process({"id": 1, "amount": 1.5}) == {"id": 1, "amount": 1.5, "total": 3}
    assert plugin.process({"amount": 0}) is None
    assert plugin.process({"amount": 10}) == [{"amount": 10}, {"amount": 11}]
    assert plugin.process({"amount": 20}) == [Routed("big", {"amount": 20}), Routed("", {"amount": 20})]


def test_what_fails_is_an_error_with_its_place_and_the_plugin_goes_on(load, tmp_path: Path) -> None:
    plugin = load(RULES, timeout="200ms", instances=1)
    with pytest.raises(DataError, match="below zero") as bad:
        plugin.process({"amount": -1})
    assert (bad.value.place.file, bad.value.place.line) == (str(tmp_path / "rules.js"), 5)
    with pytest.raises(ExternalError, match="asks to be called again: busy"):
        plugin.process({"amount": -2})
    with pytest.raises(DataError, match="cannot go on: lost"):
        plugin.process({"amount": -3})
    with pytest.raises(DataError, match="was stopped: it took longer than it may"):
        plugin.process({"amount": -4})
    with pytest.raises(DataError, match="'id' is a whole number beyond 2"):
        plugin.process({"id": 2**53 + 1, "amount": 1})
    with pytest.raises(DataError, match="what JSON cannot hold"):
        plugin.process({"amount": object()})
    assert plugin.process({"amount": 1}) == {"amount": 1, "total": 1}


def test_rows_fail_together_or_are_told_one_by_one(load) -> None:
    plugin = load(RULES, timeout="200ms")
    rows = [{"amount": a} for a in (1, -1, 0, 10, -4, 20, 2**60)]
    found = plugin.process_rows(rows, on_error="skip")
    assert found.rows == [{"amount": 1, "total": 1}, {"amount": 10}, {"amount": 11}, {"amount": 20}]
    assert found.outputs == {"big": [{"amount": 20}]}
    assert list(found.rejected) == [1, 4, 6]
    assert (found.rejected[1], found.rejected[4]) == ("below zero (5)", "stopped: it took longer than it may")
    with pytest.raises(DataError, match=r"below zero \(row 1\)"):
        plugin.process_rows(rows)
    assert plugin.process_rows([]).rows == []


def test_rows_that_cannot_be_written_are_told_and_the_others_pass(load) -> None:
    for code in (RULES, "export const input = ['amount'];\nexport const process = (r) => r;"):
        found = load(code).process_rows(iter([{"amount": 1}, {"amount": "\ud800"}, {"amount": 2}]), on_error="skip")
        assert [r["amount"] for r in found.rows] == [1, 2]
        assert list(found.rejected) == [1]
        assert "what JSON cannot hold" in found.rejected[1]


def test_large_rows_go_in_few_at_a_time(load) -> None:
    plugin = load("export const process = (r) => ({ size: r.text.length });", memory="64MB")
    found = plugin.process_rows([{"text": "x" * (1 << 20)}] * 100)
    assert found.rows == [{"size": 1 << 20}] * 100


def test_more_rows_than_fit_into_a_call_come_back_in_order(load) -> None:
    found = load(RULES).process_rows([{"amount": n + 30} for n in range(20_000)])
    assert [r["amount"] for r in found.rows] == list(range(30, 20_030))


ADDING = """export const input = ["amount", "at"], adds = { total: "decimal(12,2)", day: "date", label: "string" };
export const process = (r) => r.amount === "0.00" ? { total: "no", day: null }
  : { ...r, total: r.amount, day: r.at?.slice(0, 10), label: `<${Object.keys(r)}>` };"""


def test_a_table_comes_back_with_the_columns_that_the_plugin_says(load) -> None:
    plugin = load(ADDING)
    table = pa.table(
        {
            "id": pa.array([2**60, 2, 3]),
            "amount": pa.array([Decimal("1.50"), Decimal("0.00"), None], pa.decimal128(12, 2)),
            "at": pa.array([TIME, TIME, None], pa.timestamp("us", "UTC")),
        }
    )
    found = plugin.process_rows(table, on_error="skip")
    assert found.rows.to_pylist() == [
        {"id": 2**60, "amount": Decimal("1.50"), "at": TIME, "total": Decimal("1.50"), "day": TIME.date(),
         "label": "<amount,at>"},
        {"id": 3, "amount": None, "at": None, "total": None, "day": None, "label": "<amount,at>"},
    ]  # fmt: skip
    assert found.rows.schema.types[3:] == [pa.decimal128(12, 2), pa.date32(), pa.string()]
    assert list(found.rejected) == [1]
    assert "'total' is decimal128(12, 2)" in found.rejected[1]
    with pytest.raises(DataError, match=r"'total' is decimal128.*\(row 1\)"):
        plugin.process_rows(table)
    assert plugin.process_rows(table[:0]).rows.schema == found.rows.schema


def test_a_table_of_a_plugin_that_declares_nothing_keeps_its_columns(load) -> None:
    plugin = load("export const process = (r) => r.a ? r : { ...r, other: 1 };")
    found = plugin.process_rows(pa.table({"a": [0, 5]}), on_error="skip")
    assert found.rows.to_pydict() == {"a": [5]}
    assert found.rejected == {0: "the output has no column 'other'"}


def test_all_that_came_of_a_row_is_left_out_where_some_does_not_fit(load) -> None:
    plugin = load(
        """export const outputs = { big: { n: "int64" } };
        export const process = (r) => [r.n ? r : { n: "no number" }, dataflare.to("big", r)];"""
    )
    found = plugin.process_rows(pa.table({"n": [0, 5]}), on_error="skip")
    assert (found.rows.to_pydict(), found.outputs["big"].to_pydict()) == ({"n": [5]}, {"n": [5]})
    assert list(found.rejected) == [0]


def test_columns_that_a_plugin_does_not_ask_for_pass_it_by(load) -> None:
    plugin = load("export const input = ['a'];\nexport const process = (r) => ({ a: Object.keys(r).length });")
    assert plugin.process({"a": 5, "b": 2**60}) == {"a": 1, "b": 2**60}
    plugin = load("export const process = (r) => ({ a: Object.keys(r).length });", columns=["b"])
    assert plugin.process({"a": 5, "b": 7}) == {"a": 1}


def test_a_plugin_that_takes_columns_is_called_with_records_too(load) -> None:
    plugin = load(
        """export const input = ["n"], adds = { twice: "int64" };
        export const processColumns = ({ n }) => ({ twice: n.map((v) => v * 2) });"""
    )
    assert plugin.process({"n": 4, "x": "y"}) == {"n": 4, "x": "y", "twice": 8}
    assert plugin.process_rows([{"n": 1}, {"n": 2}]).rows == [{"n": 1, "twice": 2}, {"n": 2, "twice": 4}]


COUNTING = """let seen = 0;
export const process = (r) => { if (r.loop) for (;;); dataflare.setState("k", ++seen); return { seen }; };
export const exportState = () => seen, importState = (state) => { seen = state; };"""


def test_a_plugin_with_state_has_one_instance_and_keeps_its_state_when_it_is_stopped(load) -> None:
    plugin = load(COUNTING, timeout="200ms")
    with ThreadPoolExecutor(4) as threads:
        seen = [found["seen"] for found in threads.map(plugin.process, [{}] * 40)]
    assert sorted(seen) == list(range(1, 41))
    with pytest.raises(DataError, match="was stopped"):
        plugin.process({"loop": True})
    assert plugin.process({}) == {"seen": 41}


def test_a_plugin_that_says_nothing_of_state_keeps_none(load) -> None:
    plugin = load("export const process = (r) => { dataflare.setState('k', 1); return r; };")
    with pytest.raises(DataError, match="must say so: load it with `key`, or export exportState"):
        plugin.process({})


def test_many_threads_share_few_instances(load) -> None:
    opened: list[str] = []
    plugin = load(
        "export const open = () => dataflare.log('opened');\nexport const process = (r) => ({ n: r.n * 2 });",
        instances=2,
        log=lambda level, text: opened.append(f"{level} {text}"),
    )
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda n: plugin.process({"n": n})["n"], range(2000)))
    assert found == [n * 2 for n in range(2000)]
    assert opened[0] == "info opened"
    assert 2 <= len(opened) <= 3  # one only told what it is


def test_a_call_that_gets_no_instance_says_so_and_one_that_waits_gets_it(load) -> None:
    inside, enough = threading.Event(), threading.Event()

    def hold(level: str, text: str) -> None:
        inside.set()
        assert enough.wait(60)

    plugin = load(RULES, instances=1, wait_seconds=0.05, log=hold, timeout="60s")
    patient = load(RULES, instances=1, wait_seconds=60, log=hold, timeout="60s")
    with ThreadPoolExecutor(4) as threads:
        for one in (plugin, patient):
            inside.clear()
            threads.submit(one.process, {"amount": 1, "say": "x"})
            assert inside.wait(60)
        with pytest.raises(UnavailableError, match=r"all 1 instances of the plugin are in use for 0\.05 s"):
            plugin.process({"amount": 1})
        waiting = threads.submit(patient.process, {"amount": 1})
        enough.set()
        assert waiting.result(60) == {"amount": 1, "total": 1}


def test_an_instance_that_cannot_go_on_is_replaced(load) -> None:
    plugin = load(RULES, timeout="20ms", instances=1)
    for _ in range(23):
        with pytest.raises(DataError, match="stopped"):
            plugin.process({"amount": -4})
    assert plugin.process({"amount": 1}) == {"amount": 1, "total": 1}


def test_a_closed_plugin_says_that_it_is(load) -> None:
    said: list[str] = []
    plugin = load(
        "export const process = (r) => r, close = () => dataflare.log('bye');",
        log=lambda _, text: said.append(text),
    )
    plugin.process({})
    plugin.close()
    assert said == ["bye"]
    with pytest.raises(WorkflowError, match="the plugin is closed"):
        plugin.process({})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_plugin_that_was_loaded_before_a_fork_says_so(tmp_path: Path) -> None:
    (tmp_path / "rules.js").write_text(RULES)
    code = """import os
from dataflare import WasmProcessor
plugin = WasmProcessor.load("rules.js")
plugin.process({"amount": 1})
if os.fork():
    os.wait()
else:
    try:
        plugin.process({"amount": 1})
    except Exception as error:
        print(error, flush=True)
    os._exit(0)
print(plugin.process({"amount": 1}))"""
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines() == [
        "rules.js: the plugin was loaded before a fork (load it in the process that calls it)",
        "{'amount': 1, 'total': 1}",
    ]


def test_what_cannot_be_loaded_says_where_and_how_to_cure_it(load, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"none\.js: the plugin cannot be read: No such file"):
        WasmProcessor.load(tmp_path / "none.js")
    with pytest.raises(WorkflowError, match=r"rules\.js:2:"):
        load("export const a = 1;\nexport const process = (;")
    with pytest.raises(WorkflowError, match="no rate"):
        load(RULES, {"rate": 0})
    with pytest.raises(WorkflowError, match=r"timeout: .*'fast' is not a duration"):
        load(RULES, timeout="fast")
    with pytest.raises(WorkflowError, match="speed: Extra inputs are not permitted"):
        load(RULES, speed=1)


def test_without_wasmtime_it_says_what_to_install(tmp_path: Path) -> None:
    code = """import sys; sys.modules["wasmtime"] = None
from dataflare import WasmProcessor
from dataflare.errors import UnavailableError
try:
    WasmProcessor.load("rules.js")
except UnavailableError as error:
    print(error)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "plugins need wasmtime (pip install 'dataflare[wasm]')\n"


def test_packages_and_installed_plugins_are_loaded_by_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for verb in (
        ["new", "price", "--language", "js", "--into", str(tmp_path / "price")],
        ["pack", str(tmp_path / "price"), "--to", str(tmp_path)],
        ["install", str(tmp_path / "price-0.1.0.dfp"), "--allow-unsigned"],
    ):
        assert main(["plugin", *verb]) == 0
    for name in (tmp_path / "price-0.1.0.dfp", "price", "price@0.1.0"):
        with WasmProcessor.load(name, {"rate": 2}) as plugin:
            assert plugin.process({"amount": 1.5}) == {"amount": 1.5, "total": 3}
    with pytest.raises(DataFlareError, match="nowhere"):
        WasmProcessor.load("nowhere")


def test_a_folder_that_is_granted_must_be_there(load) -> None:
    with pytest.raises(WorkflowError, match="/none"):
        load(RULES, grants={"files": [{"path": "/none", "at": "/x"}]})


def test_state_by_key_is_kept_where_the_key_is_named(load) -> None:
    plugin = load(
        """export const process = (r) => {
          const seen = (dataflare.getState([r.k]) ?? 0) + 1;
          dataflare.setState([r.k], seen);
          return { k: r.k, seen };
        };""",
        key=["k"],
    )
    assert [plugin.process({"k": k})["seen"] for k in "abaab"] == [1, 1, 2, 3, 2]
