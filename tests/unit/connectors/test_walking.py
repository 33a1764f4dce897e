"""Folders are walked in the order of whole paths, with few names in memory at a time."""

from __future__ import annotations

import glob
import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflare.connectors.file import walking
from dataflare.connectors.file.walking import Pattern, walk

NAMES = st.sampled_from(["a", "a-b", "a.csv", "b", "b.csv", "a0", ".h", "ü.csv", "[x"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
PARTS = st.sampled_from(["*", "**", "a*", "*.csv", "a", "?.csv", "[ab].csv", ".*", "b"])


def made(folder, paths):
    for path in paths:
        file = folder / path
        if any(p.is_file() for p in file.parents) or file.exists():
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
    return folder


def below(folder, pattern, after=""):
    return [
        p.removeprefix(f"{folder}/") for p in walk(*Pattern.of(f"{folder}/{pattern}"), after and f"{folder}/{after}")
    ]


@given(paths=st.sets(PATHS, max_size=12), parts=st.lists(PARTS, min_size=1, max_size=3), window=st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_the_files_are_those_of_glob_in_order_and_any_tail_of_them(tmp_path_factory, paths, parts, window):
    folder = made(tmp_path_factory.mktemp("walked"), sorted(paths))
    pattern = "/".join(parts)
    found = glob.glob(f"{glob.escape(str(folder))}/{pattern}", recursive=True)  # noqa: PTH207 - the reference
    found = [p for p in found if os.path.isfile(p)]  # noqa: PTH113 - Path drops the "/" with which glob ends a file
    expected = sorted({str(Path(p).relative_to(folder)) for p in found})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walking, "WINDOW", window)
        assert below(folder, pattern) == expected
        for number, name in enumerate(expected):
            assert below(folder, pattern, after=name) == expected[number + 1 :]


def test_a_link_that_leads_back_is_not_followed_and_others_are(tmp_path):
    folder = made(tmp_path / "in", ["a/x.csv", "b/y.csv"])
    (folder / "a" / "back").symlink_to(folder)
    (folder / "b" / "over").symlink_to(folder / "a")
    assert below(folder, "**/*.csv") == ["a/x.csv", "b/over/x.csv", "b/y.csv"]


def test_a_glob_may_begin_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(made(tmp_path, ["b.csv", "a/x.csv", "a.csv"]))
    assert list(walk(*Pattern.of("*.csv"))) == ["a.csv", "b.csv"]
    assert list(walk(*Pattern.of("**/*.csv"))) == ["a.csv", "a/x.csv", "b.csv"]
    assert list(walk(*Pattern.of("**/*.csv"), "a.csv")) == ["a/x.csv", "b.csv"]


@pytest.mark.once
def test_a_folder_of_many_files_takes_little_memory(tmp_path, monkeypatch):
    for number in range(10_000):
        (tmp_path / f"{number:06}.csv").touch()
    monkeypatch.setattr(walking, "WINDOW", 200)
    tracemalloc.start()
    try:
        assert sum(1 for _ in walk(*Pattern.of(f"{tmp_path}/*.csv"))) == 10_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 19  # all names at once: 2 MB
