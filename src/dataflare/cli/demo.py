"""The demo: a real workflow on real data; then the same again, killed half-way, continued, and compared."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dataflare.cli.console import BOLD, GREEN, RED, painted, table, write
from dataflare.cli.demo_data import Content, contents, unpack_flights
from dataflare.cli.running import RunOptions, run_plan, signals_restored
from dataflare.cli.summary import summary_text
from dataflare.errors import DataFlareError, StateError, UnavailableError
from dataflare.monitoring.events import RunStarted
from dataflare.monitoring.metrics import Counters

if TYPE_CHECKING:
    from dataflare.component import Registry
    from dataflare.executor.contract import Outcome
    from dataflare.monitoring.events import Event
    from dataflare.plan import Plan

SOURCE = "departures"


def demo_command(folder: Path) -> int:
    """Show the whole demo; return 0 when both outputs hold the same."""
    from dataflare.component import Registry

    registry, workflow = Registry.installed(), workflow_file()
    straight, killed = folder / "straight", folder / "killed"
    for old in (straight, killed):
        shutil.rmtree(old, ignore_errors=True)

    _title("1", "The data: every flight that was to leave New York City in 2013")
    data = unpack_flights(folder / "data")
    size, flights = data.stat().st_size, data.read_bytes().count(b"\n") - 1
    write(f"{data} has {flights:,} flights, {size / 1e6:.1f} MB of CSV, some without times: they were cancelled.")

    _title("2", f"The workflow: {workflow}")
    write("It types and cleans the flights, leaves out the cancelled ones, and writes at the same time:")
    write(f"  {straight}/flights   all others, as Parquet files")
    write(f"  {straight}/carriers  how punctual each airline was, as lines of JSON")
    write(f"  {straight}/hours.db  departures of each hour, in a SQLite table\n")
    plan = plan_into(straight, data.parent, workflow, registry)
    counters = Counters()
    outcome = _run(plan, registry, RunOptions(bytes_total=size, counters=counters))
    write(summary_text(plan, outcome, sys.stdout, counters.read().rows_committed))
    write(f"\nThe picture of it, with its rows: {_draw(plan, outcome, folder / 'flights.svg')}")

    _title("3", "The same again, but its process is killed half-way")
    write(
        "Its source waits at a third of the rows until an epoch is committed, so that there is a place to go on from."
    )
    write("No goodbye: SIGKILL, at the worst moment, when a later epoch is sealed but not yet committed anywhere.")
    _run_until_killed(killed, data.parent, flights)
    seen = contents(killed)["flights"].rows
    write(f"It is dead. Its Parquet files show {seen:,} flights, those of whole epochs; the rest is hidden or lost.")

    _title("4", "Somebody starts it again")
    second = Life()
    options = RunOptions(observers=(second, second.counters), bytes_total=size)
    _run(plan_into(killed, data.parent, workflow, registry), registry, options)
    kept = f"epoch {second.resumed_epoch}: {flights - second.rows_read:,} rows of the source were not read again"
    write(f"It went on behind {kept}. It read the other {second.rows_read:,} and reached the end.")

    _title("5", "Nothing is lost and nothing is there twice")
    return _compare(contents(straight), contents(killed))


class Life:
    """An observer that notes where a run went on and how many rows it read."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.counters = Counters()
        self.resumed_epoch = 0

    @property
    def rows_read(self) -> int:
        """Rows of the source that this process committed, by the ledger."""
        return self.counters.read().rows_committed.get(SOURCE, {}).get("out", 0)

    def __call__(self, event: Event) -> None:
        """Note it."""
        if isinstance(event, RunStarted):
            self.resumed_epoch = event.resumed_epoch


def workflow_file() -> Path:
    """Return the workflow of the demo, in this checkout."""
    inside = Path("examples") / "flights" / "workflow.yaml"
    for top in (Path(), Path(__file__).parents[3]):
        if (top / inside).is_file():
            return top / inside
    raise UnavailableError(f"there is no {inside} here", hint="run the demo in a checkout of DataFlare: make demo")


def plan_into(out: Path, data: Path, workflow: Path, registry: Registry) -> Plan:
    """Return the plan of the demo's workflow, reading from one folder and writing into another."""
    from dataflare.workflow import plan_or_raise

    environ = {**os.environ, "FLIGHTS_DATA": str(data.resolve()), "FLIGHTS_OUT": str(out.resolve())}
    return plan_or_raise(workflow, registry=registry, environ=environ, level="sample")


def _run(plan: Plan, registry: Registry, options: RunOptions) -> Outcome:
    with signals_restored():
        outcome, number = run_plan(plan, registry, options)
    if outcome is None or number:
        raise KeyboardInterrupt
    if outcome.error is not None:
        raise outcome.error
    return outcome


def _run_until_killed(out: Path, data: Path, rows: int) -> None:
    command = [sys.executable, "-m", "dataflare.cli.demo_death", str(out), str(data), str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    if done.returncode != -signal.SIGKILL:
        raise DataFlareError(f"the process that was to die did not: it ended with {done.returncode}\n{done.stderr}")


def _draw(plan: Plan, outcome: Outcome, file: Path) -> Path:
    from dataflare.workflow import picture

    file.write_text(picture(plan, outcome.nodes), encoding="utf-8")
    return file


def _compare(one: dict[str, Content], other: dict[str, Content]) -> int:
    rows = []
    for name, content in one.items():
        same = content == other[name]
        verdict = painted("the same", GREEN, sys.stdout) if same else painted("DIFFERENT", RED, sys.stdout)
        counts = [f"{content.rows:,}", f"{other[name].rows:,}"]
        rows.append([name, *counts, content.checksum, other[name].checksum, verdict])
    head = ("output", "rows", "rows, killed", "checksum", "checksum, killed", "")
    write("The checksums add up all rows, in whatever order they stand.")
    write(table(head, rows, right=(1, 2)))
    if one != other:
        raise StateError("the run that was killed wrote something else than the one that was not")
    return 0


def _title(number: str, text: str) -> None:
    write(f"{'' if number == '1' else chr(10)}{painted(f'{number}. {text}', BOLD, sys.stdout)}")
