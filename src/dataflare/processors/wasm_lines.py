"""JSON lines straight into a plugin: no table is made of what comes in.

Only where that gives what the reader of JSON lines gives: every line has each column, of plain types, with a value of
exactly its type, and nothing else. A block with any other line is left alone, and comes again as rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import pyarrow as pa

from dataflare.formats.jsonl.decode import JsonlDecoder
from dataflare.processors.python_lines import field_type, is_plain, parts_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.schema import Schema

TRIALS = 3
"""After so many blocks in a row that had to come again no further one is tried."""
_LINE_END = 10
_SCRIPT_MAX = 1 << 53


class PlainLines:
    """Judges lines of some columns. `rounds`: whole numbers must be such that JavaScript has them."""

    def __init__(self, schema: Schema, memory_bytes_max: int, *, rounds: bool) -> None:
        """Open nothing yet."""
        import msgspec

        arrow = schema.to_arrow()
        fields = [
            (f"c{n}", _bounded(field_type(f.type)) if rounds else field_type(f.type)) for n, f in enumerate(arrow)
        ]
        names = {f"c{n}": name for n, name in enumerate(arrow.names)}
        record = msgspec.defstruct("Line", fields, rename=names, forbid_unknown_fields=True, gc=False)
        self._decode = msgspec.json.Decoder(record).decode_lines
        self._schema, self._memory = schema, memory_bytes_max
        self._decoder: JsonlDecoder | None = None
        self.trials = TRIALS

    def portions(self, lines: bytes | memoryview) -> list[tuple[int, str]] | None:
        """Return the lines in portions, each with how many they are; None where one of them is not as plain."""
        import msgspec

        found = []
        for part in parts_of(bytes(lines)):
            try:
                count = len(self._decode(part))
            except (msgspec.MsgspecError, UnicodeDecodeError):
                return None
            begun = part.count(b"\n{") + part.startswith(b"{")
            if not count == begun == part.count(b"\n") + (part[-1] != _LINE_END):
                return None  # a blank line, or a record that is not on a line of its own
            found.append((count, part.decode().rstrip("\r\n")))
        return found

    def rows(self, text: str) -> pa.Table:
        """Return the rows of a portion."""
        if self._decoder is None:
            self._decoder = JsonlDecoder(self._schema, self._memory)
        return self._decoder.decode(text.encode() + b"\n").rows.cast(self._schema.to_arrow())

    def close(self) -> None:
        """Free what was opened."""
        if self._decoder is not None:
            self._decoder.close()


def takes_lines(given: Schema, seen: Sequence[str]) -> bool:
    """Tell whether lines of these columns may be given to a plugin that sees so many of them."""
    return len(seen) == len(given.columns) and all(map(is_plain, given))


def _bounded(kind: Any) -> Any:
    """Return the type with the bounds of a script's whole numbers, if it is that of wide ones."""
    import msgspec

    wide = field_type(pa.int64())
    return Annotated[int, msgspec.Meta(ge=-_SCRIPT_MAX, le=_SCRIPT_MAX)] | None if kind == wide else kind


__all__ = ["PlainLines", "takes_lines"]
