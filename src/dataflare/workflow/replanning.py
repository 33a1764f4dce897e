"""The plans that a run makes of its workflow file: of the text that it began with, until it is told to read it anew."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from dataflare.errors import Place, WorkflowError
from dataflare.workflow.loading import Written

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from dataflare.plan import Plan


@dataclass(frozen=True, slots=True)
class Replanning:
    """A text as it was read, and how it is planned. `replan` and `reload` are what a `RunContext` wants. Blocking."""

    written: Written
    plan: Callable[[Written], Plan]

    @classmethod
    def of(cls, path: Path, plan: Callable[[Written], Plan]) -> Self:
        """Read a file; raise WorkflowError where that cannot be."""
        try:
            return cls(Written(path, path.read_bytes()), plan)
        except OSError as error:
            raise WorkflowError(
                f"cannot be read: {error.strerror}", hint="check the path", place=Place(str(path))
            ) from error

    def replan(self, memory: Mapping[str, Any]) -> Plan:
        """Plan the text with what is remembered of columns; raise InvalidWorkflowError with all findings."""
        return self.plan(replace(self.written, memory=memory))

    def reload(self) -> Callable[[Mapping[str, Any]], Plan]:
        """Return how the text is planned that the file has now."""
        return self.of(self.written.path, self.plan).replan


__all__ = ["Replanning"]
