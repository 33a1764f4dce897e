"""A plan that is shown has no password of the workflow file in it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dataflare.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

WORKFLOW = """
id: shop
secrets: {s: {type: env}}
sources:
  one: {type: postgres, config: {url: "postgresql://me:hunter2@127.0.0.1:1/shop", table: a, columns: {id: int32}}}
  two: {type: mariadb, config: {url: "mysql://me@127.0.0.1/shop", password: hunter2, table: a, columns: {id: int32}}}
  three: {type: mariadb, config: {url: "mysql://me@h/shop", password: "${secret:s/P}", table: a, columns: {id: int32}}}
  four:
    type: http
    config:
      url: http://h/rows
      columns: {id: int32}
      auth: {type: api_key, name: X-Key, value: hunter2}
destinations: {out: {type: stdout, inputs: [one, two, three, four]}}
"""


def test_passwords_are_not_printed_and_references_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "workflow.yaml").write_text(WORKFLOW)
    assert main(["plan", str(tmp_path / "workflow.yaml"), "--level", "plan", "--json"]) == 0
    printed = capsys.readouterr().out
    assert "hunter2" not in printed
    told = {n["id"]: n["config"] for n in json.loads(printed)["nodes"]}
    assert told["one"]["url"] == "postgresql://me:***@127.0.0.1:1/shop"
    assert told["two"] | {"password": "***", "url": "mysql://me@127.0.0.1/shop"} == told["two"]
    assert told["three"]["password"] == "${secret:s/P}"
