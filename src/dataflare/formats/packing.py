"""Packed text: gzip, zstd, bzip2 and xz are unpacked piece by piece, gzip and zstd are written."""

from __future__ import annotations

import io
import zlib
from typing import IO, TYPE_CHECKING, Any, Literal, cast

from dataflare.errors import DataError, Place
from dataflare.formats.encoder import Encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from dataflare.formats.encoder import Sink

Packing = Literal["none", "gzip", "zstd", "bz2", "xz"]

PACKED = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".xz": "xz"}
EXTENSIONS = {"none": "", "gzip": ".gz", "zstd": ".zst"}
PIECE_BYTES = 1 << 20
ZSTD_LEVEL, GZIP_LEVEL = 3, 6


def packing_of(name: str, told: str | None = None) -> str:
    """Return how a file is packed: as told, else by the end of its name."""
    if told is not None:
        return told
    return next((kind for end, kind in PACKED.items() if name.lower().endswith(end)), "none")


def bare(name: str) -> str:
    """Return a file name without the extension of its packing."""
    end = next((end for end in PACKED if name.lower().endswith(end)), "")
    return name[: len(name) - len(end)] if end else name


class Pieces(io.RawIOBase):
    """The pieces of a file, as what libraries read from."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        """Take none yet."""
        self._pieces, self._rest = pieces, memoryview(b"")

    def readable(self) -> bool:
        """Say so."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Take as much as there is of the next piece, at most."""
        if not self._rest:
            self._rest = memoryview(next(self._pieces, b""))
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def unpacked(pieces: Iterator[bytes], packing: str, name: str) -> Iterator[bytes]:
    """Yield the text of a packed file, a bounded piece at a time; raise DataError where it is damaged or cut off."""
    import lzma

    if packing == "none":
        yield from pieces
        return
    open_as = {"gzip": _gunzip, "zstd": _unzstd, "bz2": _bunzip, "xz": _unxz}[packing]
    try:
        yield from open_as(pieces)
    except EOFError:
        raise cut_off(packing, name) from None
    except (zlib.error, lzma.LZMAError, OSError) as error:
        if "runcated" in str(error):
            raise cut_off(packing, name) from None
        raise DataError(
            f"not a sound {packing} file: {error}",
            hint=f"was it copied whole, and is it {packing} at all? ({_TESTERS[packing]} tells)",
            place=Place(name),
        ) from error


_TESTERS = {"gzip": "gzip -t", "zstd": "zstd -t", "bz2": "bzip2 -t", "xz": "xz -t"}


def cut_off(packing: str, name: str) -> DataError:
    """Return the error for a packed file without its end."""
    return DataError(
        f"the {packing} file is cut off",
        hint="is it still being written, or was it copied in part?",
        place=Place(name),
    )


def _gunzip(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Unpack one or more gzip members; zeros after the last one are padding."""
    unpacker, begun = zlib.decompressobj(31), False
    for piece in pieces:
        raw, full = piece, False
        while raw or full:
            part = unpacker.decompress(raw, PIECE_BYTES)
            begun, full = True, len(part) == PIECE_BYTES
            if part:
                yield part
            raw = unpacker.unconsumed_tail
            if unpacker.eof:
                raw = unpacker.unused_data
                unpacker, begun, full = zlib.decompressobj(31), False, False
                raw = raw.lstrip(b"\0") if not raw.strip(b"\0") else raw
    if begun:
        raise EOFError


def _read_all(file: Any) -> Iterator[bytes]:
    while piece := file.read(PIECE_BYTES):
        yield piece


def _bunzip(pieces: Iterator[bytes]) -> Iterator[bytes]:
    import bz2

    with bz2.BZ2File(Pieces(pieces)) as file:
        yield from _read_all(file)


def _unxz(pieces: Iterator[bytes]) -> Iterator[bytes]:
    import lzma

    with lzma.LZMAFile(cast("IO[bytes]", Pieces(pieces))) as file:
        yield from _read_all(file)


def _unzstd(pieces: Iterator[bytes]) -> Iterator[bytes]:
    import pyarrow as pa

    with pa.CompressedInputStream(pa.PythonFile(Pieces(pieces), "r"), "zstd") as file:
        yield from _read_all(file)


class Packer:
    """A sink that packs what it gets and hands it on; memory: a megabyte."""

    def __init__(self, sink: Sink, packing: str) -> None:
        """`packing` is gzip or zstd."""
        self._sink, self._packing = sink, packing
        self._held = bytearray()
        self._packer: Any = None
        self._begun = False

    def write(self, data: bytes | memoryview) -> None:
        """Take bytes; they may be held back."""
        self._held += data
        if len(self._held) >= PIECE_BYTES:
            self._flush()

    def finish(self) -> None:
        """Write what is held; what was written is whole, and more may follow behind it as a file of its own."""
        if self._held or not self._begun:
            self._flush()
        if self._packer is not None:
            self._sink.write(self._packer.flush())
            self._packer = None

    def _flush(self) -> None:
        self._begun = True
        data = bytes(self._held)
        self._held.clear()
        if self._packing == "zstd":
            import pyarrow as pa

            self._sink.write(pa.Codec("zstd", ZSTD_LEVEL).compress(data, asbytes=True))
            return
        self._packer = self._packer or zlib.compressobj(GZIP_LEVEL, wbits=31)
        self._sink.write(self._packer.compress(data))


def packed(data: bytes, packing: str) -> bytes:
    """Return bytes packed alone."""
    if packing == "none" or not data:
        return data
    sink = io.BytesIO()
    packer = Packer(sink, packing)
    packer.write(data)
    packer.finish()
    return sink.getvalue()


class PackedEncoder(Encoder):
    """An encoder whose bytes are packed on their way."""

    def __init__(self, sink: Sink, packing: str, make: Callable[[Sink], Encoder]) -> None:
        """`make` is given the sink to write into."""
        self._packer = Packer(sink, packing)
        self._encoder = make(self._packer)

    def write(self, rows: pa.Table) -> None:
        """Append rows."""
        self._encoder.write(rows)

    @property
    def held_bytes(self) -> int:
        """How many bytes of rows are held back."""
        return self._encoder.held_bytes

    def flush(self) -> None:
        """Write what the encoder holds."""
        self._encoder.flush()

    def finish(self) -> None:
        """End the text, then the packing."""
        self._encoder.finish()
        self._packer.finish()


__all__ = [
    "EXTENSIONS",
    "PACKED",
    "PackedEncoder",
    "Packer",
    "Packing",
    "Pieces",
    "bare",
    "packed",
    "packing_of",
    "unpacked",
]
