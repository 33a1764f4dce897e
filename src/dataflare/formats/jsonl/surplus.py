"""What JSON lines hold besides the fields that are known: which lines have more, and what is left of each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa

from dataflare.component.deviations import listed
from dataflare.formats.jsonl.session import JsonSession, literal
from dataflare.formats.rejected import Rejected, as_text

if TYPE_CHECKING:
    from collections.abc import Collection

_MEMORY_BYTES = 64 << 20


class Surplus:
    """Looks at the names of the outermost fields. Not for several threads at once; close it."""

    def __init__(self, known: Collection[str]) -> None:
        """Open nothing yet."""
        self._known = sorted(known)
        self._session: JsonSession | None = None

    def rejected(self, data: bytes, word: str) -> list[Rejected]:
        """Return the lines with other fields, each with a reason that names them; `word` is that of the contract.

        Lines that are no objects are left to whoever reads them.
        """
        lines = data.split(b"\n")
        known = ", ".join(map(literal, self._known))
        others = f"list_filter(try(json_keys(line)), lambda k: k not in ({known}))" if known else "try(json_keys(line))"
        found = self._asked(f"select n, o from (select n, {others} as o from rows) where len(o) > 0", lines)  # noqa: S608 - literals
        pairs = sorted(zip(found.column("n").to_pylist(), found.column("o").to_pylist(), strict=True))
        return [
            Rejected(n, as_text(lines[n]), f"the row has fields that the plan does not know: {listed(o)}", word=word)
            for n, o in pairs
        ]

    def rest(self, data: bytes, count: int) -> pa.ChunkedArray:
        """Return what is left of each line without the known fields, as JSON; null where nothing is.

        `count` is the number of lines that are not blank.
        """
        patch = literal(json.dumps(dict.fromkeys(self._known)))
        left = f"json_merge_patch(line, {patch})::varchar"
        lines = [line for line in data.split(b"\n") if line.strip()]
        assert len(lines) == count, "each line is a row"
        return self._asked(f"select nullif({left}, '{{}}') as rest from rows order by n", lines).column("rest")  # noqa: S608

    def close(self) -> None:
        """Free everything."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _asked(self, sql: str, lines: list[bytes]) -> pa.Table:
        if self._session is None:
            self._session = JsonSession(_MEMORY_BYTES)
        try:
            texts = pa.array(lines, pa.binary()).cast(pa.string())
        except pa.ArrowInvalid:  # a line that is no UTF-8 is bad anyhow
            texts = pa.array([line.decode("utf-8", "replace") for line in lines], pa.string())
        numbers = pa.array(range(len(lines)), pa.int64())
        return self._session.query(sql, pa.table({"n": numbers, "line": texts}))


__all__ = ["Surplus"]
