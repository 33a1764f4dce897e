"""What one file of text begins with, so that rows of other columns never come behind it."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from dataflare.errors import StateError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.component import Handle

_HEADER, _COLUMNS = "header", "columns"


@dataclass(frozen=True, slots=True)
class Beginning:
    """The bytes before the first row, and a mark of the columns that rows have ("": each row names its own).

    It travels in the handles of what is staged: the plan may be another one by the time that is committed.
    """

    header: bytes = b""
    columns: str = ""

    @classmethod
    def of(cls, header: bytes, names: Sequence[str]) -> Self:
        """Return that of a file whose rows have these columns."""
        return cls(header, hashlib.sha256(json.dumps(list(names)).encode()).hexdigest()[:16])

    def told(self) -> list[Handle]:
        """Return the handle that tells of it; none where rows name their columns."""
        return [{_HEADER: b64encode(self.header).decode(), _COLUMNS: self.columns}] if self.columns else []

    def behind(self, handles: Sequence[Handle]) -> Beginning:
        """Return what the handles tell of; else this, of the plan that there is now; raise StateError for bad ones."""
        told = next((h for h in handles if _COLUMNS in h), None)
        if told is None:
            return self
        try:
            return Beginning(b64decode(told[_HEADER], validate=True), str(told[_COLUMNS]))
        except ValueError as error:
            raise StateError(
                "a handle of the epoch is damaged", hint="start anew with another state or path"
            ) from error

    def check(self, before: str | None, path: object) -> None:
        """Raise UnavailableError where what is there was written with other columns; None: nobody knows of which."""
        if before and self.columns and before != self.columns:
            raise UnavailableError(
                f"the columns have changed since {path} was begun, and rows of other columns do not go behind it",
                hint="move it away (what was begun anew: begin with another runtime.state.path) and run again: the "
                "rows are kept; or write into a folder, where each file has the columns of its time",
            )


__all__ = ["Beginning"]
