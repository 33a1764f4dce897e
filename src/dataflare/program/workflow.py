"""`Workflow`: the same workflow as a file holds, put together by method calls."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Unpack

from dataflare.errors import Place, WorkflowError
from dataflare.program.functions import Functions
from dataflare.program.plain import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from dataflare.component import Registry
    from dataflare.errors import Finding
    from dataflare.executor.contract import Outcome
    from dataflare.plan import Plan
    from dataflare.program.planning import Level, Planning
    from dataflare.program.running import RunWords
    from dataflare.program.words import (
        DestinationWords,
        ExampleWords,
        Function,
        NodeWords,
        Settings,
        SourceWords,
        WorkflowWords,
    )
    from dataflare.testing.examples import Result


_ORDER = (
    *("id", "description", "version", "guarantee", "runtime", "secrets"),
    *("sources", "transformations", "destinations", "schedule", "metadata", "tests"),
)
"""The keys of a document in the order in which readers expect them."""


class Port:
    """An output of a node, to go on from."""

    def __init__(self, workflow: Workflow, name: str) -> None:
        """Made by `Workflow` and `Node`; `name` is that of the node, with `.output` where it is not the default."""
        self._workflow, self.name = workflow, name

    def then(
        self,
        name: str,
        component: str | Function,
        config: Settings | None = None,
        **words: Unpack[NodeWords],
    ) -> Node:
        """Add a transformation of these rows; return it."""
        return self._workflow.transformation(name, component, config, inputs=[self], **words)

    def into(
        self,
        name: str,
        component: str,
        config: Settings | None = None,
        **words: Unpack[DestinationWords],
    ) -> Node:
        """Add a destination of these rows; return it."""
        return self._workflow.destination(name, component, config, inputs=[self], **words)

    def __str__(self) -> str:
        """Return the name, as `inputs` in a file have it."""
        return self.name

    def __repr__(self) -> str:
        """Say what it is."""
        return f"<{self.name}>"


class Node(Port):
    """A node of a workflow; also its default output."""

    def __getitem__(self, output: str) -> Port:
        """Return a named output, such as `errors`."""
        return Port(self._workflow, f"{self.name}.{output}")


Inputs: TypeAlias = "Sequence[Port | str]"


class Workflow:
    """A workflow, as a file would hold it: sources, transformations, destinations by their ids.

    Nothing is checked before `validate`, `plan`, `preview` or `run`, which then say everything that is wrong, each
    with the line of this program that added the node. `directory` is where relative paths start; `registry` has
    the components, by default all that are installed.
    """

    def __init__(
        self,
        name: str,
        *,
        directory: str | Path = ".",
        registry: Registry | None = None,
        **words: Unpack[WorkflowWords],
    ) -> None:
        """Begin without nodes."""
        self.name, self.directory = name, Path(directory)
        self._registry, self._functions = registry, Functions()
        self._text: dict[str, Any] = {"id": name, **plain(words)}
        self._places: dict[tuple[str, ...], Place] = {(): _caller()}
        for section in ("sources", "transformations", "destinations"):
            self._text[section] = {}

    # ---- building -----------------------------------------------------------------------------------------------

    def source(
        self,
        name: str,
        component: str | Function,
        config: Settings | None = None,
        **words: Unpack[SourceWords],
    ) -> Node:
        """Add a source: a component by its name, or a function that yields rows (source `python`)."""
        return self._add("sources", name, component, config, dict(words))

    def transformation(
        self,
        name: str,
        component: str | Function,
        config: Settings | None = None,
        *,
        inputs: Inputs = (),
        lookup: Port | str | None = None,
        **words: Unpack[NodeWords],
    ) -> Node:
        """Add a transformation: a component by its name, or a function of one row (processor `python`)."""
        wired: dict[str, Any] = {"inputs": [str(i) for i in inputs]}
        if lookup is not None:
            wired["lookup"] = str(lookup)
        return self._add("transformations", name, component, config, {**wired, **words})

    def destination(
        self,
        name: str,
        component: str,
        config: Settings | None = None,
        *,
        inputs: Inputs = (),
        **words: Unpack[DestinationWords],
    ) -> Node:
        """Add a destination."""
        return self._add("destinations", name, component, config, {"inputs": [str(i) for i in inputs], **words})

    def test(self, name: str, **words: Unpack[ExampleWords]) -> None:
        """Add a test, for `run_tests`; `to_yaml` writes it into the file for `dataflare test`."""
        tests: list[Any] = self._text.setdefault("tests", [])
        self._places["tests", str(len(tests))] = _caller()
        tests.append({"name": name, **plain(words)})

    def _add(
        self,
        section: str,
        name: str,
        component: str | Function,
        config: Settings | None,
        words: dict[str, Any],
    ) -> Node:
        place = _caller()
        if any(name in self._text[s] for s in ("sources", "transformations", "destinations")):
            raise WorkflowError(f"there is a node {name!r} already", hint="give one another name", place=place)
        settings = plain(config or {})
        if callable(component):
            settings["function"] = self._functions.add(name, component)
            component = "python"
        node = {"type": component, **plain(words)}
        if settings:
            node["config"] = settings
        self._text[section][name] = node
        self._places[section, name] = place
        return Node(self, name)

    # ---- using --------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return the document as plain values; raise WorkflowError for a function that no file can name."""
        return self._functions.named(self._document())

    def to_yaml(self) -> str:
        """Return the text of the file that says the same; raise WorkflowError for a function that no file can name."""
        from dataflare.program.text import yaml_text

        return yaml_text(self.to_dict())

    def validate(self, level: Level = "plan") -> list[Finding]:
        """Return everything there is to say; levels as those of `dataflare validate`."""
        return self._planning().findings(level)

    def plan(self, level: Level = "sample") -> Plan:
        """Return the plan; raise InvalidWorkflowError with all findings."""
        return self._planning().plan(level)

    def preview(self, node: Port | str, rows: int = 10) -> pa.Table:
        """Return the first rows that come out of a node, or into a destination; tagged values are hidden.

        A few rows of each source are read, and no destination is opened. Raises InvalidWorkflowError.
        """
        return self._planning().preview(str(node), rows)

    def run_tests(self, only: str = "") -> list[Result]:
        """Run the tests through the real engine, as `dataflare test` does; return how each ended.

        `only` is a part of the names of those to run. No source or destination is opened. Raises WorkflowError where
        there is no such test, InvalidWorkflowError where the workflow or a test is wrong.
        """
        return self._planning().tests(only)

    def run(self, **words: Unpack[RunWords]) -> Outcome:
        """Run to the end, or go on after a crash; raise the error where the run fails.

        Ctrl-C commits what was read and stops (in the main thread). Within a running event loop the workflow runs in
        a thread of its own, and the caller waits.
        """
        from dataflare.program.running import run_here

        return run_here(self._planning(), words)

    async def run_async(self, **words: Unpack[RunWords]) -> Outcome:
        """Run on this event loop; see `run`."""
        from dataflare.program.running import run_async

        return await run_async(self._planning(), words)

    async def preview_async(self, node: Port | str, rows: int = 10) -> pa.Table:
        """Look into a node from a worker thread; see `preview`."""
        import asyncio

        return await asyncio.to_thread(self.preview, node, rows)

    def _document(self) -> dict[str, Any]:
        """Return the document without sections that are empty."""
        kept = {k: v for k, v in self._text.items() if v or k in ("sources", "destinations")}
        return {k: kept[k] for k in (*_ORDER, *kept) if k in kept}

    def _planning(self) -> Planning:
        from dataflare.program.planning import Planning

        return Planning(self._document(), self._places, self.directory, self._functions, self._registry)


def _caller() -> Place:
    """Return the line of the program outside of this room that is calling."""
    frame = sys._getframe(1)  # noqa: SLF001 - the only way to say where a node was added
    own = str(Path(__file__).parent)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(own):
        frame = frame.f_back
    return Place(frame.f_code.co_filename, frame.f_lineno)


__all__ = ["Node", "Port", "Workflow"]
