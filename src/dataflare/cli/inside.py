"""The commands `top` and `tap`: what goes through the nodes of running workflows, and rows of one of them."""

from __future__ import annotations

import json
import signal
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from dataflare.cli.console import DIM, painted, table, write, write_json
from dataflare.cli.controlling import ask
from dataflare.cli.surroundings import state_named
from dataflare.clock import SystemClock, wait_blocking
from dataflare.errors import UnavailableError, WorkflowError
from dataflare.executor.surroundings import StateOf
from dataflare.monitoring.live import LiveView

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import TextIO

    from rich.console import RenderableType

HEAD = ("node", "kind", "tasks", "rows in", "rows out", "rows/s", "busy", "blocked", "queue")
LAG_HEAD = ("read lag", "commit lag", "log kept")
POLL_SECONDS = 0.5
BLINK_SECONDS = 1.0
Sample = tuple[float, dict[str, Any]]


def top_command(workflow: str, state: Path | None, *, once: bool, as_json: bool) -> int:
    """Show the nodes of a running workflow, or of all on a folder of state, until Ctrl-C or until none runs any more.

    On what is no terminal, and with `once`, it is printed once; with JSON a line for each workflow.
    """
    where = state_named(workflow, state) if workflow else StateOf.folder_of(state)
    top = Top(where, sys.stdout)
    top.look()
    if not top.samples:
        raise UnavailableError(
            f"no workflow runs on {where.folder or where.workflow}", hint="start one with: dataflare run FILE"
        )
    if once or as_json or not sys.stdout.isatty():
        wait_blocking(BLINK_SECONDS)
        top.look()
        told = [top.told(name) for name in top.samples]
        for one in told:
            write_json(one) if as_json else write(workflow_text(one, sys.stdout) + "\n")
        return 0
    with until_ctrl_c(), top:
        while top.samples:
            wait_blocking(BLINK_SECONDS)
            top.look()
        write("nothing runs any more")
    return 0


@contextmanager
def until_ctrl_c() -> Iterator[None]:
    """Let Ctrl-C leave this block, and nothing else: what is drawn is wiped away, what is to be said is said."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        return
    finally:
        signal.signal(signal.SIGINT, before)


class Top(LiveView):
    """The running workflows: two looks at each, of which rates are made."""

    def __init__(self, where: StateOf, stream: TextIO) -> None:
        """Look at nothing yet; `where` is a workflow, or a whole folder of state."""
        super().__init__(stream)
        self._where, self._clock = where, SystemClock()
        self.samples: dict[str, list[Sample]] = {}

    def look(self) -> None:
        """Ask all that run; forget those that do not any more."""
        before, self.samples = self.samples, {}
        for one in self._listed():
            try:
                answer = ask(one, "measure")
            except (UnavailableError, WorkflowError):
                continue
            known = [s for s in before.get(one.workflow, []) if s[1]["attempt"] == answer["attempt"]]
            self.samples[one.workflow] = [*known[-1:], (self._clock.monotonic(), answer)]

    def told(self, workflow: str) -> dict[str, Any]:
        """Return the newest look at a workflow, with rates and shares of time since the one before."""
        samples = self.samples[workflow]
        (then, before), (now, answer) = samples[0], samples[-1]
        seconds = now - then
        earlier = {node["node"]: node for node in before["nodes"]}
        nodes = [_rated(node, earlier.get(node["node"], node), seconds) for node in answer["nodes"]]
        return {**answer, "nodes": nodes}

    def render(self) -> RenderableType:
        """Return the picture of this moment."""
        from rich.text import Text

        return Text.from_ansi("\n\n".join(workflow_text(self.told(n), self._stream) for n in list(self.samples)))

    def _listed(self) -> list[StateOf]:
        where = self._where
        if where.workflow or where.folder is None:
            return [where]
        return [StateOf(p.stem, where.settings, where.directory) for p in sorted(where.folder.glob("*.sock"))]


def workflow_text(told: dict[str, Any], stream: TextIO) -> str:
    """Return a headline and the table of nodes."""
    lag = told["uncommitted_seconds"]
    head = f"{told['workflow']}  {told['status']}  attempt {told['attempt']}  epoch {told['epoch']} committed"
    head += f"  {lag:,.1f} s behind" if lag else ""
    lags = any("lag" in node for node in told["nodes"])
    rows = [
        (
            node["node"],
            node["kind"],
            str(node["tasks"]),
            f"{node['rows_in']:,}",
            f"{node['rows_out']:,}",
            f"{node['rows_per_second']:,.0f}",
            f"{node['busy']:.0%}",
            f"{node['blocked']:.0%}",
            str(node["queue"]),
            *(_lag_cells(node.get("lag", {})) if lags else ()),
        )
        for node in told["nodes"]
    ]
    head_of = (*HEAD, *LAG_HEAD) if lags else HEAD
    return f"{painted(head, DIM, stream)}\n{table(head_of, rows, right=range(2, len(head_of)), stream=stream)}"


def _lag_cells(lag: dict[str, float]) -> tuple[str, str, str]:
    seconds = (f"{lag[name]:,.1f} s" if name in lag else "" for name in ("seconds", "committed_seconds"))
    return (*seconds, f"{lag['bytes'] / 1024:,.0f} KiB" if "bytes" in lag else "")  # type: ignore[return-value]


def tap_command(workflow: str, node: str, state: Path | None, rows: int, rate: int, *, as_json: bool) -> int:
    """Print rows that come out of a node of a running workflow, as JSON, until so many (0: until Ctrl-C, or its end).

    At most `rate` rows a second are shown; the others go by, and are told on stderr. Tagged values are hidden.
    """
    where = state_named(workflow, state)
    left = rows
    passed = 0
    share = max(1, round(rate * POLL_SECONDS))
    ask_for(where, node, share)
    with until_ctrl_c(), suppress(UnavailableError):  # the latter: the run has ended
        while not rows or left > 0:
            wait_blocking(POLL_SECONDS)
            answer = ask_for(where, node, share)
            shown = answer["rows"][: left or None]
            passed += answer["passed_by"] + len(answer["rows"]) - len(shown)
            for text in shown:
                sys.stdout.write(text + "\n")
            sys.stdout.flush()
            left -= len(shown) if rows else 0
    if passed and not as_json:
        sys.stderr.write(f"{passed:,} more rows went by\n")
    elif as_json:
        sys.stderr.write(json.dumps({"node": node, "passed_by": passed}) + "\n")
    return 0


def ask_for(where: StateOf, node: str, rows: int) -> dict[str, Any]:
    """Ask for the rows of a node since the last time."""
    return ask(where, "tap", node=node, rows=rows)


def _rated(node: dict[str, Any], before: dict[str, Any], seconds: float) -> dict[str, Any]:
    tasks = max(1, node["tasks"])
    rows = max(node["rows_in"] - before["rows_in"], node["rows_out"] - before["rows_out"])
    share = {
        name: min(1.0, (node[f"{name}_seconds"] - before[f"{name}_seconds"]) / seconds / tasks) if seconds > 0 else 0.0
        for name in ("busy", "blocked")
    }
    return {**node, "rows_per_second": rows / seconds if seconds > 0 else 0.0, **share}


__all__ = ["Top", "tap_command", "top_command", "workflow_text"]
