"""State by key group: 256 small values packed into one, and taken apart for whoever owns which groups now."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

from dataflare.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Container, Mapping


def pack(groups: Mapping[int, bytes]) -> bytes:
    """Return one value: the length of a JSON index, the index (group to length, in order), then the values."""
    ordered = sorted(groups.items())
    index = json.dumps([(group, len(data)) for group, data in ordered]).encode()
    return b"".join([struct.pack(">I", len(index)), index, *(data for _, data in ordered)])


def unpack(data: bytes, wanted: Container[int]) -> dict[int, bytes]:
    """Return the wanted groups of a packed value; raise StateError when it is not whole."""
    try:
        (size,) = struct.unpack_from(">I", data)
        index = json.loads(data[4 : 4 + size])
    except (struct.error, ValueError) as error:
        raise StateError(f"a snapshot is not readable: {error}") from error
    at, found = 4 + size, {}
    for group, length in index:
        if group in wanted:
            found[group] = data[at : at + length]
        at += length
    if at != len(data):
        raise StateError(f"a snapshot has {len(data):,} bytes where its index says {at:,}")
    return found
