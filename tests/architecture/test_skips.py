"""The watch over skipped tests does what tests/conftest.py says, run on small suites of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
SUITE = """
import pytest

def test_runs(): pass

@pytest.mark.skip(reason="the server sleeps")
def test_skips(): pass
"""


def run(folder: Path, expected: str, *, strict: str = "1", options: tuple[str, ...] = ()) -> tuple[int, str]:
    """Run the small suite in a process of its own; return the exit status and what it printed."""
    (folder / "tests").mkdir()
    shutil.copy(CONFTEST, folder / "tests" / "conftest.py")
    (folder / "tests" / "expected_skips.txt").write_text(expected)
    (folder / "tests" / "test_small.py").write_text(SUITE)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, "tests"]
    surroundings = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    surroundings["DATAFLARE_STRICT_SKIPS"] = strict
    done = subprocess.run(command, cwd=folder, env=surroundings, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def test_a_skip_that_nobody_expects_fails_the_run_and_is_named(tmp_path: Path) -> None:
    status, text = run(tmp_path, "# nothing\n")
    assert status == 1
    assert "tests/test_small.py::test_skips: Skipped: the server sleeps" in text


def test_a_skip_in_a_worker_process_is_seen_too(tmp_path: Path) -> None:
    status, text = run(tmp_path, "", options=("-n", "1"))
    assert status == 1
    assert "tests/test_small.py::test_skips" in text


@pytest.mark.parametrize("line", ["tests/test_small.py::test_skips", "tests/test_small.py  # why"])
def test_a_listed_skip_passes(tmp_path: Path, line: str) -> None:
    assert run(tmp_path, line)[0] == 0


def test_skips_are_only_reported_where_nobody_asks_for_more(tmp_path: Path) -> None:
    assert run(tmp_path, "", strict="0")[0] == 0
