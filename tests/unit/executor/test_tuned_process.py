"""What a run asks of its process: no searches for what is not there, files enough, and all as before in the end."""

from __future__ import annotations

import importlib.util
import resource
import sys
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.executor.local import SWITCH_SECONDS, tuned_process

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


class _Searches:
    """Notes which modules are looked for, and finds none."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        self.names.append(name)


def test_a_guessed_type_costs_no_search_of_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    searches = _Searches()
    monkeypatch.delitem(sys.modules, "dateutil", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(sys, "meta_path", [searches, *sys.meta_path])

    with tuned_process():
        pa.scalar(5)
        assert "dateutil" not in searches.names
    pa.scalar(5)
    assert "dateutil" in searches.names, "Arrow does not look for it any more: the tuning is needless"


def test_a_module_that_is_there_stays_in_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "dateutil", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())

    with tuned_process():
        assert "dateutil" not in sys.modules


def test_as_many_files_may_be_open_as_the_system_allows(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = 64
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, limits[1]))
    try:
        with tuned_process():
            files = [(tmp_path / str(n)).open("w") for n in range(few)]
            assert sys.getswitchinterval() == SWITCH_SECONDS
            for file in files:
                file.close()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (few, limits[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert sys.getswitchinterval() != SWITCH_SECONDS
