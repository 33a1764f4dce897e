"""Runs the real command line in processes of its own, for tests that attack a run from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.chaos.forked import Forked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SECONDS_MAX = 60
CLI = "dataflare.cli.main:run"
COMMAND = [sys.executable, "-m", "dataflare.cli"]


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def summary(self) -> dict[str, Any]:
        """The last line of `run --json`."""
        return json.loads(self.out.splitlines()[-1])

    @property
    def error(self) -> dict[str, Any]:
        """The finding that a command with --json ended with."""
        return json.loads(self.err.splitlines()[-1])

    def rows(self, node: str) -> dict[str, int]:
        """Return how many rows a node counted, by fate; fates that no row had are left out."""
        return {k.removeprefix("rows_"): n for k, n in self.summary["nodes"][node].items() if n}


Process = Forked | subprocess.Popen[str]


def begin(folder: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> Forked:
    """Start a command in a folder, in a process group of its own, and return at once."""
    return Forked(CLI, *arguments, cwd=folder, environ={**os.environ, **(environ or {})})


def begin_anew(folder: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start a command as a shell does: with an interpreter that has imported nothing."""
    env = {**os.environ, **(environ or {})}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*COMMAND, *arguments], cwd=folder, env=env, start_new_session=True, **pipes)


def ended(process: Process) -> Ended:
    """Wait for a process; no traceback may ever reach a user."""
    out, err = process.communicate(timeout=SECONDS_MAX)
    assert "Traceback" not in err, err
    return Ended(process.returncode, out, err)


def dataflare(folder: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> Ended:
    """Run a command in a folder to its end."""
    return ended(begin(folder, *arguments, environ=environ))


def run(folder: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> Ended:
    """Run the workflow of a folder with --json."""
    return dataflare(folder, "run", "workflow.yaml", "--json", *arguments, environ=environ)


def wait_until(reached: Callable[[], bool], process: Process) -> None:
    """Wait for something that a process does; fail when it ends before, or does not do it in a minute."""
    deadline = time.monotonic() + SECONDS_MAX
    while not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def press_ctrl_c(process: Process) -> None:
    """Send SIGINT as a terminal does: to the process and all that it has started."""
    os.killpg(process.pid, signal.SIGINT)


def end(process: Process) -> None:
    """Kill a process that may still run, and wait for it."""
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.communicate()


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of the published files of JSON lines in a folder."""
    return [json.loads(line) for f in sorted(path.glob("part-*.jsonl")) for line in f.read_bytes().splitlines()]
