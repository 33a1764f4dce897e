"""What a workload is: the same work, given to DataFlare, to the engines that bound it and to the tools beside it."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import places, venvs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Facts = dict[str, float]
"""Counts and sums of what was written, by name; None counts as missing."""
SUBJECT = "DataFlare"
AGAIN = "DataFlare again"
"""The other half of the A/A pair: its ratio to the first half is what chance alone makes."""
LATENCIES = ("p50_ms", "p99_ms")
"""What a contender tells of its latency, where a workload limits it."""


class Role(StrEnum):
    """What a contender is to DataFlare."""

    SUBJECT = "subject"
    BOUND = "bound"
    """A script or engine without state, checkpoints or recovery: we say how close we come."""
    PEER = "peer"
    """What a user would pick instead: we must be ahead."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to do the work; `environment` names its virtual environment, and None means what is installed here."""

    name: str
    role: Role
    command: tuple[str, ...]
    environment: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    """What it writes: a file, a glob of files or a table, for the check."""
    note: str = ""
    facts: Callable[[Contender], Facts] | None = None
    """Set where it does less than the others; what it has to come to is then told by `expected`."""
    expected: Callable[[], Facts] | None = None

    def missing(self) -> str | None:
        """Return why it cannot run here, or None."""
        if self.environment and not venvs.is_ready(self.environment):
            return "not installed: python -m benchmarks setup-peers"
        if self.environment is None and shutil.which(self.command[0]) is None:
            return f"{Path(self.command[0]).name} is not on this machine"
        return None

    def environ(self) -> dict[str, str]:
        """Return the whole environment of its process: this one's, two threads for every engine, no telemetry."""
        return {**os.environ, **_EVEN, **self.variables}


@dataclass(frozen=True, slots=True)
class Limits:
    """The ratios to the faster bound that DataFlare must keep, and its memory."""

    wall: float | None = None
    cpu: float | None = None
    rss_bytes: int | None = None
    cpu_seconds: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """One row of the design's table; the first contender is DataFlare."""

    id: str
    title: str
    rows: int
    contenders: tuple[Contender, ...]
    facts: Callable[[Contender], Facts]
    limits: Limits = Limits()
    reset: Callable[[Contender], None] = lambda _: None
    """Called before each run, apart from the measurement, after the contender's folder was emptied."""
    server: bool = False
    """Whether the work of the PostgreSQL server is measured beside."""
    told: Callable[[Path], Mapping[str, float]] = lambda _: {}
    """Called after each run with its log: figures that the contender itself told."""
    pairs_max: int | None = None
    """Fewer pairs than others where one run takes long."""
    chart: str = "cpu"
    """What the picture shows, cpu or wall; of W11, what grows."""

    @property
    def subject(self) -> Contender:
        """DataFlare's own way."""
        return self.contenders[0]


_EVEN = {
    "POLARS_MAX_THREADS": "2",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
    "INGESTR_DISABLE_TELEMETRY": "true",
    "SLING_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "PYTHONDONTWRITEBYTECODE": "",
}


def folder(workload: str, contender: str) -> Path:
    """Return the folder of a contender's outputs, logs apart; emptied before each of its runs."""
    return places.OUT / workload.lower() / re.sub(r"[^a-z0-9]+", "-", contender.lower()).strip("-")


def dataflare(workload: str, file: str, variables: Mapping[str, str], target: str) -> Contender:
    """Return DataFlare on a workflow of this package; it gets BENCH_OUTPUT and BENCH_STATE, empty at each run."""
    home = folder(workload, SUBJECT)
    given = {"BENCH_OUTPUT": str(home / "out"), "BENCH_STATE": str(home / "state"), **variables}
    command = (str(places.DATAFLARE), "run", "--json", str(places.WORKFLOWS / file))
    return Contender(SUBJECT, Role.SUBJECT, command, variables=given, target=target)


def script(environment: str, program: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs a program of this package in an environment."""
    return (str(venvs.python(environment)), str(places.PROGRAMS / program), *arguments)
