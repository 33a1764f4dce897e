"""The zip that a package is: written in one way, and read only where it was written in that way.

Nothing is compressed, so a file cannot become larger than what was read. What a header says is compared with what is
there and with what would have been written; a byte more or less anywhere is an error.
"""

from __future__ import annotations

import stat
import zlib
from struct import Struct
from typing import TYPE_CHECKING

from dataflare.errors import Place, WorkflowError
from dataflare.plugin.manifest import is_file_name

if TYPE_CHECKING:
    from collections.abc import Sequence

FILES_MAX = 1000
ENTRY_BYTES_MAX, TOTAL_BYTES_MAX = 64 << 20, 128 << 20
_LOCAL = Struct("<IHHHHHIIIHH")
_CENTRAL = Struct("<IHHHHHHIIIHHHHHII")
_END = Struct("<IHHHHIIH")
_LOCAL_SIGN, _CENTRAL_SIGN, _END_SIGN = 0x04034B50, 0x02014B50, 0x06054B50
_VERSION, _UNIX = 20, 3 << 8 | 20
_TIME, _DATE = 0, 0x21
"""Midnight of 1980-01-01, the first moment that a zip can tell."""
_MODE = (stat.S_IFREG | 0o644) << 16
_NAME_BYTES_MAX = 1100


def archived(files: Sequence[tuple[str, bytes]]) -> bytes:
    """Return a zip of these files, in this order."""
    parts: list[bytes] = []
    at, central = 0, []
    for name, data in files:
        head = _local(name, data)
        central.append(_of_contents(name, data, at))
        parts += [head, data]
        at += len(head) + len(data)
    contents = b"".join(central)
    return b"".join([*parts, contents, _end(len(files), len(contents), at)])


def unarchived(data: bytes, shown: str) -> list[tuple[str, bytes]]:
    """Return the files of a zip that `archived` has written; raise WorkflowError where it is another one."""
    files: list[tuple[str, bytes]] = []
    at = total = 0
    seen: dict[str, str] = {}
    while data[at : at + 4] == _LOCAL_SIGN.to_bytes(4, "little"):
        if len(files) == FILES_MAX:
            raise _refused(f"there are more than {FILES_MAX} files in it", shown)
        name, found, at = _file(data, at, shown)
        total += len(found)
        if total > TOTAL_BYTES_MAX:
            raise _refused(f"its files have more than {TOTAL_BYTES_MAX >> 20} MB", shown)
        if name.lower() in seen:
            other = seen[name.lower()]
            twice = f"{name} is there twice" if other == name else f"{other} and {name} are one file on some systems"
            raise _refused(twice, shown)
        seen[name.lower()] = name
        files.append((name, found))
    if not files:
        raise _refused("it does not begin with a file", shown)
    _check_contents(data, files, at, shown)
    return files


def _file(data: bytes, at: int, shown: str) -> tuple[str, bytes, int]:
    """Return the name and the bytes of the file whose header is here, and where it ends."""
    if len(data) < at + _LOCAL.size:
        raise _refused("it ends in the middle", shown)
    fields = _LOCAL.unpack_from(data, at)
    flags, method = fields[2:4]
    packed, size, length = fields[7:10]
    at += _LOCAL.size
    try:
        name = data[at : at + min(length, _NAME_BYTES_MAX)].decode("ascii")
    except UnicodeDecodeError:
        name = ""
    if not is_file_name(name):
        what = data[at : at + min(length, 100)]
        raise _refused(f"{what!r} is no plain path below its folder", shown)
    if method or packed != size:
        raise _refused(f"{name} is compressed", shown)
    if flags:
        raise _refused(f"{name} has marks that no package has ({flags:#x})", shown)
    if size > ENTRY_BYTES_MAX:
        raise _refused(f"{name} has more than {ENTRY_BYTES_MAX >> 20} MB", shown)
    begin = at + length + fields[10]
    if len(data) < begin + size:
        raise _refused("it ends in the middle", shown)
    found = data[begin : begin + size]
    if fields[6] != zlib.crc32(found):
        raise _refused(f"{name} is damaged", shown)
    if data[at - _LOCAL.size : begin] != _local(name, found):
        raise _refused(f"the header of {name} is another one", shown)
    return name, found, begin + size


def _check_contents(data: bytes, files: Sequence[tuple[str, bytes]], at: int, shown: str) -> None:
    """Compare the table of contents and the end with what would have been written."""
    start, offset = at, 0
    for name, found in files:
        wanted = _of_contents(name, found, offset)
        told = data[at : at + len(wanted)]
        if told != wanted:
            linked = len(told) >= _CENTRAL.size and stat.S_ISLNK(_CENTRAL.unpack_from(told)[15] >> 16)
            what = f"{name} is a link" if linked else f"its table of contents says something else of {name}"
            raise _refused(what, shown)
        at += len(wanted)
        offset += _LOCAL.size + len(name) + len(found)
    end = _end(len(files), at - start, start)
    if data[at : at + len(end)] != end:
        raise _refused("its table of contents ends in another way", shown)
    if len(data) > at + len(end):
        raise _refused(f"there are {len(data) - at - len(end)} bytes after its end", shown)


def _local(name: str, data: bytes) -> bytes:
    size = len(data)
    fields = _LOCAL_SIGN, _VERSION, 0, 0, _TIME, _DATE, zlib.crc32(data), size, size, len(name), 0
    return _LOCAL.pack(*fields) + name.encode("ascii")


def _of_contents(name: str, data: bytes, at: int) -> bytes:
    size = len(data)
    fields = (_CENTRAL_SIGN, _UNIX, _VERSION, 0, 0, _TIME, _DATE, zlib.crc32(data), size, size, len(name), 0, 0, 0, 0)
    return _CENTRAL.pack(*fields, _MODE, at) + name.encode("ascii")


def _end(count: int, size: int, at: int) -> bytes:
    return _END.pack(_END_SIGN, 0, 0, count, count, size, at, 0)


def _refused(what: str, shown: str) -> WorkflowError:
    return WorkflowError(
        f"this is no sound package: {what}", hint="packages are made by `dataflare plugin pack`", place=Place(shown)
    )


__all__ = ["ENTRY_BYTES_MAX", "FILES_MAX", "TOTAL_BYTES_MAX", "archived", "unarchived"]
