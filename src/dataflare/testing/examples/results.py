"""What came of a test: passed or failed, and how what came out differs from what was expected."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataflare.errors import Place


@dataclass(frozen=True, slots=True)
class Failure:
    """One expectation that does not hold: where it stands, what is wrong, and line by line how rows differ."""

    message: str
    place: Place
    difference: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"message": self.message, **asdict(self.place), "difference": list(self.difference)}

    def __str__(self) -> str:
        """Render over several lines."""
        return "\n".join([f"{self.place}: {self.message}", *(f"    {line}" for line in self.difference)])


@dataclass(frozen=True, slots=True)
class Result:
    """How a test ended; `notes` are what else happened that may explain a failure."""

    name: str
    place: Place
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()
    elapsed_seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether all that was expected holds."""
        return not self.failures

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "test": self.name,
            "status": "passed" if self.passed else "failed",
            "file": self.place.file,
            "line": self.place.line,
            "elapsed_seconds": round(self.elapsed_seconds, 6),
            "failures": [f.as_json() for f in self.failures],
            "notes": list(self.notes),
        }


__all__ = ["Failure", "Result"]
