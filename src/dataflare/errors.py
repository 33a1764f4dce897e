"""Every error DataFlare raises: a stable code, who can fix it, whether to try again, where, and the cure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, ClassVar, Self


class Fault(StrEnum):
    """Who can fix it."""

    USER = "user"
    EXTERNAL = "external"
    INTERNAL = "internal"


class Retry(StrEnum):
    """Whether trying again may help."""

    NEVER = "never"
    BACKOFF = "backoff"


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is: a file position (1-based line and column) and the path or node inside it."""

    file: str = ""
    line: int = 0
    column: int = 0
    path: str = ""

    def __str__(self) -> str:
        """Render as `file:line:column`, leaving out what is not known."""
        if not self.file:
            return self.path
        return ":".join([self.file, *(str(n) for n in (self.line, self.column) if n)])


class DataFlareError(Exception):
    """The root of all errors. `code` and `exit_code` are stable and part of the public contract."""

    code: ClassVar[str] = "internal"
    fault: ClassVar[Fault] = Fault.INTERNAL
    retry: ClassVar[Retry] = Retry.NEVER
    severity: ClassVar[str] = "error"
    exit_code: int = 1

    def __init__(self, what: str, *, hint: str = "", place: Place | None = None) -> None:
        """Say what is wrong, where it is and what to do about it."""
        super().__init__(what, hint, place)
        self.what, self.hint, self.place = what, hint, place or Place()

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors travel between processes with all that they say."""
        return _rebuild, (type(self), self.what, self.hint, self.place)

    def at(self, place: Place) -> Self:
        """Give the error a place unless it has one; return it."""
        self.place = self.place if self.place != Place() else place
        return self

    def in_node(self, node: str) -> Self:
        """Name the node, keeping a place that is known; return it."""
        if not self.place.path:
            self.place = replace(self.place, path=node)
        return self

    def __str__(self) -> str:
        """Render as `place: what (hint)`."""
        place = str(self.place)
        text = f"{place}: {self.what}" if place else self.what
        return f"{text} ({self.hint})" if self.hint else text

    def as_finding(self) -> Finding:
        """Return the error in the shape of a finding of `validate`."""
        return Finding(self.severity, self.code, self.what, self.hint, self.place)


def _rebuild(kind: type[DataFlareError], what: str, hint: str, place: Place) -> DataFlareError:
    return kind(what, hint=hint, place=place)


class WorkflowError(DataFlareError):
    """The workflow file or an argument is wrong."""

    code, fault, exit_code = "workflow.invalid", Fault.USER, 2


class DataError(DataFlareError):
    """The data is not what the workflow says it is, and its error policy is to fail."""

    code, fault = "data.invalid", Fault.USER


class UnavailableError(DataFlareError):
    """Something outside is missing or refuses: a file, a permission, a full disk, a package."""

    code, fault, exit_code = "environment", Fault.EXTERNAL, 3


class ExternalError(DataFlareError):
    """Another system did not answer as it should; trying again may help."""

    code, fault, retry, exit_code = "external", Fault.EXTERNAL, Retry.BACKOFF, 3


class StateError(DataFlareError):
    """Durable state is missing, unreadable or held by another run (invariant 3)."""

    code, fault, exit_code = "state", Fault.EXTERNAL, 3


class LeaseHeldError(StateError):
    """Another run of the same workflow is alive on this state."""

    code = "state.lease_held"


class FencedError(DataFlareError):
    """A newer attempt has taken over; this one must stop at once (invariant 4)."""

    code, fault = "attempt.fenced", Fault.INTERNAL


class SchemaChangedError(DataFlareError):
    """A source has other columns from here on: the workflow is planned anew, and goes on. Nothing is lost."""

    code, fault = "schema.changed", Fault.EXTERNAL


class StalledError(DataFlareError):
    """Work makes no progress within its limit."""

    code, fault, retry = "stalled", Fault.EXTERNAL, Retry.BACKOFF


class ActorDiedError(DataFlareError):
    """The actor that should have answered is dead."""

    code, retry = "actor.died", Retry.BACKOFF


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that `validate` has to say; severity is `error`, `warning` or `info`."""

    severity: str
    code: str
    message: str
    hint: str = ""
    place: Place = Place()

    def as_json(self) -> dict[str, Any]:
        """Return the documented JSON shape."""
        return {
            "severity": self.severity,
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            **asdict(self.place),
        }

    def __str__(self) -> str:
        """Render on one line."""
        place = f"{self.place}: " if str(self.place) else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{place}{self.severity}: {self.message}{hint} [{self.code}]"


class InvalidWorkflowError(WorkflowError):
    """A workflow with errors; carries every finding, not the first.

    Where the text is well and only what it names is not there or does not answer, the exit code is that of the
    surroundings.
    """

    def __init__(self, findings: list[Finding]) -> None:
        """Keep all findings; the text is the list of them."""
        self.findings = findings
        errors = [f for f in findings if f.severity == "error"]
        if errors and {f.code for f in errors} <= {UnavailableError.code, ExternalError.code}:
            self.exit_code = UnavailableError.exit_code
        super().__init__("\n".join(str(f) for f in findings), place=errors[0].place if errors else None)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel with all findings."""
        return type(self), (self.findings,)

    def __str__(self) -> str:
        """Render one finding a line."""
        return self.what
