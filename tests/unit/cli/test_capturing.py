"""`cdc` commands say of which source an error is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dataflare.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

WORKFLOW = """
id: shop
sources: {orders: {type: postgres, mode: cdc, config: {url: "postgresql://u@127.0.0.1:1/shop", table: orders}}}
destinations: {out: {type: file, inputs: [orders], config: {path: out, format: jsonl}}}
"""


@pytest.mark.parametrize("command", [["status"], ["drop", "--yes"]])
def test_a_server_that_is_down_is_told_with_the_source(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "workflow.yaml"
    file.write_text(WORKFLOW)
    assert main(["cdc", command[0], str(file), *command[1:], "--json"]) == 3
    assert json.loads(capsys.readouterr().err)["path"] == "orders"
