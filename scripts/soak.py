"""Runs the long tests on servers of their own and writes docs/soak.md; with smaller amounts it only prints the page."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

TOP = Path(__file__).parents[1]
PAGE = TOP / "docs" / "soak.md"
TESTS = ("tests/soak", "tests/mutations/test_planted_bugs.py", "tests/integration/plugin/test_authoring.py")
TOOLS = TOP / ".cache" / "toolchains"
"""Where scripts/toolchains.sh puts compilers."""
SCHEDULES, KILLS, ROWS, SEED = 20_000, 100, 1_000_000, 1_000_000
SERVICES = [sys.executable, str(TOP / "scripts" / "services.py")]
INTRODUCTION = """\
What the last run of `make soak` did. A *schedule* is a workflow drawn from a seed, run by the real engine on a
simulated clock, with crashes, sleepers that wake, and jumps of the clock; at its end every row must be where it
belongs, once. A *kill* is SIGKILL to a real process at a call of a step that a seed draws; in the end every destination
must equal, by checksum, what an undisturbed run makes, and every table that follows another must equal that one."""
CHANGES = """\
Kills while tables are read and followed, each path with writers between; a result is compared, and every change of a
log played back, each time that a run came to its end. Where changes are applied, `merge`, `scd2` and soft deletes must
end as models of them say."""
NAMES = {"files": "files", "sqlite": "SQLite", "postgres": "PostgreSQL", "three": "all three together"}


def main(arguments: Sequence[str]) -> int:
    """Start the servers, run, stop them, write the page; the exit status is that of the tests."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--schedules", type=int, default=SCHEDULES)
    parser.add_argument("--kills", type=int, default=KILLS, help="for each destination, and each path of changes")
    parser.add_argument("--rows", type=int, default=ROWS, help="of a large transaction")
    parser.add_argument("--seed", type=int, default=SEED, help="of the first schedule, and of the kills")
    given = parser.parse_args(arguments)
    began = time.monotonic()
    status, lines, last = run(given)
    text = page(given, lines, last, status=status, seconds=time.monotonic() - began)
    print(text)
    if status == 0 and given.schedules >= SCHEDULES and given.kills >= KILLS and given.rows >= ROWS:
        PAGE.write_text(text, encoding="utf-8")
    return status


def run(given: argparse.Namespace) -> tuple[int, list[dict[str, Any]], str]:
    """Return the exit status of the tests, what they noted, and the line with which they ended."""
    ran_before = subprocess.run([*SERVICES, "status"], capture_output=True, check=False).returncode == 0
    if not ran_before:
        subprocess.run([*SERVICES, "install"], check=True, stdin=subprocess.DEVNULL)
        subprocess.run([*SERVICES, "start"], check=True, stdin=subprocess.DEVNULL)
    told = subprocess.run([*SERVICES, "env"], check=True, capture_output=True, text=True).stdout
    servers = dict(line.removeprefix("export ").split("=", 1) for line in told.splitlines())
    try:
        with tempfile.TemporaryDirectory() as folder:
            results = Path(folder, "results.jsonl")
            amounts = {f"DATAFLARE_SOAK_{n.upper()}": str(v) for n, v in vars(given).items()}
            environ = {**os.environ, **servers, **amounts, "DATAFLARE_SOAK_RESULTS": str(results)}
            compilers = [str(TOOLS / "zig" / "ziglang"), str(TOOLS / "node_modules" / ".bin")]
            environ["PATH"] = os.pathsep.join([*compilers, os.environ["PATH"]])
            command = [sys.executable, "-m", "pytest", "-v", "-n", "2", "--dist", "worksteal", *TESTS]
            with subprocess.Popen(command, cwd=TOP, env=environ, stdout=subprocess.PIPE, text=True) as tests:
                assert tests.stdout is not None
                last = ""
                for line in tests.stdout:
                    print(line, end="", flush=True)
                    last = line.strip().strip("= ") or last
            lines = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
            return tests.returncode, lines, last
    finally:
        if not ran_before:
            subprocess.run([*SERVICES, "stop"], check=True)


