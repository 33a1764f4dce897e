"""Workflows that judge rows, through the command line: what becomes of them, what is told, and when a run fails."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.chaos.processes import dataflare, lines, run

if TYPE_CHECKING:
    from pathlib import Path

WORKFLOW = """
id: judge
sources:
  orders: {type: file, config: {path: in.jsonl, format: jsonl, columns: {id: int64, status: string, amount: int64}}}
transformations:
  judged:
    type: validate
    inputs: [orders]
    config: %s
    on_error: {action: %s}
destinations:
  out: {type: file, inputs: [judged], config: {path: out, format: jsonl}}
"""
DEAD = "  dead: {type: file, inputs: [judged.errors], config: {path: dead, format: jsonl}}\n"
RULES: dict[str, Any] = {
    "has_id": {"columns": "id", "not_null": True},
    "known": {"columns": "status", "values": ["paid", "open"]},
    "small": {"columns": "amount", "max": 100, "severity": "warn"},
}
ROWS = [
    {"id": 1, "status": "paid", "amount": 5},
    {"id": None, "status": "lost", "amount": 5},
    {"id": 3, "status": "open", "amount": 500},
    {"id": 4, "status": None, "amount": None},
]


def write(folder: Path, config: dict[str, Any], action: str = "dead_letter") -> None:
    """Write the rows and the workflow."""
    (folder / "in.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    dead = DEAD if action == "dead_letter" else ""
    (folder / "workflow.yaml").write_text(WORKFLOW % (json.dumps(config), action) + dead)


def test_a_row_that_fails_rules_leaves_with_their_names(tmp_path: Path) -> None:
    write(tmp_path, {"rules": RULES, "warnings": "doubts"})
    done = run(tmp_path)
    assert done.code == 0, done.err
    assert [(r["id"], r["doubts"]) for r in lines(tmp_path / "out")] == [(1, None), (3, "small"), (4, None)]
    (dead,) = lines(tmp_path / "dead")
    assert dead["error"] == "rule 'has_id': id is null; rule 'known': status is none of the accepted values"
    assert json.loads(dead["row"]) == ROWS[1]
    assert done.rows("judged") == {"in": 4, "out": 3, "dead": 1}
    assert done.summary["rules"] == {"judged": {"has_id": 1, "known": 1, "small": 1}}


def test_the_summary_for_people_has_the_rules_that_rows_fail(tmp_path: Path) -> None:
    write(tmp_path, {"rules": RULES | {"idle": {"check": "true"}}}, "skip")
    done = dataflare(tmp_path, "run", "workflow.yaml")
    assert done.code == 0, done.err
    table = done.out[done.out.index("node    rule") :].splitlines()
    assert [line.split() for line in table[1:4]] == [
        ["judged", "has_id", "error", "1"],
        ["judged", "known", "error", "1"],
        ["judged", "small", "warn", "1"],
    ]
    assert "idle" not in done.out


def test_without_a_dead_letter_the_first_row_ends_the_run(tmp_path: Path) -> None:
    write(tmp_path, {"rules": RULES}, "fail")
    done = run(tmp_path)
    assert done.code == 1
    assert done.summary["error"]["message"] == "rule 'has_id': id is null (row 1 of its batch)"
    assert lines(tmp_path / "out") == []


def test_what_is_expected_of_all_rows_fails_the_run_before_its_last_epoch(tmp_path: Path) -> None:
    write(tmp_path, {"rules": RULES, "expect": {"rows": {"min": 5}, "rejected_max": "1%"}})
    done = run(tmp_path)
    assert done.code == 1
    message = done.summary["error"]["message"]
    assert "4 rows came in, fewer than 5; 1 of 4 rows were rejected, more than 1.00%" in message
    assert done.summary["error"]["path"] == "judged"
    assert lines(tmp_path / "out") == []


def test_a_share_of_rows_may_fail_a_rule(tmp_path: Path) -> None:
    rule = {"columns": "amount", "max": 100, "severity": "warn"}
    write(tmp_path, {"rules": {"small": rule | {"rate_max": "25%"}}})
    assert run(tmp_path).code == 0
    write(tmp_path, {"rules": {"small": rule | {"rate_max": "24%"}}})
    done = run(tmp_path)
    assert done.code == 1
    assert "1 of 4 rows fail the rule 'small', more than 24.00%" in done.summary["error"]["message"]


def test_all_mistakes_in_rules_are_told_each_with_its_place(tmp_path: Path) -> None:
    write(tmp_path, {"rules": {"positive": {"check": "amout > 0"}, "odd": {"columns": "sttus", "not_null": True}}})
    done = dataflare(tmp_path, "validate", "workflow.yaml", "--json")
    assert done.code == 2
    findings = json.loads(done.out)["findings"]
    assert [f["message"].splitlines()[0] for f in findings] == [
        "judged: rule 'positive': there is no column 'amout'",
        "judged: rule 'odd': columns: there is no column 'sttus'",
    ]
    assert findings[0]["column"] < findings[1]["column"]
