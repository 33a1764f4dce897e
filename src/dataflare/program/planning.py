"""From the document that a program built to findings, a plan, and the first rows of a node."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from dataflare.component import Registry
from dataflare.errors import Finding, InvalidWorkflowError, Place
from dataflare.executor.surroundings import Secrets
from dataflare.program.loops import outside_loop
from dataflare.workflow.document import Document, Mark, value_of
from dataflare.workflow.findings import Findings
from dataflare.workflow.loading import Around, Loaded, load_document

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pyarrow as pa

    from dataflare.plan import Plan
    from dataflare.program.functions import Functions

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

    def plan(self, level: Level) -> Plan:
        """Return the plan, or raise InvalidWorkflowError."""
        loaded = self._loaded(level)
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

    def _loaded(self, level: Level, *, check: bool = False, whole: bool = False) -> Loaded:
        """Load a fresh document; `whole`: sources read all of their columns."""
        file = self._places[()].file
        document = Document(value_of(self._document, Mark(self._places[()].line)), file)
        for path, place in self._places.items():
            if (value := document.at(_steps(path))) is not None and path and place.file == file:
                for _, inner in value.walk():
                    inner.mark = inner.key_mark = Mark(place.line)
        known: dict[str, Any] | None = {} if whole else None
        around = Around(self.registry, os.environ, self._directory, level, check, known=known)
        loaded = outside_loop(lambda: load_document(document, Findings(file), around))
        return replace(loaded, findings=[self._placed(f) for f in loaded.findings])

    def _placed(self, finding: Finding) -> Finding:
        """Return a finding at the place where its node was added, if that was in another file."""
        for path, place in self._places.items():
            if path and place.file != finding.place.file and f"{finding.place.path}.".startswith(f"{'.'.join(path)}."):
                return replace(finding, place=Place(place.file, place.line, 0, finding.place.path))
        return finding


def _steps(path: tuple[str, ...]) -> list[str | int]:
    return [int(step) if path[0] == "tests" and step.isdecimal() else step for step in path]


__all__ = ["Level", "Planning"]
