"""`preview`: rows at a node, as a table and as JSON, with tagged values hidden and nothing written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.unit.cli.workflows import VALID, workflow_in

from dataflare.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

TAGGED = VALID.replace("  raw:\n    type: file\n", "  raw:\n    type: file\n    tags: {amount: pii.salary}\n").replace(
    "destinations:",
    "  hidden: {type: mask, inputs: [paid], config: {rules: {pii.salary: {method: 'null'}}}}\ndestinations:",
)


def test_rows_of_a_node_are_shown_and_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = workflow_in(tmp_path)
    before = sorted(p.name for p in tmp_path.iterdir())
    assert main(["preview", str(file), "paid", "--rows", "2"]) == 0
    out, err = capsys.readouterr()
    assert [line.split() for line in out.splitlines()] == [["id", "amount"], ["1", "5"], ["3", "5"]]
    assert err == ""
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_with_json_each_row_is_an_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = workflow_in(tmp_path)
    assert main(["preview", str(file), "out", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows == [{"id": n, "amount": 5} for n in (1, 3, 5, 7, 9)]


def test_tagged_values_are_hidden(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = workflow_in(
        tmp_path, TAGGED.replace("inputs: [paid]\n    config: {path", "inputs: [hidden]\n    config: {path")
    )
    assert main(["preview", str(file), "raw", "--json"]) == 0
    out, err = capsys.readouterr()
    assert [json.loads(line)["amount"] for line in out.splitlines()] == ["***"] * 10
    assert "5" not in err


CHANGES = """\
id: orders
sources:
  raw:
    type: memory
    tags: {mail: pii.email}
    config:
      columns: {id: int64, status: string, mail: string}
      changes: {key: [id], before: true}
      rows:
        - {_op: read, id: 1, status: paid, mail: a@x}
        - {_op: update, id: 1, status: void, mail: b@x, _before: {id: 1, status: paid, mail: a@x}}
transformations:
  paid: {type: filter, inputs: [raw], config: {condition: status = 'paid'}}
  hidden: {type: mask, inputs: [paid], config: {rules: {pii: {method: redact}}}}
destinations:
  out: {type: file, inputs: [hidden], config: {path: out.jsonl}}
"""


def test_changes_are_shown_with_what_happened_and_the_former_row_hidden(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["preview", str(workflow_in(tmp_path, CHANGES)), "paid", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(r["_op"], r["mail"]) for r in rows] == [("read", "***"), ("delete", "***")]
    assert rows[1]["_before"] == {"id": 1, "status": "paid", "mail": "***"}


def test_a_node_that_is_not_there_is_said_with_those_that_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["preview", str(workflow_in(tmp_path)), "payd"]) == 2
    err = capsys.readouterr().err
    assert "there is no node 'payd'" in err
    assert "raw, paid, out" in err


def test_a_node_that_lets_nothing_through_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = workflow_in(tmp_path, VALID.replace("amount > 0", "amount > 100"))
    assert main(["preview", str(file), "paid"]) == 0
    assert capsys.readouterr().out == "no row comes out of paid\n"


def test_what_fails_on_the_way_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = workflow_in(tmp_path)
    (tmp_path / "orders.csv").write_text("id,amount\n1,5\n2,many\n")
    assert main(["preview", str(file), "paid"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "orders.csv:3" in err or "column 'amount'" in err
