"""`dataflare init` writes a workflow that runs at once, asks nobody who cannot answer, and overwrites nothing."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from dataflare.cli.main import main
from dataflare.cli.starting import FIRST, templates
from dataflare.component import Registry
from dataflare.workflow import load

DATAFLARE = Path(sys.executable).with_name("dataflare")
RUNNABLE = [name for name in templates() if "postgres" not in name]


def write(folder: Path, *words: str) -> int:
    return main(["init", str(folder), *words])


@pytest.mark.parametrize("name", templates())
def test_a_template_is_valid_and_its_tests_hold(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my shop"
    assert write(folder, "--template", name) == 0
    monkeypatch.setenv("SHOP_PASSWORD", "none")
    found = load(folder / "workflow.yaml", registry=Registry.installed(), environ={}, level="plan")
    assert [f for f in found.findings if f.severity != "info"] == []
    assert found.plan is not None
    assert found.plan.workflow == "my-shop"
    assert len(found.tests) >= 1
    assert main(["test", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert f"{len(found.tests)} passed" in out
    assert err == ""


@pytest.mark.parametrize("name", RUNNABLE)
def test_a_template_runs_as_it_is(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert write(tmp_path / "shop", "--template", name) == 0
    capsys.readouterr()
    assert main(["run", str(tmp_path / "shop" / "workflow.yaml"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["status"] == "succeeded"
    assert all(node["rows_in"] for node in told["nodes"].values())


@pytest.mark.parametrize("place", ["shop", ".", "deep/shop", "../shop"])
def test_a_folder_may_be_named_from_where_one_stands(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert write(Path(place)) == 0
    for _ in range(2):
        assert main(["run", f"{place}/workflow.yaml"]) == 0, capsys.readouterr().err
    assert list((here / place / "out" / "orders").glob("*.parquet"))


@pytest.mark.parametrize("name", templates())
def test_what_a_template_leaves_behind_is_not_for_a_repository(name: str, tmp_path: Path) -> None:
    assert write(tmp_path, "--template", name) == 0
    document = yaml.safe_load((tmp_path / "workflow.yaml").read_text())
    written = [d["config"]["path"] for d in document["destinations"].values()]
    ignored = (tmp_path / ".gitignore").read_text().split()
    assert all(path.split("/")[0] + "/" in ignored for path in written)


def test_the_first_template_is_taken_where_nobody_can_be_asked(tmp_path: Path) -> None:
    done = subprocess.run(
        [DATAFLARE, "init"], cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"wrote {FIRST} into" in done.stdout
    assert "dataflare test workflow.yaml" in done.stdout


def test_on_a_terminal_it_asks_which_one(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen([DATAFLARE, "init", str(tmp_path / "new")], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.write(ours, b"2\n")
    said = b""
    with suppress(OSError):  # which Linux says at the end
        while more := os.read(ours, 1 << 16):
            said += more
    os.close(ours)
    assert process.wait(timeout=60) == 0, said
    assert f"wrote {list(templates())[1]} into" in said.decode().replace("\r", "").replace("\x1b[32m", "").replace(
        "\x1b[0m", ""
    )


@pytest.mark.parametrize("there", ["workflow.yaml", "data/orders-1.csv", "workflow.schema.json"])
def test_nothing_is_overwritten_and_then_nothing_is_written(
    there: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / there
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    assert write(tmp_path) == 2
    assert "is there already: nothing is written" in capsys.readouterr().err
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [file]
    assert file.read_text() == "mine"


def test_a_list_of_what_to_ignore_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("mine\n")
    assert write(tmp_path) == 0
    assert (tmp_path / ".gitignore").read_text() == "mine\n"


def test_an_unknown_template_and_a_folder_that_cannot_be_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert write(tmp_path, "--template", "enrhic") == 2
    assert "did you mean 'enrich'?" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert write(tmp_path / "file" / "folder") == 3
    assert "cannot be written" in capsys.readouterr().err


def test_the_list_has_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--list", "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [t["template"] for t in told] == list(templates())
    assert all(t["description"] for t in told)
    assert main(["init", "--list"]) == 0
    assert "postgres-to-parquet" in capsys.readouterr().out
