"""The page of the soak is made of what the long tests noted; the one that is kept is of a whole run."""

from __future__ import annotations

import argparse
import importlib.util
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
GIVEN = argparse.Namespace(schedules=40, kills=3, rows=500, seed=7)
STEPS = {"before seal": 2, "at a moment": 1}
FIGURES = {"runs": 5, "attempts": 4, "results": 2, "epochs": 9}
LINES: list[dict[str, Any]] = [
    {"kind": "schedules", "schedules": 40, "broken": [], "processes": 90, "epochs": 1200, "faults": {"crash": 50}},
    *(
        {"kind": "kills", "destinations": name, "checksums": {"rows": "abc"}, "kills": STEPS, **FIGURES}
        for name in ("files", "three")
    ),
    {"kind": "change kills", "path": "postgres to files", "kills": STEPS, **FIGURES},
    {"kind": "change kills", "path": "postgres to files", "kills": {"after seal": 1}, **FIGURES},
    {"kind": "large transactions", "path": "mariadb to files", "rows": 500, "peak_bytes": 123_400_000},
    {"kind": "planted", "name": "late fence", "seed": 275},
]


def soak() -> Any:
    """Return the script as a module."""
    spec = importlib.util.spec_from_file_location("soak", ROOT / "scripts" / "soak.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_tells_what_was_counted() -> None:
    page = soak().page(GIVEN, LINES, "9 passed in 1.0s", status=0, seconds=90.0)
    assert "| failures | 0 |" in page
    assert "| schedules | 40 from seed 7 |" in page
    assert '`make soak SOAK="--schedules 40 --kills 3 --rows 500 --seed 7"`' in page
    assert "| all three together | 3 | 5 | 2 | 2 | 9 |" in page
    assert "| before seal | 2 | 0 | 0 | 2 |" in page
    assert "| postgres to files | 4 | 3 | 10 | 4 | 18 |" in page
    assert "| mariadb to files | 500 | 123 |" in page
    assert "| late fence | 275 |" in page
    assert "abc" in page


def test_the_page_tells_a_failure() -> None:
    page = soak().page(GIVEN, LINES, "1 failed, 8 passed in 1.0s", status=1, seconds=90.0)
    assert "| failures | **yes**: 1 failed, 8 passed in 1.0s |" in page


def test_the_page_that_is_kept_is_of_a_whole_run_without_failures() -> None:
    text = (ROOT / "docs" / "soak.md").read_text()
    assert "| failures | 0 |" in text
    schedules = re.search(r"\| schedules \| ([\d,]+) from", text)
    assert schedules
    assert int(schedules[1].replace(",", "")) >= soak().SCHEDULES
    for name in soak().NAMES.values():
        kills = re.search(rf"^\| {name} \| (\d+) \|", text, re.MULTILINE)
        assert kills, name
        assert int(kills[1]) >= soak().KILLS
