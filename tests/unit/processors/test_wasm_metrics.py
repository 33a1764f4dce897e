"""What plugins count is sealed with the epochs, and shown by node and name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dataflare.cli.main import main
from dataflare.component import StageContext
from dataflare.executor.runtime import LocalRuntime
from dataflare.monitoring.events import Event, Noticed
from dataflare.processors.wasm_host import METRICS_MAX, WorkflowHost
from dataflare.state.ledger import MILLION, check_node, metrics

if TYPE_CHECKING:
    from pathlib import Path

WORKFLOW = """
id: counting
runtime: {parallelism: 2}
sources:
  rows:
    type: generator
    config: {rows: 1000, partitions: 2, columns: {id: sequence}}
transformations:
  counted:
    type: wasm
    inputs: [rows]
    config: {module: rules.js, timeout: 150ms}
    on_error: {action: skip}
destinations:
  out: {type: file, inputs: [counted], config: {path: out, format: jsonl}}
"""
CODE = """export const process = (r) => {
  dataflare.metric("rows");
  dataflare.metric("tenths", 0.1);
  if (r.id % 2) return null;
  if (r.id === 600) for (;;);
  return [r, r];
};"""


@pytest.fixture
def events() -> list[Event]:
    return []


def host(events: list[Event], *, hides: bool = False) -> WorkflowHost:
    return WorkflowHost(StageContext(LocalRuntime(events.append), "w", "n"), hides=hides)


def test_counters_are_in_the_summary_and_the_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.yaml").write_text(WORKFLOW)
    (tmp_path / "rules.js").write_text(CODE)
    assert main(["run", "w.yaml", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["metrics"] == {"counted": {"rows": 999, "tenths": 99.9}}, "the call that was stopped counts nothing"
    assert told["nodes"]["counted"]["rows_out"] == 998
    assert main(["status", "w.yaml", "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["metrics"] == told["metrics"]
    assert not any("metric" in kind for kinds in status["nodes"].values() for kind in kinds)


def test_counters_are_a_table_for_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.yaml").write_text(WORKFLOW)
    (tmp_path / "rules.js").write_text("export const process = (r) => { dataflare.metric('big', 1e6); return r; };")
    assert main(["run", "w.yaml"]) == 0
    said = capsys.readouterr()
    assert any(line.split() == ["counted", "big", "1,000,000,000"] for line in (said.out + said.err).splitlines())


def test_what_is_counted_in_a_stopped_call_is_forgotten(events: list[Event]) -> None:
    one = host(events)
    one.metric("a", 0.5)
    one.settle(kept=True)
    one.metric("a", 7)
    one.settle(kept=False)
    one.metric("b.c", -2)
    one.settle(kept=True)
    assert one.counted() == {"a": MILLION // 2, "b.c": -2 * MILLION}
    assert one.counted() == {}


def test_names_and_numbers_are_bounded(events: list[Event]) -> None:
    one = host(events)
    for name in ("", "a b", "x" * 81, "é", "-a"):
        with pytest.raises(ValueError, match="the name of a metric"):
            one.metric(name, 1)
    for value in (float("nan"), float("inf"), 1e13, -1e13):
        with pytest.raises(ValueError, match="what is added to a metric"):
            one.metric("a", value)
    for n in range(3 * METRICS_MAX):
        one.metric(f"n{n}", 1)
        one.metric("n0", 1)
    one.settle(kept=True)
    counted = one.counted()
    assert (len(counted), counted["n0"]) == (METRICS_MAX, (3 * METRICS_MAX + 1) * MILLION)
    (notice,) = [e.message for e in events if isinstance(e, Noticed)]
    assert "more than 100 metrics" in notice


def test_of_tagged_values_nothing_is_counted(events: list[Event]) -> None:
    one = host(events, hides=True)
    one.metric("alice", 1)
    one.metric("bob", 1)
    one.settle(kept=True)
    assert one.counted() == {}
    (notice,) = [e.message for e in events if isinstance(e, Noticed)]
    assert "not told" in notice


def test_the_ledger_knows_no_balance_of_them() -> None:
    kinds = {"in": 1, "out": 1, "metric.a": 5 * MILLION, "metric.b": 1, "rule.a": 3}
    check_node("n", kinds, ())
    assert metrics(kinds) == {"a": 5, "b": 1e-06}
