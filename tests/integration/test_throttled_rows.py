"""A workflow whose rows wait: it is stopped at once, keeps what waits, and goes on with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos.processes import begin, ended, lines, press_ctrl_c, run, wait_until

if TYPE_CHECKING:
    from pathlib import Path

WORKFLOW = """
id: slow
runtime: {parallelism: 2, checkpoint: {interval: 100ms}}
sources:
  rows: {type: generator, config: {rows: 5000, partitions: 2, columns: {id: {kind: sequence}}}}
transformations:
  held: {type: throttle, inputs: [rows], config: {rows_per_second: "${RATE}"}}
  counted: {type: aggregate, inputs: [held], config: {aggregations: {n: count(*)}}}
  told: {type: throttle, inputs: [counted], config: {rows_per_second: 100}}
destinations:
  out: {type: file, inputs: [held], config: {path: out, format: jsonl}}
  sum: {type: file, inputs: [told], config: {path: sum, format: jsonl}}
"""


def test_a_slow_run_is_stopped_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "workflow.yaml").write_text(WORKFLOW)
    process = begin(tmp_path, "run", "workflow.yaml", "--json", environ={"RATE": "20"})
    wait_until(lambda: bool(lines(tmp_path / "out")), process)
    press_ctrl_c(process)
    stopped = ended(process)
    assert stopped.code == 130
    assert stopped.summary["status"] == "stopped"
    before = stopped.rows("held")
    assert before["absorbed"] > 0
    assert 0 < len(lines(tmp_path / "out")) < 4000

    done = run(tmp_path, environ={"RATE": "1000000"})
    assert done.code == 0, done.err
    assert sorted(r["id"] for r in lines(tmp_path / "out")) == list(range(5000))
    assert lines(tmp_path / "sum") == [{"n": 5000}]
    rows = done.rows("held")
    assert (rows["in"], rows["out"], rows["absorbed"]) == (5000, 5000, rows["expanded"])
