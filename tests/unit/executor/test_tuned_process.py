"""What a run asks of its process: files enough, threads that take turns, and all as before in the end."""

from __future__ import annotations

import resource
import sys
from typing import TYPE_CHECKING

from dataflare.executor.local import SWITCH_SECONDS, tuned_process

if TYPE_CHECKING:
    from pathlib import Path


def test_as_many_files_may_be_open_as_the_system_allows(tmp_path: Path) -> None:
    limits, interval = resource.getrlimit(resource.RLIMIT_NOFILE), sys.getswitchinterval()
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
    assert sys.getswitchinterval() == interval


def test_runs_that_overlap_leave_the_process_as_it_was_before_the_first() -> None:
    interval = sys.getswitchinterval()
    first, second = tuned_process(), tuned_process()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert sys.getswitchinterval() == SWITCH_SECONDS, "one of them goes on"
    second.__exit__(None, None, None)
    assert sys.getswitchinterval() == interval
