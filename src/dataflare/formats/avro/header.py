"""The beginning of an Avro file: its schema, how its blocks are packed, and the mark that stands behind each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dataflare.errors import DataError

if TYPE_CHECKING:
    from dataflare.formats.container import Readable

MAGIC = b"Obj\x01"
SYNC_BYTES = 16
VARINT_BYTES_MAX = 10
CURE = "is it still being written, or was it copied in part?"
_READ_BYTES, _HEADER_BYTES_MAX = 64 << 10, 16 << 20
_AS_THEY_ARE_STORED = ("uuid", "duration")
"""Logical types that are read as what they are stored as: text, and twelve bytes."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself; `raw` is a header for the same blocks whose schema is the one to be read.

    `unions`: that schema, where a union of several types is in it.
    """

    raw: bytes
    length: int
    sync: bytes
    unions: dict[str, Any] | None = None


def read_header(file: Readable) -> Header:
    """Read a header; raise DataError where there is none, and for types that are not read."""
    size = _READ_BYTES
    while True:
        head = file.pread(0, min(size, file.size))
        if head[: len(MAGIC)] != MAGIC:
            raise DataError("not an Avro file: it does not begin with Obj")
        try:
            entries, length = _entries(head)
            break
        except IndexError:
            if size >= file.size or size > _HEADER_BYTES_MAX:
                raise DataError("the header of the Avro file is cut off", hint=CURE) from None
            size *= 4
    sync = head[length : length + SYNC_BYTES]
    if len(sync) < SYNC_BYTES:
        raise DataError("the header of the Avro file is cut off", hint=CURE)
    try:
        schema = json.loads(entries["avro.schema"])
    except (KeyError, ValueError):
        raise DataError("the Avro file tells no schema", hint=CURE) from None
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise DataError("the Avro file holds no records", hint="only files of records are rows")
    readable = _readable(schema, (), ())
    entries["avro.schema"] = json.dumps(readable).encode()
    return Header(_written(entries) + sync, length + SYNC_BYTES, sync, readable if _has_unions(readable) else None)


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number and the place behind it; raise IndexError where the bytes end before."""
    shift = value = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the last byte has no mark
            return (value >> 1) ^ -(value & 1), at
        shift += 7
        if shift > 7 * VARINT_BYTES_MAX:
            raise DataError("not a sound Avro file: a number is too long", hint=CURE)


def _number(value: int) -> bytes:
    rest, found = value << 1, bytearray()
    while rest >= 0x80:  # noqa: PLR2004
        found.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*found, rest])


def _entries(head: bytes) -> tuple[dict[str, bytes], int]:
    """Return the entries of a header and where they end; raise IndexError where the bytes end before."""
    found: dict[str, bytes] = {}
    count, at = varint(head, len(MAGIC))
    while count:
        if count < 0:
            _, at = varint(head, at)
        for _ in range(abs(count)):
            key, at = _bytes(head, at)
            found[key.decode("utf-8", "replace")], at = _bytes(head, at)
        count, at = varint(head, at)
    return found, at


def _bytes(head: bytes, at: int) -> tuple[bytes, int]:
    length, at = varint(head, at)
    if length < 0 or at + length > len(head):
        raise IndexError
    return head[at : at + length], at + length


def _written(entries: dict[str, bytes]) -> bytes:
    pairs = b"".join(_number(len(k)) + k.encode() + _number(len(v)) + v for k, v in entries.items())
    return MAGIC + _number(len(entries)) + pairs + _number(0)


def _readable(kind: Any, path: tuple[str, ...], above: tuple[str, ...]) -> Any:
    """Return a type without the logical types that are not read as such; raise DataError for what is not read at all.

    `above` names the records around it.
    """
    if isinstance(kind, str):
        if kind in above or kind.rpartition(".")[2] in above:
            raise _unread(path, f"holds itself ({kind})", "records that hold themselves are no columns")
        return kind
    if isinstance(kind, list):
        branches = [_readable(k, path, above) for k in kind]
        if len(branches) == 1 or all(b == "null" for b in branches):
            names = ", ".join(str(b) for b in kind)
            raise _unread(path, f"is a union of {names} alone", "name the type itself, or null and a type")
        return branches
    inner = dict(kind)
    if inner.get("logicalType") in _AS_THEY_ARE_STORED:
        del inner["logicalType"]
    if isinstance(inner.get("type"), dict | list):
        inner["type"] = _readable(inner["type"], path, above)
    if inner.get("type") in ("record", "error"):
        around = (*above, str(inner.get("name")))
        inner["fields"] = [
            {**f, "type": _readable(f["type"], (*path, str(f["name"])), around)} for f in inner.get("fields", ())
        ]
    for part in ("items", "values"):
        if part in inner:
            inner[part] = _readable(inner[part], path, above)
    return inner


def _has_unions(kind: Any) -> bool:
    """Tell whether a type that is read has a union of several types in it."""
    if isinstance(kind, list):
        return sum(k != "null" for k in kind) > 1 or any(map(_has_unions, kind))
    if not isinstance(kind, dict):
        return False
    return any(map(_has_unions, [kind.get(part) for part in ("type", "items", "values")])) or any(
        _has_unions(f["type"]) for f in kind.get("fields", ())
    )


def _unread(path: tuple[str, ...], what: str, hint: str) -> DataError:
    return DataError(f"the Avro field {'.'.join(path)!r} {what}", hint=hint)


__all__ = ["CURE", "MAGIC", "SYNC_BYTES", "VARINT_BYTES_MAX", "Header", "read_header", "varint"]
