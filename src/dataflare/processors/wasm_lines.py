"""JSON lines straight into a plugin: no table is made of what comes in.

Only where that gives what the reader of JSON lines gives: every line has each column, of plain types, with a value of
exactly its type, and nothing else. A block with any other line is left alone, and comes again as rows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import pyarrow as pa

from dataflare.formats.jsonl.decode import JsonlDecoder
from dataflare.processors.python_lines import field_type, is_plain, parts_of
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Sequence


TRIALS = 3
"""After so many blocks in a row that had to come again no further one is tried."""
_LINE_END = 10
_SCRIPT_MAX = 1 << 53


class PlainLines:
    """Judges JSON lines of columns of plain types, and reads them. Close it."""

    def __init__(self, schema: Schema, memory_bytes_max: int, record: Any) -> None:
        """`record` is the type of msgspec that each line must be."""
        import msgspec

        self._decode = msgspec.json.Decoder(record).decode_lines
        self._schema, self._memory, self._returned = schema, memory_bytes_max, schema.names
        self._decoder: JsonlDecoder | None = None
        self.trials = TRIALS

    @classmethod
    def given(cls, schema: Schema, memory_bytes_max: int, *, rounds: bool) -> PlainLines:
        """Judge what goes into a plugin: each line has every column.

        `rounds`: whole numbers must be such that JavaScript has them.
        """
        kinds = [field_type(f.type) for f in schema.to_arrow()]
        fields = [(f"c{n}", _bounded(kind) if rounds else kind) for n, kind in enumerate(kinds)]
        return cls(schema, memory_bytes_max, _record(fields, schema.names))

    @classmethod
    def returned(cls, schema: Schema, memory_bytes_max: int, ignored: Schema) -> PlainLines:
        """Judge what comes out of one: columns may be missing, and `ignored` ones may be there."""
        import msgspec

        others = [c for c in ignored if c.name not in schema]
        kinds = [field_type(f.type) for f in schema.to_arrow()]
        fields: list[tuple[Any, ...]] = [(f"c{n}", kind, None) for n, kind in enumerate(kinds)]
        fields += [(f"c{n}", msgspec.Raw, msgspec.Raw()) for n in range(len(kinds), len(kinds) + len(others))]
        # Columns that are not asked for take DuckDB longer than those that are.
        read = Schema((*schema, *(replace(c, type="json") for c in others)))
        made = cls(read, memory_bytes_max, _record(fields, read.names))
        made._returned = schema.names
        return made

    def read(self, text: str) -> pa.Table | None:
        """Return the rows of lines; None where one of them is not as plain, or has a null where none may be."""
        import msgspec

        if not self.trials:
            return None
        try:
            count = len(self._decode(text))
        except (msgspec.MsgspecError, RecursionError):
            self.trials -= 1
            return None
        self.trials = TRIALS
        rows = self.rows(text) if count == text.count("\n") + 1 else None
        return rows.select(self._returned) if rows is not None and rows.num_rows == count else None

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
        """Return the rows of a portion, without those that do not fit."""
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


def _record(fields: Sequence[tuple[Any, ...]], names: Sequence[str]) -> Any:
    """Return the type of a line that has fields of these names and no others."""
    import msgspec

    rename = {f"c{n}": name for n, name in enumerate(names)}
    return msgspec.defstruct("Line", fields, rename=rename, forbid_unknown_fields=True, gc=False)


def _bounded(kind: Any) -> Any:
    """Return the type with the bounds of a script's whole numbers, if it is that of wide ones."""
    import msgspec

    wide = field_type(pa.int64())
    return Annotated[int, msgspec.Meta(ge=-_SCRIPT_MAX, le=_SCRIPT_MAX)] | None if kind == wide else kind


__all__ = ["PlainLines", "takes_lines"]
