"""What was asked of the sources of a workflow from outside, kept in its state until it is done.

Keys, under `TENANT/WORKFLOW/`: `requests/NODE/ID`. Whoever asks writes them, also while the workflow runs.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from dataflare.component import Reread

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dataflare.state.records import Records

PREFIX = "requests/"


class Requests:
    """Those of one workflow. Blocking."""

    def __init__(self, records: Records) -> None:
        """Read nothing yet."""
        self._records = records

    def add(self, node: str, request: Reread, now: int) -> str:
        """Write a request down; return its id, which no other one has."""
        while not self._records.create(f"{PREFIX}{node}/{now}", asdict(replace(request, id=str(now)))):
            now += 1
        return str(now)

    def read(self) -> dict[str, list[Reread]]:
        """Return what is not done, by node, in the order in which it was asked."""
        found: dict[str, list[Reread]] = {}
        for key in self._records.keys(PREFIX):
            if (value := self._records.get(key)) is not None:
                found.setdefault(key.split("/")[1], []).append(Reread(**value))
        return found

    def remove(self, node: str, identities: Iterable[str]) -> None:
        """Forget what is done."""
        self._records.delete(f"{PREFIX}{node}/{identity}" for identity in identities)


__all__ = ["Requests"]
