"""Where the benchmarks keep their data, their outputs, their results and the environments of the peers."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "benchmarks"
DATA = HERE / "data"
"""Made once from fixed seeds; git does not hold it."""
OUT = HERE / "out"
"""What contenders write, their logs, and the results of partial runs; git does not hold it."""
RESULTS = HERE / "results"
"""The raw figures of the last full run of each workload, from which the page is made; git holds them."""
PROGRAMS = HERE / "programs"
WORKFLOWS = HERE / "workflows"
VENVS = ROOT / ".cache" / "bench-venvs"
PAGE = ROOT / "docs" / "benchmarks.md"
PICTURE = ROOT / "docs" / "images" / "benchmarks.svg"
DATAFLARE = Path(sys.executable).with_name("dataflare")


def inside(path: Path) -> str:
    """Return the path as one inside the project, for messages and pages."""
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
