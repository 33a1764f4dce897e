"""Semantic versions: how they are written, and which one is newer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering

from dataflare.errors import WorkflowError

_NUMBER = r"(?:0|[1-9]\d{0,8})"
_VERSION = re.compile(
    rf"(?P<major>{_NUMBER})\.(?P<minor>{_NUMBER})\.(?P<patch>{_NUMBER})"
    r"(?:-(?P<early>[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+(?P<build>[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?",
    re.ASCII,
)
_LENGTH_MAX = 64


@total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    """A version; a pre-release goes before its release, and what follows `+` only keeps equal ones in an order."""

    release: tuple[int, int, int]
    early: tuple[str, ...] = ()
    build: str = ""

    @classmethod
    def of(cls, text: str) -> Version:
        """Read one; raise WorkflowError where it is none."""
        found = _VERSION.fullmatch(text) if len(text) <= _LENGTH_MAX else None
        early = tuple(found["early"].split(".")) if found and found["early"] else ()
        if found is None or any(p.isdigit() and len(p) > 1 and p[0] == "0" for p in early):
            raise WorkflowError(f"{text[:_LENGTH_MAX]!r} is no semantic version", hint="such as 1.2.0")
        release = int(found["major"]), int(found["minor"]), int(found["patch"])
        return cls(release, early, found["build"] or "")

    @classmethod
    def is_valid(cls, text: str) -> bool:
        """Tell whether a text is a version."""
        try:
            cls.of(text)
        except WorkflowError:
            return False
        return True

    def __lt__(self, other: Version) -> bool:
        """Order as semantic versioning does: numbers by value and before words."""
        return self._order() < other._order()

    def _order(self) -> tuple[object, ...]:
        early = [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in self.early]
        return self.release, not self.early, early, self.build


def newest(versions: list[str]) -> list[str]:
    """Return versions, the newest first; a release before all pre-releases, which only who names them wants."""
    return sorted(versions, key=lambda text: (not Version.of(text).early, Version.of(text)), reverse=True)


__all__ = ["Version", "newest"]
