"""Measures one command as a whole process tree: CPU seconds, wall seconds, peak memory.

It is a small program of its own, `python -I -S measure.py RESULT LIMIT -- COMMAND...`, standard library only: what the
caller has loaded is then in nobody's figures. It adopts the descendants that outlive their parents, so that daemons
are counted, and ends them when the command has ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Self

SAMPLE_SECONDS = 0.05
ADOPT_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run took; `cpu_seconds` is user and system time of the whole tree.

    `rss_bytes_max` is the largest sampled sum over the tree, in which shared pages count for each process, or the
    exact peak of the largest process where that is more.
    """

    wall_seconds: float
    cpu_seconds: float
    rss_bytes_max: int
    exit_status: int
    load_before: float
    server_cpu_seconds: float | None = None
    told: Mapping[str, float] = field(default_factory=dict)
    """What the command itself measured."""


@dataclass(frozen=True, slots=True)
class Process:
    """One line of /proc: CPU of its own, CPU of the children it waited for, resident memory."""

    parent: int
    own_seconds: float
    waited_seconds: float
    rss_bytes: int


def process(pid: int) -> Process | None:
    """Return what the kernel says of a process, or None if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = text[text.rindex(b")") + 2 :].split()
    user, system, waited_user, waited_system = (int(fields[n]) / TICKS for n in (11, 12, 13, 14))
    return Process(int(fields[1]), user + system, waited_user + waited_system, int(fields[21]) * PAGE_BYTES)


def descendants(pid: int) -> Iterator[int]:
    """Yield the processes below one, parents first; reads only the tree, so that sampling costs next to nothing."""
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                for child in (thread / "children").read_bytes().split():
                    yield int(child)
                    yield from descendants(int(child))


class Watch:
    """Samples the tree below this process until told to stop."""

    def __init__(self) -> None:
        self.rss_bytes_max = 0
        self._cpu: dict[int, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def cpu_seconds(self) -> float:
        """CPU of every process that was seen: a lower bound, needed where a parent does not wait for its children."""
        return sum(self._cpu.values())

    def _run(self) -> None:
        while not self._stop.is_set():
            self.sample()
            self._stop.wait(SAMPLE_SECONDS)

    def sample(self) -> None:
        """Look once."""
        found = {pid: state for pid in descendants(os.getpid()) if (state := process(pid))}
        self.rss_bytes_max = max(self.rss_bytes_max, sum(state.rss_bytes for state in found.values()))
        self._cpu.update((pid, state.own_seconds) for pid, state in found.items())


def end_descendants() -> None:
    """End what the command left running, and wait for it, so that its CPU is counted."""
    for attempt in range(100):
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        left = list(descendants(os.getpid()))
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM if attempt < 50 else signal.SIGKILL)
        time.sleep(0.1)


def run(command: Sequence[str], limit_seconds: float) -> Cost:
    """Run the command to its end, or to the limit, and everything that it started with it."""
    ctypes.CDLL(None, use_errno=True).prctl(ADOPT_ORPHANS, 1, 0, 0, 0)
    load = os.getloadavg()[0]
    with Watch() as watch:
        start = time.perf_counter()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        timer = threading.Timer(limit_seconds, child.kill)
        timer.start()
        status = child.wait()
        wall = time.perf_counter() - start
        timer.cancel()
        watch.sample()
    end_descendants()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(
        wall_seconds=wall,
        cpu_seconds=max(used.ru_utime + used.ru_stime, watch.cpu_seconds),
        rss_bytes_max=max(watch.rss_bytes_max, used.ru_maxrss * 1024),
        exit_status=status,
        load_before=load,
    )


def measured(command: Sequence[str], environ: Mapping[str, str], log: Path, limit_seconds: float = 900.0) -> Cost:
    """Measure a command in a process of its own; its output goes to the log, its standard input is empty."""
    log.parent.mkdir(parents=True, exist_ok=True)
    result = log.with_suffix(".json")
    result.unlink(missing_ok=True)
    program = [sys.executable, "-I", "-S", __file__, str(result), str(limit_seconds), "--", *command]
    with log.open("wb") as output:
        subprocess.run(program, env={**environ}, stdout=output, stderr=subprocess.STDOUT, check=True)
    return Cost(**json.loads(result.read_text()))


def tree_cpu_seconds(root: int) -> float:
    """Return the CPU of a process, of those below it, and of those that they waited for: a server, before and after."""
    found = [process(pid) for pid in (root, *descendants(root))]
    return sum(state.own_seconds + state.waited_seconds for state in found if state)


def main(arguments: list[str]) -> None:
    """Run as the small program: RESULT LIMIT -- COMMAND..."""
    result, limit, _, *command = arguments
    Path(result).write_text(json.dumps(asdict(run(command, float(limit)))))


if __name__ == "__main__":
    main(sys.argv[1:])
