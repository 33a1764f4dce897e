"""Every mistake in these files, with its line, column, code and cure, as people and as programs read it.

To take over what is said now: DATAFLARE_GOLDEN=write python -m pytest tests/golden/test_findings.py, then read the
difference.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dataflare.cli.main import main

FOLDER = Path(__file__).parent / "findings"
FILES = sorted(p.name for p in FOLDER.iterdir() if p.suffix in (".yaml", ".json") and ".said." not in p.name)
WRITE = os.environ.get("DATAFLARE_GOLDEN") == "write"


@pytest.fixture(autouse=True)
def _place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    for name in ("DATAFLARE_LANG", "LC_ALL", "LC_MESSAGES", "LANG", "NOBODY_SET_THIS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FOLDER", "/data")


def compare(name: str, said: str) -> None:
    file = FOLDER / name
    if WRITE:
        file.write_text(said)
    assert said == file.read_text()


@pytest.mark.parametrize("name", FILES)
def test_what_is_said_to_people(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", name]) == 2
    compare(f"{name}.said.txt", capsys.readouterr().out)


@pytest.mark.parametrize("name", FILES)
def test_what_is_said_to_programs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", name, "--json"]) == 2
    said = json.loads(capsys.readouterr().out)
    assert said["valid"] is False
    lines = [json.dumps(f, ensure_ascii=False) for f in said["findings"]]
    compare(f"{name}.said.jsonl", "\n".join(lines) + "\n")


def test_each_error_says_where_it_is_and_what_helps(capsys: pytest.CaptureFixture[str]) -> None:
    main(["validate", "mistakes.yaml", "--json"])
    found = json.loads(capsys.readouterr().out)["findings"]
    errors = [f for f in found if f["severity"] == "error"]
    assert len(errors) >= 40
    assert len({f["code"] for f in errors}) >= 20
    assert [f for f in errors if not (f["line"] and f["column"])] == []
    plain = ("workflow.invalid_value", "workflow.not_one_of")  # what is wrong says what is right
    assert [f["message"] for f in errors if not f["hint"] and f["code"] not in plain] == []
