"""Gathers everything that is wrong with a workflow, so that its author hears it all at once."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dataflare.errors import Finding, Place

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(slots=True)
class Findings:
    """Findings in the order in which they were made; `found` sorts them by place and drops repetitions."""

    file: str = ""
    items: list[Finding] = field(default_factory=list)

    def error(self, code: str, message: str, place: Place, hint: str = "") -> None:
        """Add an error: the workflow cannot run."""
        self.items.append(Finding("error", f"workflow.{code}", message, hint, place))

    def warning(self, code: str, message: str, place: Place, hint: str = "") -> None:
        """Add a warning: the workflow can run, but not as its author may think."""
        self.items.append(Finding("warning", f"workflow.{code}", message, hint, place))

    def info(self, code: str, message: str, place: Place, hint: str = "") -> None:
        """Add something that its author may want to know."""
        self.items.append(Finding("info", f"workflow.{code}", message, hint, place))

    def add(self, finding: Finding) -> None:
        """Add what a component or an engine had to say."""
        self.items.append(finding)

    @property
    def failed(self) -> bool:
        """Whether there is an error."""
        return any(f.severity == "error" for f in self.items)

    def told(self, path: str) -> bool:
        """Whether an error stands at a path of the document, or below it."""
        below = (f"{path}.", f"{path}[")
        return any(
            f.severity == "error" and (f.place.path == path or f.place.path.startswith(below)) for f in self.items
        )

    def found(self) -> list[Finding]:
        """Return the findings from the top of the file to its end, each once."""
        unique = dict.fromkeys(self.items)
        return sorted(unique, key=lambda f: (f.place.line, f.place.column))


_COMPARED_MAX = 200
"""With so many words at most is one compared that is not known."""


def near(word: str, choices: Iterable[str]) -> str:
    """Return a hint for a word that is not one of the choices: the nearest one, else all of them if they are few."""
    known = _compared(word, choices)
    close = nearest(word, known)
    if close is not None:
        return f"did you mean {close!r}?"
    shown = 12
    return f"known: {', '.join(known)}" if 0 < len(known) <= shown else ""


def nearest(word: str, choices: Iterable[str], alike: float = 0.6) -> str | None:
    """Return the choice that a word is most like, by a share of at least `alike`; None where it is like none."""
    known = _compared(word, choices)
    close = difflib.get_close_matches(word, known, n=1, cutoff=alike) or [k for k in known if k.lower() == word.lower()]
    return close[0] if close else None


def _compared(word: str, choices: Iterable[str]) -> list[str]:
    known = sorted({str(c) for c in choices})
    if len(known) > _COMPARED_MAX:  # those that begin alike, or a long workflow with many mistakes takes minutes
        known = [k for k in known if k[:1].lower() == word[:1].lower()][:_COMPARED_MAX]
    return known
