"""What a plugin of C reaches by the functions of its library: what it was granted, and nothing beside it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from time import time

import pytest
from tests.integration.plugin.conftest import Run

import dataflare.plugin

SDK = Path(dataflare.plugin.__path__[0]) / "sdk"
COMPILE = ["clang-19", "--target=wasm32-wasi", "-O2", "-Wall", "-Wextra", "-Werror", "-mexec-model=reactor"]
FOLDER = {"path": "data", "at": "/rates"}
NOT_PERMITTED, NOT_THERE = "Operation not permitted", "No such file or directory"
pytestmark = pytest.mark.skipif(shutil.which("clang-19") is None, reason="needs clang-19 and wasi-libc")


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a module that does what its rows say."""
    made = tmp_path_factory.mktemp("probe") / "probe.wasm"
    source = Path(__file__).with_name("probe.c")
    subprocess.run([*COMPILE, "-I", str(SDK), str(source), "-o", str(made)], check=True)
    return made


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a folder with a file, beside a file that is not in it, and links to both."""
    folder = tmp_path / "data"
    (folder / "deep").mkdir(parents=True)
    (folder / "a").write_text("1.5")
    (tmp_path / "secret").write_text("hunter2")
    for name, to in (("in", "a"), ("up", "../secret"), ("absolute", str(tmp_path / "secret")), ("folder", "..")):
        (folder / name).symlink_to(to)
    return folder


def answers(run: Run, probe: Path, *asked: str, **config: object) -> dict[str, str]:
    """Return what came of each thing that the plugin tried, which all are rows that arrive."""
    found = run(probe, asked, timeout="2s", **config)
    assert found.code == 0, found.said
    assert len(found.witnessed) == len(asked)
    told = {row["id"]: row["name"] for row in found.good} | found.reasons
    return {one: told[number] for number, one in enumerate(asked)}


def test_without_grants_there_is_nothing(ran: Run, probe: Path, data: Path) -> None:
    tried = ("read /rates/a", "read a", "read /etc/passwd", "read ../secret", "list /", "list .", "write /tmp/x")
    found = answers(ran, probe, *tried, "environ all", "env PATH")
    assert {found.pop(one) for one in tried} == {NOT_THERE}
    assert found == {"environ all": "", "env PATH": "(none)"}


def test_a_folder_that_is_granted_is_read_and_not_written(ran: Run, probe: Path, data: Path) -> None:
    kept = ("write /rates/new", "write /rates/a", "unlink /rates/a", "mkdir /rates/b", "rmdir /rates/deep")
    moved = ("rename /rates/a /rates/b", "symlink /rates/l a", "link /rates/l /rates/a")
    found = answers(ran, probe, "read /rates/a", "read /rates/in", *kept, *moved, grants={"files": [FOLDER]})
    assert (found.pop("read /rates/a"), found.pop("read /rates/in")) == ("1.5", "1.5")
    assert set(found.values()) == {NOT_PERMITTED}
    assert sorted(p.name for p in data.iterdir()) == ["a", "absolute", "deep", "folder", "in", "up"]


@pytest.mark.parametrize("write", [False, True])
def test_nothing_leads_out_of_a_folder(ran: Run, probe: Path, data: Path, write: bool) -> None:
    reading = ("up", "absolute", "folder/secret", "../secret", "deep/../../secret", "folder/data/a")
    tried = [f"read /rates/{path}" for path in reading]
    tried += [
        "write /rates/up",
        "write /rates/folder/new",
        "unlink /rates/folder/secret",
        "link /rates/l /rates/../secret",
    ]
    tried += ["rename /rates/folder/secret /rates/s", "rename /rates/a /rates/../a", "symlink /rates/l /etc/passwd"]
    found = answers(ran, probe, *tried, grants={"files": [{**FOLDER, "write": write}]})
    assert set(found.values()) == {NOT_PERMITTED}
    assert (data.parent / "secret").read_text() == "hunter2"
    assert not (data / "l").is_symlink()


def test_a_link_that_the_plugin_makes_leads_nowhere_either(ran: Run, probe: Path, data: Path) -> None:
    tried = (
        "symlink /rates/out ../secret",
        "read /rates/out",
        "unlink /rates/a",
        "symlink /rates/a ../secret",
        "read /rates/a",
    )
    found = answers(ran, probe, *tried, grants={"files": [{**FOLDER, "write": True}]})
    assert found["read /rates/out"] == found["read /rates/a"] == NOT_PERMITTED


def test_a_file_that_becomes_a_link_while_the_plugin_runs_is_not_followed(ran: Run, probe: Path, data: Path) -> None:
    """The name is swapped all the time between a file and a link that leads out: no read may ever follow it."""
    swapping = subprocess.Popen(
        ["sh", "-c", "while :; do ln -sf ../secret n; mv -f n x; printf 1.5 > n; mv -f n x; done"], cwd=data
    )
    try:
        found = ran(probe, ["read /rates/x"] * 3000, timeout="5s", grants={"files": [FOLDER]})
    finally:
        swapping.kill()
        swapping.wait()
    assert found.code == 0, found.said
    seen = {row["name"] for row in found.good}
    assert seen <= {"1.5", NOT_PERMITTED, NOT_THERE, ""}
    assert {"1.5", NOT_PERMITTED} <= seen


def test_what_may_be_written_is_written(ran: Run, probe: Path, data: Path) -> None:
    found = answers(
        ran, probe, "write /rates/deep/new", "unlink /rates/a", grants={"files": [{**FOLDER, "write": True}]}
    )
    assert found == {"write /rates/deep/new": "written", "unlink /rates/a": "gone"}
    assert (data / "deep" / "new").read_text() == "written"
    assert not (data / "a").exists()


def test_the_clock_tells_the_time_of_day_if_it_is_granted_and_nobody_waits(ran: Run, probe: Path, data: Path) -> None:
    found = answers(ran, probe, "time real", "sleep long", "time monotonic", grants={"clock": True})
    assert abs(int(found["time real"]) - time()) < 3600
    assert found["sleep long"] == "stopped: a plugin may not wait: a waiting call cannot be stopped"
    assert abs(int(found["time monotonic"]) - time()) > 3600  # counts from when it began


def test_without_the_clock_both_clocks_tell_the_time_of_the_epoch(ran: Run, probe: Path) -> None:
    found = answers(ran, probe, "time real", "time monotonic")
    assert found["time real"] == found["time monotonic"]


def test_a_secret_becomes_a_variable_and_is_told_nowhere(
    ran: Run, probe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOSTILE_KEY", "hunter2-hunter2")
    grants = {"env": {"KEY": "${secret:vault/KEY}", "REGION": "eu"}}
    found = answers(ran, probe, "env REGION", "environ all", "env KEY", grants=grants)
    assert found == {"env REGION": "eu", "environ all": "KEY=hunter2-hunter2REGION=eu", "env KEY": "hunter2-hunter2"}

    for verb in (("plan",), ("validate",), ("validate", "--level", "sample")):
        told = ran(probe, ["a"], verb=verb, grants=grants).said
        assert "hunter2" not in told
        assert ("variable KEY" in told) == (verb == ("plan",))
    for action, code in (("fail", 1), ("skip", 0), ("dead_letter", 0)):
        thrown = ran(probe, ["fail KEY"], action=action, grants=grants)
        assert "***" in thrown.said
        assert "hunter2" not in thrown.said + json.dumps(thrown.bad[-1:])
        assert bool(thrown.code) == bool(code)


def test_plan_and_validate_tell_what_grants_do_to_delivery(ran: Run, probe: Path, data: Path) -> None:
    grants = {"files": [{**FOLDER, "write": True}], "clock": True}
    told = ran(probe, ["a"], verb=("plan",), grants=grants).said
    assert "files data at /rates (may write)" in told
    assert "the clock" in told
    assert "results may hang on files that it is granted and on the time of day" in told
    told = ran(probe, ["a"], verb=("validate", "--level", "sample"), grants=grants).said
    assert "its plugin may write files in data, which are no part of an epoch" in told
    assert "plugin" not in ran(probe, ["a"], verb=("validate", "--level", "sample")).said


@pytest.mark.parametrize(
    ("folder", "why"),
    [
        ({"path": "nothing", "at": "/a"}, "is granted, and is not there"),
        ({"path": ".dataflare", "at": "/a"}, "is not for plugins"),
        ({"path": "..", "at": "/a"}, "lies outside of the workflow's folder"),
        ({"path": "pipes", "at": "/a"}, "is a pipe or a device"),
    ],
)
def test_a_grant_that_cannot_be_is_told_before_a_row_moves(
    ran: Run, probe: Path, tmp_path: Path, folder: dict[str, str], why: str
) -> None:
    for name in (".dataflare", "pipes"):
        (tmp_path / name).mkdir()
    os.mkfifo(tmp_path / "pipes" / "one")
    for verb in (("validate", "--level", "sample"), ("run",)):
        found = ran(probe, ["a"], verb=verb, grants={"files": [folder]})
        assert found.code == 2
        assert why in found.said
