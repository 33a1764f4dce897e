"""From the document that a program built to findings, a plan, and the first rows of a node."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from dataflare.component import Registry
from dataflare.errors import Finding, InvalidWorkflowError, Place, WorkflowError
from dataflare.executor.surroundings import Secrets
from dataflare.program.loops import outside_loop
from dataflare.workflow.document import Document, Mark, dotted, value_of
from dataflare.workflow.findings import Findings
from dataflare.workflow.loading import Around, Loaded, load_document

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pyarrow as pa

    from dataflare.plan import Plan
    from dataflare.program.functions import Functions
    from dataflare.testing.examples import Result

Level: TypeAlias = Literal["static", "plan", "connect", "sample"]
Places: TypeAlias = "Mapping[tuple[str, ...], Place]"


class Planning:
    """One document, and what it is planned with."""

    def __init__(
        self,
        document: dict[str, Any],
        places: Places,
        directory: Path,
        functions: Functions,
        registry: Registry | None,
    ) -> None:
        """Plan nothing yet."""
        self._document, self._places, self._directory = document, places, directory
        self.registry = functions.known_to(registry or Registry.installed())

    def findings(self, level: Level) -> list[Finding]:
        """Return everything there is to say."""
        return self._loaded(level, check=level in ("connect", "sample")).findings

    def plan(self, level: Level, memory: Mapping[str, Any] | None = None) -> Plan:
        """Return the plan, or raise InvalidWorkflowError; `memory`: see `workflow.load`."""
        loaded = self._loaded(level, memory=memory)
        if loaded.plan is None:
            raise InvalidWorkflowError(loaded.findings)
        return loaded.plan

    def preview(self, name: str, rows: int) -> pa.Table:
        """Return the first rows of a node."""
        from dataflare.executor.previewing import first_rows

        loaded = self._loaded("sample", whole=True)
        if loaded.plan is None:
            raise InvalidWorkflowError(loaded.findings)
        plan = loaded.plan
        return outside_loop(lambda: first_rows(plan, self.registry, name, rows, Secrets(plan)))

    def tests(self, only: str) -> list[Result]:
        """Run the tests with this in their names; return their results."""
        from dataflare.testing.examples import run_suite, suite_from

        around = Around(self.registry, os.environ, self._directory)
        try:
            suite = outside_loop(lambda: suite_from(self._fresh, around))
            results = outside_loop(lambda: list(run_suite(suite, only)))
        except InvalidWorkflowError as error:
            raise InvalidWorkflowError([self._placed(f) for f in error.findings]) from error
        if not results:
            hint = (
                f"no test has {only!r} in its name" if only else "add one: workflow.test(name, given=..., expect=...)"
            )
            raise WorkflowError(f"there are no tests in {suite.plan.workflow}", hint=hint)
        return [self._told(result) for result in results]

    def _fresh(self) -> Document:
        """Return a document of its own, to be changed on the way to a plan; values know the lines that added them."""
        file = self._places[()].file
        document = Document(value_of(self._document, Mark(self._places[()].line)), file)
        for path, place in self._places.items():
            if (value := document.at(_steps(path))) is not None and path and place.file == file:
                for _, inner in value.walk():
                    inner.mark = inner.key_mark = Mark(place.line)
        return document

    def _loaded(
        self, level: Level, *, check: bool = False, whole: bool = False, memory: Mapping[str, Any] | None = None
    ) -> Loaded:
        """Load a fresh document; `whole`: sources read all of their columns."""
        known: dict[str, Any] | None = {} if whole else None
        around = Around(self.registry, os.environ, self._directory, level, check, known=known, memory=memory)
        loaded = outside_loop(lambda: load_document(document := self._fresh(), Findings(document.file), around))
        return replace(loaded, findings=[self._placed(f) for f in loaded.findings])

    def _placed(self, finding: Finding) -> Finding:
        """Return a finding at the place where its node was added, if that was in another file."""
        return replace(finding, place=self._place(finding.place))

    def _told(self, result: Result) -> Result:
        """Return a result whose places are those where the test was added."""
        failures = tuple(replace(f, place=self._place(f.place)) for f in result.failures)
        return replace(result, place=self._place(result.place), failures=failures)

    def _place(self, place: Place) -> Place:
        for path, added in self._places.items():
            if path and added.file != place.file and f"{place.path}.".startswith(f"{dotted(_steps(path))}."):
                return Place(added.file, added.line, 0, place.path)
        return place


def _steps(path: tuple[str, ...]) -> list[str | int]:
    return [int(step) if path[0] == "tests" and step.isdecimal() else step for step in path]


__all__ = ["Level", "Planning"]