def page(given: argparse.Namespace, lines: list[dict[str, Any]], last: str, *, status: int, seconds: float) -> str:
    """Return the page of a run."""
    schedules = [n for n in lines if n["kind"] == "schedules"]
    faults = sum((Counter(n["faults"]) for n in schedules), Counter[str]())
    failures = "0" if status == 0 else f"**yes**: {last}"
    facts = [
        ("failures", failures),
        ("tests", last),
        ("commit", commit()),
        ("command", command(given)),
        ("date", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
        ("machine", f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, {platform.python_version()}"),
        ("duration", f"{seconds / 60:.1f} minutes"),
        ("schedules", f"{sum(n['schedules'] for n in schedules):,} from seed {given.seed:,}"),
        ("processes in them", f"{sum(n['processes'] for n in schedules):,}"),
        ("faults drawn", ", ".join(f"{count:,} {kind}" for kind, count in sorted(faults.items()))),
        ("epochs committed in them", f"{sum(n['epochs'] for n in schedules):,}"),
    ]
    parts = [
        "# Soak",
        "<!-- Written by `make soak`. -->",
        INTRODUCTION,
        table(("", ""), facts),
        "## Kills",
        destinations(lines),
        "Where they hit:",
        places(lines),
        "## Changes",
        CHANGES,
        changes(lines),
        "One transaction of many rows, and the most memory that the run ever had (300 MB are allowed):",
        large(lines),
        "## Planted bugs",
        "Bugs planted in the engine, and the first seed, from 0 on, at which the simulation found each.",
        table(("bug", "seed"), sorted((n["name"], str(n["seed"])) for n in lines if n["kind"] == "planted")),
    ]
    return "\n\n".join(parts) + "\n"


def destinations(lines: list[dict[str, Any]]) -> str:
    """Return the table of kills by destination."""
    rows = []
    for name, shown in NAMES.items():
        mine = [n for n in lines if n["kind"] == "kills" and n["destinations"] == name]
        runs, attempts, results, epochs = figures(mine)
        cells = (killed(mine), runs, attempts - results, results, epochs)
        rows.append((shown, *(f"{c:,}" for c in cells)))
    sums = {n["checksums"]["rows"] for n in lines if n["kind"] == "kills"}
    head = ("destinations", "kills", "processes", "resumes", "results compared", "epochs committed")
    return table(head, rows) + f"\n\nSHA-256 of the rows, the same in every result: {', '.join(sorted(sums))}"


def killed(lines: list[dict[str, Any]]) -> int:
    """Return how many kills there were."""
    return sum(sum(n["kills"].values()) for n in lines)


def figures(lines: list[dict[str, Any]]) -> list[int]:
    """Return processes, attempts, results and epochs."""
    return [sum(n[word] for n in lines) for word in ("runs", "attempts", "results", "epochs")]


def changes(lines: list[dict[str, Any]]) -> str:
    """Return the table of kills by path of changes."""
    found = [n for n in lines if n["kind"] == "change kills"]
    rows = []
    for path in sorted({n["path"] for n in found}):
        mine = [n for n in found if n["path"] == path]
        runs, _, results, epochs = figures(mine)
        steps = len(sum((Counter(n["kills"]) for n in mine), Counter[str]()))
        rows.append((path, *(f"{c:,}" for c in (killed(mine), steps, runs, results, epochs))))
    return table(("path", "kills", "at different steps", "processes", "results compared", "epochs committed"), rows)


def large(lines: list[dict[str, Any]]) -> str:
    """Return the table of large transactions."""
    found = sorted((n["path"], n["rows"], n["peak_bytes"]) for n in lines if n["kind"] == "large transactions")
    return table(("path", "rows", "peak, MB"), [(path, f"{rows:,}", f"{peak / 1e6:.0f}") for path, rows, peak in found])


def places(lines: list[dict[str, Any]]) -> str:
    """Return the table of where kills hit, by destination."""
    found = {n: Counter[str]() for n in NAMES}
    for line in lines:
        if line["kind"] == "kills":
            found[line["destinations"]].update(line["kills"])
    steps = sorted({s for counts in found.values() for s in counts}, key=lambda s: (s.split()[-1], s))
    return table(("", *NAMES.values()), [(s, *(str(c[s]) for c in found.values())) for s in steps])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def commit() -> str:
    """Return the commit that is checked out, and whether files differ from it."""
    git = ["git", "-C", str(TOP)]
    done = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=False).stdout
    return (done.stdout.strip() or "unknown") + (" with changes" if changed.strip() else "")


def command(given: argparse.Namespace) -> str:
    """Return how the run was asked for."""
    whole = {"schedules": SCHEDULES, "kills": KILLS, "rows": ROWS, "seed": SEED}
    asked = " ".join(f"--{name} {getattr(given, name)}" for name in whole)
    words = f' SOAK="{asked}"' if any(getattr(given, name) != value for name, value in whole.items()) else ""
    return f"`make soak{words}`"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
