"""Every durable byte passes here: a format number and a checksum before the payload; encryption is a later format."""

from __future__ import annotations

import struct
import zlib

from dataflare.errors import StateError

MAGIC = b"DFv"
IDENTITY = 1
CURE = (
    "roll back to an older checkpoint: dataflare checkpoint rollback FILE EPOCH; or move the folder of the state away, "
    "then begin anew or import a savepoint: dataflare checkpoint import FILE SAVEPOINT"
)
_HEADER = struct.Struct(">3sBIQ")
HEADER_BYTES = _HEADER.size


def payload_bytes(header: bytes) -> int:
    """Return how many bytes of payload follow a header; it may be damaged: `decode` tells."""
    length: int = _HEADER.unpack_from(header)[-1]
    return length


class Codec:
    """Wraps a payload as magic, format, CRC-32 and length; refuses what is torn, cut or flipped (invariant 3)."""

    def encode(self, payload: bytes) -> bytes:
        """Return the durable form."""
        return _HEADER.pack(MAGIC, IDENTITY, zlib.crc32(payload), len(payload)) + payload

    def decode(self, data: bytes) -> bytes:
        """Return the payload; raise StateError when it is not just what was written."""
        if len(data) < _HEADER.size:
            raise StateError(f"a durable value has {len(data)} bytes, less than its header", hint=CURE)
        magic, number, checksum, length = _HEADER.unpack_from(data)
        payload = data[_HEADER.size :]
        if magic != MAGIC:
            raise StateError("a durable value does not start as one of DataFlare's", hint=CURE)
        if number != IDENTITY:
            raise StateError(f"a durable value has format {number}, which this version does not read")
        if len(payload) != length or zlib.crc32(payload) != checksum:
            raise StateError(
                f"a durable value is damaged: {len(payload):,} of {length:,} bytes, or wrong bytes",
                hint=CURE,
            )
        return payload
