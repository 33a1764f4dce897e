"""Frames between the engine and the process that runs a user's function: a JSON head, and an Arrow stream or lines."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Callable

_LENGTHS = struct.Struct("!QQ")
LENGTHS_BYTES = _LENGTHS.size

OUT_OF_MEMORY = 87
"""The exit status of a worker that came to its memory limit."""

ROW_COLUMN = "_row"
"""The last column of an answer that was asked for the place in the request from which each row came."""


LINES = "lines"
"""Stands in the head of a frame whose body is JSON lines."""


def frame(head: dict[str, Any], rows: pa.Table | None = None) -> list[bytes | pa.Buffer]:
    """Return the parts of a frame, to be sent one after the other."""
    text = json.dumps(head).encode()
    if rows is None:
        return [_LENGTHS.pack(len(text), 0) + text]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    body = sink.getvalue()
    return [_LENGTHS.pack(len(text), body.size) + text, body]


def lines_frame(head: dict[str, Any], lines: bytes | memoryview) -> list[bytes | memoryview]:
    """Return the parts of a frame whose body is JSON lines."""
    text = json.dumps({**head, LINES: True}).encode()
    return [_LENGTHS.pack(len(text), len(lines)) + text, lines]


def lengths(data: bytes | bytearray) -> tuple[int, int]:
    """Return how many bytes of head and of body follow."""
    head, body = _LENGTHS.unpack(data)
    return head, body


def read_frame(read: Callable[[int], bytearray]) -> tuple[dict[str, Any], pa.Table | bytearray | None]:
    """Read one frame; `read(n)` returns exactly n bytes or raises. A table lies in the bytes read, uncopied."""
    head_bytes, body_bytes = lengths(read(LENGTHS_BYTES))
    head = json.loads(read(head_bytes))
    if not body_bytes:
        return head, None
    if head.get(LINES):
        return head, read(body_bytes)
    with pa.ipc.open_stream(pa.py_buffer(read(body_bytes))) as reader:
        return head, reader.read_all()
