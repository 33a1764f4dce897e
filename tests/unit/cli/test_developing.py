"""`run --dev` follows changes of the workflow and of what it needs, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dataflare.cli.main import main
from dataflare.cli.watching import Watch
from dataflare.component import Registry
from dataflare.workflow import plan_or_raise

DATAFLARE = Path(sys.executable).with_name("dataflare")
WORKFLOW = """\
id: prices
sources:
  items: {type: file, config: {path: items.csv, columns: {id: int64, price: int64}}}
  names: {type: file, config: {path: names.csv, columns: {id: int64, name: string}}}
transformations:
  priced: {type: python, inputs: [items], config: {module: pricing.py}}
  named: {type: enrichment, inputs: [priced], lookup: names, config: {keys: {id: id}}}
destinations:
  out: {type: file, inputs: [named], config: {path: result, format: jsonl}}
"""
CODE = "def process(record):\n    record['price'] *= 2\n    return record\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "prices.yaml").write_text(WORKFLOW)
    (tmp_path / "pricing.py").write_text(CODE)
    (tmp_path / "items.csv").write_text("id,price\n1,5\n")
    (tmp_path / "names.csv").write_text("id,name\n1,Ada\n")
    return tmp_path


def told(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.stderr.read() if process.stderr else ""
    found: dict[str, Any] = json.loads(line)
    return found


def change(path: Path, text: str) -> None:
    """Replace a file as editors do."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def test_each_change_is_shown_and_nothing_is_written(folder: Path) -> None:
    before = sorted(folder.iterdir())
    command = [DATAFLARE, "run", "--dev", "--json", "prices.yaml"]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert told(process)["rows"] == {"out": [{"id": 1, "price": 10, "name": "Ada"}]}

        change(folder / "names.csv", "id,name\n1,Bo\n")
        assert told(process)["rows"]["out"] == [{"id": 1, "price": 10, "name": "Bo"}]

        change(folder / "pricing.py", CODE.replace("2", "3"))
        assert told(process)["rows"]["out"] == [{"id": 1, "price": 15, "name": "Bo"}]

        change(folder / "prices.yaml", WORKFLOW.replace("[named]", "[nmaed]"))
        wrong = told(process)
        assert (wrong["valid"], wrong["rows"]) == (False, {})
        assert [f["code"] for f in wrong["findings"] if f["severity"] == "error"] == ["workflow.unknown_input"]

        change(folder / "prices.yaml", WORKFLOW.replace("keys:", "prefix: n_, keys:"))
        assert told(process)["rows"]["out"] == [{"id": 1, "price": 15, "n_name": "Bo"}]

        change(folder / "pricing.py", "def process(record)\n")
        wrong = told(process)
        assert not wrong["valid"]
        assert any("pricing.py" in f["message"] for f in wrong["findings"])

        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert sorted(folder.iterdir()) == before


def test_for_people_it_shows_rows_tests_and_what_changed(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataflare.cli import developing

    file = folder / "prices.yaml"
    tests = (
        "tests:\n  - {name: doubles, given: {items: [{id: 1, price: 2}], names: []}, expect: {priced: [{price: 4}]}}\n"
    )
    file.write_text(WORKFLOW + tests)
    looks = iter(range(3))

    def wait(seconds: float) -> None:
        del seconds
        match next(looks, None):
            case 0:
                (folder / "items.csv").write_text("id,price\n")
            case None:
                raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            developing.dev_command(file, as_json=False, wait=wait)
    finally:
        signal.signal(signal.SIGINT, before)
    said = capsys.readouterr().out
    assert "id  price  name\n1   10     Ada" in said
    assert "ok    doubles" in said
    assert "items.csv changed" in said
    assert "no rows come here" in said


def test_a_component_whose_module_is_broken_is_a_finding(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "broken_for_test.py").write_text("class Rows(:\n")
    text = WORKFLOW.replace(
        "type: file, config: {path: names.csv", 'type: "python:broken_for_test:Rows", config: {path: x'
    )
    (folder / "prices.yaml").write_text(text)
    assert main(["validate", str(folder / "prices.yaml")]) == 2
    assert "SyntaxError" in capsys.readouterr().out


def test_files_that_come_go_and_change_are_told_once(folder: Path) -> None:
    watch = Watch(folder / "prices.yaml")
    plan = plan_or_raise(folder / "prices.yaml", registry=Registry.installed(), environ={}, level="plan")
    watch.know(plan)
    assert watch.changed() == []
    (folder / "names.csv").write_text("id,name\n2,Bo\n")
    (folder / "pricing.py").unlink()
    (folder / "deep").mkdir()
    (folder / "deep" / "more.py").write_text("")
    assert [Path(n).name for n in watch.changed()] == ["more.py", "names.csv", "pricing.py"]
    assert watch.changed() == []


def test_what_is_not_of_the_workflow_is_not_watched(folder: Path) -> None:
    watch = Watch(folder / "prices.yaml")
    for name in ("venv/pyvenv.cfg", "venv/lib/x.py", ".git/x.py", "__pycache__/x.py", "out/x.json", "result/x.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    assert watch.changed() == []


def test_a_change_between_the_plan_and_the_look_is_told(folder: Path) -> None:
    watch = Watch(folder / "prices.yaml")
    plan = plan_or_raise(folder / "prices.yaml", registry=Registry.installed(), environ={}, level="plan")
    (folder / "prices.yaml").write_text(WORKFLOW + "\n")
    os.utime(folder / "prices.yaml", (1, 1))
    watch.know(plan)
    assert [Path(n).name for n in watch.changed()] == ["prices.yaml"]
