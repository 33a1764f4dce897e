"""Runs a workflow file, kills it when half of its input was committed, runs it again: FILE.

Its own child runs the workflow and says, a line each, how many bytes were read so far and when an epoch was committed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataflare.monitoring.events import Event


def child(file: str) -> int:
    """Run the workflow as the command line does; tell of bytes and of epochs."""
    from dataflare.cli.running import RunOptions, run_plan
    from dataflare.cli.surroundings import plan_of
    from dataflare.component import Registry
    from dataflare.monitoring.events import EpochCommitted, NodeProgressed

    def tell(event: Event) -> None:
        if isinstance(event, NodeProgressed) and event.bytes_read:
            print(json.dumps({"bytes": event.bytes_read, "at": time.monotonic()}), flush=True)
        elif isinstance(event, EpochCommitted):
            print(json.dumps({"epoch": event.epoch}), flush=True)

    registry = Registry.installed()
    outcome, _number = run_plan(plan_of(Path(file), registry), registry, RunOptions(as_json=True, observers=(tell,)))
    return 0 if outcome is not None and outcome.status == "succeeded" else 1


def started(file: str) -> subprocess.Popen[str]:
    """Start the child."""
    return subprocess.Popen([sys.executable, __file__, file, "child"], stdout=subprocess.PIPE, text=True)


def events(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """Yield what the child says."""
    assert process.stdout is not None
    return (json.loads(line) for line in process.stdout)


def main(file: str) -> int:
    """Print one line of JSON."""
    size, read, first = Path(os.environ["BENCH_ORDERS"]).stat().st_size, 0, None
    with started(file) as before:
        for event in events(before):
            read += event.get("bytes", 0)
            if "epoch" in event and read >= size / 2:
                before.kill()
                break
    shares = {"before_share": read / size}
    read, begun = 0, time.monotonic()
    with started(file) as after:
        for event in events(after):
            read += event.get("bytes", 0)
            first = first or event.get("at")
    if before.returncode == 0 or after.returncode or first is None:
        return 1
    print(json.dumps({"first_rows_seconds": first - begun, **shares, "after_share": read / size}))
    return 0


if __name__ == "__main__":
    sys.exit(child(sys.argv[1]) if sys.argv[2:] else main(sys.argv[1]))
