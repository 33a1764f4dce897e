"""The command: `python -m benchmarks [W1 W2 ...]`, `setup-peers`, `report`."""

from __future__ import annotations

import argparse
import re
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from benchmarks import calls, places, report, venvs
from benchmarks.pairs import Contest
from benchmarks.results import Result
from benchmarks.workload import SUBJECT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.workload import Workload

WORKLOADS = ("W1", "W2", "W3", "W4", "W5", "W6", "W8", "W9", "W10", "W11")
PAIRS = 5


def options(arguments: list[str]) -> argparse.Namespace:
    """Return what was asked for; ends the program with the usage when it makes no sense."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure DataFlare beside its bounds and peers. A full run writes docs/benchmarks.md.",
        epilog="python -m benchmarks setup-peers [NAME ...] installs them; report writes the page from kept figures.",
    )
    parser.add_argument("names", nargs="*", metavar="WORKLOAD", help=f"{', '.join(WORKLOADS)} or a part such as W4d")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="pairs for each contender (fewer than 5: a trial)")
    parser.add_argument("--rows", type=int, help="rows instead of the workload's own number (a trial)")
    parser.add_argument("--only", help="contenders to measure beside DataFlare, separated by commas (a trial)")
    return parser.parse_args(arguments)


def setup_peers(names: list[str]) -> int:
    """Install the environments of bounds and peers; say which cannot be."""
    failed = 0
    for name in names or venvs.REQUIREMENTS:
        reason = venvs.install(name)
        failed += reason is not None
        print(f"{name}: {reason or 'installed: ' + ' '.join(venvs.REQUIREMENTS[name])}", flush=True)
    return int(failed > 0)


def chosen(names: list[str], rows: int | None) -> Iterator[Workload]:
    """Yield the workloads that were asked for, all without names; raise ValueError for one that there is not."""
    wanted = {name.lower() for name in names}
    families = {re.sub(r"[a-z]+$", "", name[1:]) for name in wanted}
    if unknown := families - {family[1:] for family in WORKLOADS}:
        raise ValueError(f"no workload W{', W'.join(sorted(unknown))}; there are {', '.join(WORKLOADS)}")
    for family in WORKLOADS:
        if wanted and family[1:] not in families:
            continue
        for workload in import_module(f"benchmarks.{family.lower()}").workloads(rows):
            if not wanted or wanted & {family.lower(), workload.id.lower()}:
                yield workload


def write_pages() -> None:
    """Write all pages and pictures from the figures that are kept."""
    results = Result.read_all(places.RESULTS)
    report.write(results)
    calls.write(results)


def measure(asked: argparse.Namespace) -> int:
    """Measure the workloads that were asked for; return 1 when DataFlare did not do the work of one."""
    if reason := venvs.install("bounds"):
        raise ValueError(f"the environment of the bounds cannot be installed: {reason}")
    trial = asked.rows is not None or asked.only is not None or asked.pairs < PAIRS
    kept = places.OUT / "results" if trial else places.RESULTS
    results = []
    for workload in chosen(asked.names, asked.rows):
        print(f"{workload.id}: {workload.title}, {workload.rows:,} rows", flush=True)
        result = Contest(workload, asked.pairs).run(asked.only.split(",") if asked.only else None)
        result.write(kept / f"{workload.id}.json")
        results.append(result)
    if trial:
        print("\n" + report.figures(results))
    else:
        write_pages()
        print(f"written: {places.inside(places.PAGE)}, {places.inside(places.PICTURE)}")
    return int(any(result.of(SUBJECT) is None for result in results))


def main(arguments: list[str]) -> int:
    """Do what was asked for; return the exit status."""
    try:
        if arguments[:1] == ["setup-peers"]:
            return setup_peers(arguments[1:])
        if arguments == ["report"]:
            write_pages()
            return 0
        return measure(options(arguments))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
