"""The slow way through a block with bad JSON lines: every good line comes out, every bad one with its reason."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pyarrow as pa

from dataflare.formats.jsonl.drift import long_fraction, misfit, plain
from dataflare.formats.jsonl.read import JsonlReader
from dataflare.formats.rejected import Decoded, Rejected, as_text

PIECE_BYTES = 64 << 10


def salvage(reader: JsonlReader, data: bytes) -> Decoded:
    """Read a block that has bad lines, or seems to have: each line is judged alone, good ones are read together."""
    found = _Salvage(reader)
    piece: list[tuple[int, bytes]] = []
    size = 0
    for number, line in enumerate(data.split(b"\n")):
        if not line.strip():
            continue
        piece.append((number, line))
        size += len(line)
        if size >= PIECE_BYTES:
            found.take(piece)
            piece, size = [], 0
    found.take(piece)
    rows = pa.concat_tables(found.tables) if found.tables else reader.target.empty_table()
    return Decoded(rows, sorted(found.rejected, key=lambda r: r.line))


class _Salvage:
    def __init__(self, reader: JsonlReader) -> None:
        self._reader = reader
        self.tables: list[pa.Table] = []
        self.rejected: list[Rejected] = []

    def take(self, piece: list[tuple[int, bytes]]) -> None:
        """Judge the lines of a piece, then read those that passed."""
        good = []
        for number, line in piece:
            exact, reason, column = self._judge(line)
            if reason is None:
                good.append((number, exact))
            else:
                self.rejected.append(Rejected(number, as_text(line), reason, column))
        self._halve(good)

    def _halve(self, piece: list[tuple[int, bytes]]) -> None:
        import duckdb

        if not piece:
            return
        try:
            self.tables.append(self._reader.read(b"\n".join(line for _, line in piece) + b"\n"))
        except (duckdb.Error, pa.ArrowInvalid):
            if len(piece) == 1:
                self.rejected.append(Rejected(piece[0][0], as_text(piece[0][1]), *self._why(piece[0][1])))
                return
            middle = len(piece) // 2
            self._halve(piece[:middle])
            self._halve(piece[middle:])

    def _judge(self, line: bytes) -> tuple[bytes, str | None, str]:
        """Return the line, decimals with many digits in quotes and integers plain, what is wrong with it, and where."""
        value, reason = _parsed(line)
        if reason is not None:
            return line, reason, ""
        quoted = False
        for column, field in zip(self._reader.schema, self._reader.target, strict=True):
            found = value.get(field.name)
            if found is None and not field.nullable:
                return line, f"column {field.name!r} is null", field.name
            if pa.types.is_decimal(field.type) and long_fraction(found):
                value[field.name], quoted = format(found, "f"), True
            bad = misfit(value.get(field.name), field.type, f"column {field.name!r}") if column.type != "json" else None
            if bad:
                return line, bad, field.name
            if column.type != "json" and (exact := plain(value.get(field.name), field.type)) != found:
                value[field.name], quoted = exact, True
        return json.dumps(value, default=float).encode() if quoted else line, None, ""

    def _why(self, line: bytes) -> tuple[str, str]:
        """Return why one bad line does not fit, without a value, and which column; they are tried one by one."""
        import duckdb

        for column in self._reader.schema:
            alone = JsonlReader(type(self._reader.schema)((column,)))
            try:
                alone.read(line)
            except (duckdb.Error, pa.ArrowInvalid):
                return f"column {column.name!r} is not {column.type}", column.name
            finally:
                alone.close()
        return "the line cannot be read", ""


def _parsed(line: bytes) -> tuple[dict[str, Any], str | None]:
    try:
        value = json.loads(line, parse_float=Decimal, parse_constant=Decimal)
    except UnicodeDecodeError:
        return {}, "the line is not valid UTF-8"
    except ValueError as error:
        message = error.msg if isinstance(error, json.JSONDecodeError) else "a number is too long"
        column = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        return {}, f"the line is not JSON: {message}{column}"
    except RecursionError:
        return {}, "the line is nested too deep"
    return (value, None) if isinstance(value, dict) else ({}, "the line is not a JSON object")


__all__ = ["salvage"]
