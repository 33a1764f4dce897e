"""The commands `cdc ...`: what change capture keeps on servers, how it stands, and how it is removed."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, cast

from dataflare.cli.console import table, write, write_json
from dataflare.cli.controlling import ask, manager_of
from dataflare.cli.surroundings import plan_of
from dataflare.errors import DataFlareError, LeaseHeldError, UnavailableError, WorkflowError
from dataflare.executor.reloading import TABLES
from dataflare.executor.surroundings import TENANT, Secrets, StateOf

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from dataflare.batch import Position
    from dataflare.component import Administers, Reread, Split
    from dataflare.plan import Node

FOLLOWING = ("cdc", "hybrid")
"""The modes in which something stays on a server between runs."""


def status_command(file: Path, *, as_json: bool) -> int:
    """Say of each source that follows changes what it keeps on its server, and where its reading stands."""
    with Capture(file) as capture:
        for node, source in capture.sources():
            with _named(node):
                facts = {**source.standing(capture.opened(node.id)), "requests": capture.asked(node.id)}
            if as_json:
                write_json({"workflow": capture.plan.workflow, "source": node.id, **facts})
            else:
                rows = [(name.removesuffix("_bytes").replace("_", " "), _told(name, v)) for name, v in facts.items()]
                write(table((node.id, ""), rows))
    return 0


def drop_command(file: Path, *, yes: bool, as_json: bool) -> int:
    """Remove from servers what runs of a workflow made there; asks before, on a terminal, unless `yes`."""
    with Capture(file) as capture:
        capture.refuse_a_run()
        words: list[str] = []
        for node, source in capture.sources():
            with _named(node):
                words += source.leftovers()
        if words and not yes:
            _ask(words)
        for node, source in capture.sources():
            with _named(node):
                dropped = source.drop()
            if as_json:
                write_json({"workflow": capture.plan.workflow, "source": node.id, "dropped": list(dropped)})
            else:
                told = f"dropped {', '.join(dropped)}" if dropped else "there is nothing to drop"
                write(f"{node.id}: {told}")
    return 0


@contextmanager
def _named(node: Node) -> Iterator[None]:
    """Let errors tell of which source they are."""
    try:
        yield
    except DataFlareError as error:
        raise error.in_node(node.id) from error.__cause__


def resnapshot_command(file: Path, name: str, keys: str, where: str, *, as_json: bool) -> int:
    """Write down that a table is to be read again, and let the workflow know where it runs."""
    with Capture(file) as capture:
        node, request = capture.request(name, _bounds(keys), where)
        told, output = capture.answer("followed"), f"{node}.{request.stream}" if request.stream else node
        if told is not None and output not in told["outputs"]:
            what = f"the run of {capture.plan.workflow} does not follow {name} yet"
            raise WorkflowError(what, hint=f"let it take the table in first: dataflare cdc add-table {file} {name}")
        identity = capture.write_down(node, request)
    try:
        ask(capture.where, "requests")
        runs = True
    except UnavailableError:
        runs = False
    if as_json:
        facts = {"stream": request.stream, "low": request.low, "high": request.high, "where": where or None}
        write_json({"workflow": capture.plan.workflow, "source": node, "request": identity, **facts, "running": runs})
    else:
        by = "by the run that goes on" if runs else "by the next run"
        write(f"{node}: {name} is read again {by}")
    return 0


def _bounds(keys: str) -> tuple[str | None, str | None]:
    """Return the first and the last key of `A..B`; each may be left out."""
    low, dots, high = keys.partition("..")
    if keys and not dots:
        raise WorkflowError(f"--keys {keys} is no range", hint="write --keys A..B; A.. and ..B leave one side open")
    return low or None, high or None


@contextmanager
def placed(node: Node) -> Iterator[None]:
    """Give errors of a source its place in the file, where they have none."""
    try:
        yield
    except DataFlareError as error:
        raise error.at(node.place) from None


class Capture:
    """The sources of a workflow that follow changes, and what is around them."""

    def __init__(self, file: Path) -> None:
        """Read the file; raise WorkflowError where none of its sources follows changes."""
        from dataflare.component import Registry
        from dataflare.executor.runtime import LocalRuntime

        self.registry = Registry.installed()
        self.plan = plan_of(file, self.registry, level="static")
        self.where = StateOf.of_plan(self.plan)
        self.runtime = LocalRuntime()
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        """Give itself."""
        self._closing.callback(self.runtime.close)
        return self

    def __exit__(self, *_: object) -> None:
        """Give back what was taken."""
        self._closing.close()

    def sources(self, told: Mapping[str, Mapping[str, Any]] | None = None) -> list[tuple[Node, Administers]]:
        """Return new components of the nodes that follow changes, which are not open.

        `told`: by node what its settings say of tables instead; others are left out.
        """
        from dataflare.component import Administers
        from dataflare.plan import NodeKind

        nodes = [n for n in self.plan.of_kind(NodeKind.SOURCE) if n.traits.get("mode") in FOLLOWING]
        if told is not None:
            nodes = [_telling(n, told[n.id]) for n in nodes if n.id in told]
        found = [(n, c) for n in nodes if isinstance(c := self._component(n), Administers)]
        if not found and told is None:
            raise WorkflowError(
                f"no source of {self.plan.workflow} follows changes", hint="it is for sources of mode cdc or hybrid"
            )
        return found

    def answer(self, verb: str) -> dict[str, Any] | None:
        """Ask a run what it follows, or to go on by its file as it is now; None: there is no run (any more)."""
        try:
            return ask(self.where, verb)
        except UnavailableError:
            return None

    def reader(self, node: str) -> str:
        """Say who reads what a source keeps on its server, where no run of this state is known; "" if nobody does."""
        (source,) = (source for n, source in self.sources() if n.id == node)
        process = source.standing([]).get("reader")
        if process is None:
            return ""
        return (
            f"no run with the state of this file answers, but process {process} of the server reads the slot now: a "
            "run with another state, or on another machine, goes on as it did"
        )

    def opened(self, node: str) -> list[tuple[Split, Position | None]]:
        """Return the splits of a source that are open in the newest epoch, and where they stand."""
        from dataflare.executor.enumerator import Grant

        if not self._has_state():
            return []
        with self.where.store(self.registry, self.runtime) as store:
            proposals = manager_of(store, self.plan.workflow).proposals()
        opened = proposals[-1].positions.get(node, {}).get("open", []) if proposals else []
        return [(grant.split, grant.position) for grant in map(Grant.from_json, opened)]

    def request(self, name: str, bounds: tuple[str | None, str | None], where: str) -> tuple[str, Reread]:
        """Return the source that follows a table, and what it is asked; raise WorkflowError where none does."""
        from dataflare.component import Rereads

        error = WorkflowError("no source of this workflow reads tables again", hint="it is for change capture")
        for node, source in self.sources():
            if isinstance(source, Rereads):
                try:
                    with placed(node):
                        return node.id, source.reread(name, bounds, where)
                except WorkflowError as refused:
                    error = refused
        raise error

    def write_down(self, node: str, request: Reread) -> str:
        """Keep a request in the state until it is done; return its id."""
        from dataflare.state.requests import Requests

        if not self._has_state():
            raise UnavailableError(
                f"{self.plan.workflow} has not run yet: its first run reads all tables", hint="start it: dataflare run"
            )
        with self.where.existing_store(self.registry, self.runtime) as store:
            records = manager_of(store, self.plan.workflow).records
            return Requests(records).add(node, request, self.runtime.clock.now())

    def asked(self, node: str) -> int:
        """Return how many requests to a source are not done."""
        from dataflare.state.requests import Requests

        if not self._has_state():
            return 0
        with self.where.store(self.registry, self.runtime) as store:
            return len(Requests(manager_of(store, self.plan.workflow).records).read().get(node, ()))

    def refuse_a_run(self) -> None:
        """Keep runs of the workflow away until the end; raise UnavailableError where there is one."""
        if not self._has_state():
            return
        store = self._closing.enter_context(self.where.store(self.registry, self.runtime))
        try:
            store.lease(f"{TENANT}/{self.plan.workflow}")  # given back when the store is closed
        except LeaseHeldError as error:
            raise UnavailableError(
                f"{self.plan.workflow} is running", hint=f"stop it first: dataflare stop {self.plan.workflow}"
            ) from error

    def _has_state(self) -> bool:
        return self.where.folder is not None and (self.where.folder / "state.db").exists()

    def _component(self, node: Node) -> object:
        from dataflare.executor.graph import task_graph
        from dataflare.executor.job import Job

        graph = task_graph(self.plan, self.registry)
        nothing = cast("Any", None)  # no epoch is read or written
        job = Job(self.plan, graph, self.registry, self.runtime, nothing, 0, tenant=TENANT, resolve=Secrets(self.plan))
        return job.component(node, 0, 1, lambda: 0)


def _telling(node: Node, tables: Mapping[str, Any]) -> Node:
    others = {k: v for k, v in node.config.items() if k not in (*TABLES, "columns")}
    return replace(node, config={**others, **tables})


def _ask(words: list[str]) -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise WorkflowError(
            f"{', '.join(words)} would be dropped", hint="say --yes: changes that were not read are lost then"
        )
    import typer

    typer.confirm(f"drop {', '.join(words)}? changes that were not read are lost", abort=True)


def _told(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name.endswith("_bytes"):
        return f"{value / (1 << 20):,.1f} MiB"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


__all__ = ["Capture", "drop_command", "resnapshot_command", "status_command"]
