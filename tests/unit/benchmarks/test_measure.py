"""The measuring program counts the whole tree, and says how a command ended."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from benchmarks.measure import Cost, measured

if TYPE_CHECKING:
    from pathlib import Path

BURN = "import time\nwhile time.process_time() < 0.3: pass\n"


def cost(code: str, tmp_path: Path) -> Cost:
    return measured([sys.executable, "-c", code], os.environ, tmp_path / "run.log", limit_seconds=60)


def test_the_cpu_of_a_child_of_a_child_is_counted(tmp_path: Path) -> None:
    code = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BURN!r}], check=True)"
    assert cost(code, tmp_path).cpu_seconds >= 0.3


def test_a_daemon_that_outlives_its_parent_is_counted_and_ended(tmp_path: Path) -> None:
    daemon = f"{BURN}print('burnt', flush=True)\nimport signal\nsignal.pause()"
    code = (
        "import subprocess, sys\n"
        f"p = subprocess.Popen([sys.executable, '-c', {daemon!r}], stdout=subprocess.PIPE, start_new_session=True)\n"
        "p.stdout.readline()\nprint(p.pid)\nimport os\nos._exit(0)"
    )
    assert cost(code, tmp_path).cpu_seconds >= 0.3
    assert not os.path.exists(f"/proc/{(tmp_path / 'run.log').read_text().strip()}")  # noqa: PTH110


def test_the_peak_of_memory_is_that_of_the_largest_moment(tmp_path: Path) -> None:
    assert cost("x = b'x' * (96 << 20)", tmp_path).rss_bytes_max >= 96 << 20


def test_how_a_command_ended_is_told_and_its_output_is_kept(tmp_path: Path) -> None:
    assert cost("import sys; sys.exit('no such file')", tmp_path).exit_status == 1
    assert "no such file" in (tmp_path / "run.log").read_text()
