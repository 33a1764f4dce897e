"""Says on what the figures were taken: the machine, and the versions of everyone."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import venvs

if TYPE_CHECKING:
    from benchmarks.workload import Contender

PSQL = ("psql", "bash")
"""What starts psql."""


def description() -> dict[str, str]:
    """Return processor, cores, memory, system and Python, in words and without a name or a date."""
    processor = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    gibibytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return {
        "processor": processor[1].strip() if processor else platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{gibibytes:.0f} GiB",
        "system": system,
        "Python": platform.python_version(),
    }


def versions(contender: Contender) -> str:
    """Return the packages that a contender runs on, with their versions."""
    if contender.environment:
        packages = venvs.versions(contender.environment)
        named = [f"{name} {number}" for name, number in packages.items() if _stem(name) in _stem(contender.name)]
        return ", ".join(named) or f"Python {platform.python_version()}"
    if contender.command[0] in PSQL:
        said = subprocess.run(["psql", "--version"], capture_output=True, text=True, check=False).stdout
        return "psql " + (re.search(r"[\d.]+", said) or ["?"])[0]
    return ", ".join(f"{name} {version(name)}" for name in ("dataflare", "duckdb", "pyarrow"))


def _stem(name: str) -> str:
    return re.split(r"[-_ ]", name.lower())[0]
