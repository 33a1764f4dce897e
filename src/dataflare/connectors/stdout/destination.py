"""Writes rows to standard output, as JSON lines or as a table for eyes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal

from dataflare.component import Config, DestinationConnector, Field, destination
from dataflare.errors import UnavailableError
from dataflare.formats.encoder import text_bytes
from dataflare.formats.jsonl.encode import JsonTexts
from dataflare.plan_words import Mechanism

if TYPE_CHECKING:
    import pyarrow as pa

    from dataflare.batch import Batch


class StdoutConfig(Config):
    """Settings of the stdout destination."""

    format: Literal["jsonl", "json", "table"] = Field("jsonl", description="jsonl, or table: aligned columns.")
    width_max: int = Field(40, ge=4, description="Table: characters of a cell at most.")


@destination("stdout", status="beta", mechanisms=(Mechanism.APPEND,), examples=[{"format": "table"}])
class StdoutDestination(DestinationConnector[StdoutConfig]):
    """Writes rows to standard output as they come.

    At least once: after a crash, rows since the last checkpoint are written again.
    """

    def open(self) -> None:
        """Take hold of standard output."""
        self._out = sys.stdout.buffer
        self._texts = JsonTexts(self.context.budget.memory_bytes_max)
        self._json = [c.name for s in self.context.schemas.values() for c in s if c.type == "json"]
        self._widths: dict[str, int] = {}

    def write(self, batch: Batch) -> None:
        """Write the rows and flush."""
        try:
            if self.config.format == "table":
                self._out.write(self._table(batch.rows).encode())
            else:
                for part in text_bytes(self._texts.lines(batch.rows, self._json)):
                    self._out.write(part)
            self._out.flush()
        except OSError as error:
            raise UnavailableError(f"standard output is closed: {error.strerror}") from error

    def close(self) -> None:
        """Free what makes the text."""
        if hasattr(self, "_texts"):
            self._texts.close()

    def _table(self, rows: pa.Table) -> str:
        """Return the lines of a batch; a header when its columns are new, widths as they were found first."""
        cells = {
            name: [_cell(v, self.config.width_max) for v in rows.column(name).to_pylist()] for name in rows.column_names
        }
        lines = []
        if list(self._widths) != rows.column_names:
            self._widths = {
                name: max([len(name[: self.config.width_max]), *map(len, texts)]) for name, texts in cells.items()
            }
            lines.append("  ".join(n[:w].ljust(w) for n, w in self._widths.items()).rstrip())
            lines.append("  ".join("-" * w for w in self._widths.values()))
        widths = self._widths.values()
        lines += [
            "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
            for row in zip(*cells.values(), strict=True)
        ]
        return "\n".join(lines) + "\n"


def _cell(value: Any, width_max: int) -> str:
    text = "" if value is None else str(value).replace("\n", "\\n")
    return text if len(text) <= width_max else text[: width_max - 1] + "…"


__all__ = ["StdoutConfig", "StdoutDestination"]
