"""What a plugin may use besides its rows: nothing that was not granted, and no more of a folder than it has in it."""

from __future__ import annotations

import os

import pytest

from dataflare.errors import WorkflowError
from dataflare.plugin.grants import GrantedFolder, Grants


@pytest.fixture
def home(tmp_path):
    """Return the folder of a workflow, with a folder `rates` and one beside it."""
    for name in ("flow/rates/deep", "flow/.dataflare", "other", "cache"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path / "flow"


def granted(home, *paths, write=False, **more):
    files = tuple(GrantedFolder(path, f"/at{n}", write) for n, path in enumerate(paths))
    return Grants.checked(Grants(files, **more), home, (home / ".dataflare", home.parent / "cache"))


def test_paths_become_real_ones(home):
    (home / "link").symlink_to("rates")
    found = granted(home, "rates", "link/deep", str(home.parent / "other"))
    assert [f.path for f in found.files] == [
        str(home / "rates"),
        str(home / "rates" / "deep"),
        str(home.parent / "other"),
    ]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("nothing", "is not there"),
        ("file", "is no folder"),
        ("../other", "outside of the workflow's folder"),
        ("out", "outside of the workflow's folder"),
        ("loop", "is not there"),
        (".dataflare", "not for plugins"),
        (".", "not for plugins"),
        ("state", "not for plugins"),
        ("/", "not for plugins"),
        ("/proc/self", "not for plugins"),
        ("/dev", "not for plugins"),
        ("pipes", "a pipe or a device"),
        ("a\0b", "is not there"),
    ],
)
def test_a_folder_that_is_not_for_plugins_is_refused(home, path, why):
    (home / "file").write_text("")
    (home / "out").symlink_to("../other")
    (home / "loop").symlink_to("loop")
    (home / "state").symlink_to(".dataflare")
    (home / "pipes" / "in").mkdir(parents=True)
    os.mkfifo(home / "pipes" / "in" / "pipe")
    with pytest.raises(WorkflowError, match=why):
        granted(home, path)


def test_the_folder_of_the_cache_is_refused_by_each_of_its_names(home):
    for path in (home.parent / "cache", home.parent):
        with pytest.raises(WorkflowError, match="not for plugins"):
            granted(home, str(path))


def test_the_workflow_itself_is_not_written(home):
    (home / ".dataflare").rmdir()
    files = (GrantedFolder(str(home), "/home", write=True),)
    with pytest.raises(WorkflowError, match="the workflow lies in it"):
        Grants.checked(Grants(files), home)


def test_no_folder_lies_in_one_that_may_be_written(home):
    with pytest.raises(WorkflowError, match="which the plugin may write"):
        granted(home, "rates", "rates/deep", write=True)
    with pytest.raises(WorkflowError, match="which the plugin may write"):
        granted(home, "rates/deep", "rates", write=True)
    assert len(granted(home, "rates", "rates/deep").files) == 2


@pytest.mark.parametrize("at", ["rates", "/a/../b", "", "/a\0"])
def test_a_folder_has_a_place_in_the_plugin(home, at):
    with pytest.raises(WorkflowError, match="cannot have a folder at"):
        Grants.checked(Grants((GrantedFolder("rates", at),)), home)


def test_two_folders_are_not_at_one_place(home):
    with pytest.raises(WorkflowError, match="two folders are granted at '/a'"):
        Grants.checked(Grants((GrantedFolder("rates", "/a"), GrantedFolder("rates/deep", "/a/"))), home)


@pytest.mark.parametrize(("name", "text"), [("A=B", "hunter2"), ("", "hunter2"), ("A\0", "hunter2"), ("A", "hunter\0")])
def test_a_variable_that_cannot_be_one_is_refused_without_its_text(home, name, text):
    with pytest.raises(WorkflowError, match="cannot be granted as a variable") as told:
        granted(home, env={name: text})
    assert text not in str(told.value)


def test_what_a_variable_holds_is_in_no_text_about_it(home):
    found = granted(home, "rates", env={"KEY": "hunter2"}, clock=True)
    assert "hunter2" not in repr(found) + str(found.words())
    assert found.words() == [f"files {home / 'rates'} at /at0", "variable KEY", "the clock"]


@pytest.mark.parametrize("swapped", ["rates", "rates/deep"])
def test_a_link_in_the_place_of_a_folder_is_not_followed(home, swapped):
    found = granted(home, "rates/deep")
    with found.wasi():
        pass
    (home / swapped).rename(home / "away")
    (home / swapped).symlink_to(home.parent / "other")
    (home.parent / "other" / "deep").mkdir()
    with pytest.raises(WorkflowError, match="no folder any more"), found.wasi():
        pass


def test_a_folder_that_is_gone_is_told(home):
    found = granted(home, "rates/deep")
    (home / "rates" / "deep").rmdir()
    with pytest.raises(WorkflowError, match="No such file"), found.wasi():
        pass
