"""The keys that a source has told, in layers of the state, and which of them are not there any more.

A layer is a segment: keys that were told, or keys that were told to be gone; the last one that has a key counts. Rows
add a layer, a comparison adds what it found gone, and writes all anew where that is less than what it would keep
(decision 0041). Memory holds a part of the keys at a time: where there are more, both sides are divided by a hash of
the key, in files that have no name.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.component.context import KEY_GROUPS
from dataflare.component.packed import packed, unpacked
from dataflare.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import IO

    from dataflare.component.context import Segments

Layer = dict[str, Any]
"""What a position says of a segment: `segment`, `rows`, `bytes` (in memory), `gone`, `base`."""
Groups = Callable[["pa.Table", "Sequence[str]"], "pa.ChunkedArray"]
"""Returns the key group (0..255) of each row."""

LAYER_BYTES = 8 << 20
LAYERS_MAX = 64
"""So many layers beside those that were written as a whole are written as one by the next comparison."""
_N = "/n"


class KeyLayers:
    """Layers on their way into the state. `told` are those that are there; without `segments` none is kept."""

    def __init__(self, segments: Segments | None, told: Iterable[Layer]) -> None:
        """Begin behind the layers that are there."""
        self._segments = segments
        self._told = list(told)
        self._tail: list[pa.Table] = []
        self._tail_bytes, self._kind = 0, (False, False)
        self._open: Layer | None = None

    def add(self, keys: pa.Table, *, gone: bool = False, base: bool = False) -> None:
        """Take keys in: told, or told to be gone; `base`: of a layer that is written as a whole."""
        if self._segments is None or not keys.num_rows:
            return
        if self._kind != (gone, base):
            self._close()
            self._kind = gone, base
        self._tail.append(keys)
        self._tail_bytes += keys.nbytes
        if self._tail_bytes >= LAYER_BYTES:
            self._close()

    def full(self) -> list[Layer]:
        """Return the layers that do not change any more: not all keys are in them."""
        return list(self._told)

    def told(self) -> list[Layer]:
        """Make all keys durable; return the layers. The last one is written again until it is full."""
        if self._tail and (self._open is None or self._open["rows"] != sum(t.num_rows for t in self._tail)):
            self._open = self._put()
        return [*self._told, self._open] if self._open is not None else list(self._told)

    def _close(self) -> None:
        if self._tail:
            self._told = self.told()
        self._tail, self._tail_bytes, self._open = [], 0, None

    def _put(self) -> Layer:
        assert self._segments is not None
        gone, base = self._kind
        data = packed(self._tail, self._tail[0].schema)
        rows = sum(t.num_rows for t in self._tail)
        marks = {name: True for name, is_so in (("gone", gone), ("base", base)) if is_so}
        return {"segment": self._segments.put(data), "rows": rows, "bytes": self._tail_bytes, **marks}


def wants_whole(layers: Sequence[Layer]) -> bool:
    """Tell whether the layers are better written anew, as a whole: the others have half as many keys, or are many."""
    base = sum(layer["rows"] for layer in layers if layer.get("base"))
    others = [layer["rows"] for layer in layers if not layer.get("base")]
    return len(others) > LAYERS_MAX or 2 * sum(others) > base


class Comparison:
    """Compares the keys of layers with those that are there; `groups` divides them where memory is too small."""

    def __init__(
        self, segments: Segments, names: Sequence[str], memory_bytes_max: int, groups: Groups, schema: pa.Schema
    ) -> None:
        """Read nothing yet; `schema` is that of the keys as they are read now."""
        self._segments, self._names, self._most = segments, list(names), memory_bytes_max
        self._groups, self._schema = groups, schema

    def run(self, layers: Sequence[Layer], there: Iterable[pa.Table]) -> Iterator[tuple[pa.Table, pa.Table] | None]:
        """Yield keys that are gone with those that are still there, in parts; None now and then before."""
        if sum(layer["bytes"] for layer in layers) <= self._most:
            yield from self._compared(self._layers(layers), there)
            return
        number = 2
        while number < KEY_GROUPS and sum(layer["bytes"] for layer in layers) > number * self._most:
            number *= 2
        known, found = _Divided(self._parted(number)), _Divided(self._parted(number))
        try:
            for keys in self._layers(layers):
                known.add(keys)
                yield None
            for keys in _gathered(there, self._most // 4):
                found.add(keys)
                yield None
            for part in range(number):
                yield from self._compared(known.part(part), found.part(part))
        finally:
            known.close()
            found.close()

    def _compared(
        self, layers: Iterable[pa.Table], there: Iterable[pa.Table]
    ) -> Iterator[tuple[pa.Table, pa.Table] | None]:
        known = missing = self._newest(list(layers))
        for keys in _gathered(there, max(self._most // 4, missing.nbytes // 4)):
            if missing.num_rows:
                missing = missing.join(keys.select(self._names), self._names, join_type="left anti", use_threads=False)
            yield None
        stay = known.join(missing, self._names, join_type="left anti", use_threads=False) if missing.num_rows else known
        yield missing, stay

    def _newest(self, layers: list[pa.Table]) -> pa.Table:
        """Return each key once of which the last layer does not say that it is gone; layers are numbered, odd: gone."""
        import pyarrow.compute as pc

        keys = self._schema.append(pa.field(_N, pa.int64()))
        rows = pa.concat_tables(layers) if layers else keys.empty_table()
        last = rows.group_by(self._names, use_threads=False).aggregate([(_N, "max")])
        return last.filter(pc.equal(pc.bit_wise_and(last.column(f"{_N}_max"), 1), 0)).select(self._names)

    def _layers(self, layers: Sequence[Layer]) -> Iterator[pa.Table]:
        for number, layer in enumerate(layers):
            for rows in unpacked(self._segments.get(layer["segment"])):
                keys = self._as_now(rows)
                mark = pa.repeat(pa.scalar(2 * number + bool(layer.get("gone")), pa.int64()), keys.num_rows)
                yield keys.append_column(_N, mark)

    def _as_now(self, rows: pa.Table) -> pa.Table:
        """Return keys in the types that they have now: a column may have been widened."""
        try:
            return rows.select(self._names).cast(self._schema)
        except (KeyError, ValueError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise StateError(
                f"the keys that are known are not those of now: {', '.join(rows.column_names)}, and "
                f"{', '.join(self._names)} of other types",
                hint="begin anew with another id of the workflow, or take the key that it began with",
            ) from error

    def _parted(self, number: int) -> Callable[[pa.Table], Iterator[tuple[int, pa.Table]]]:
        """Return what divides rows into so many parts by their keys."""
        import pyarrow.compute as pc

        def parts(rows: pa.Table) -> Iterator[tuple[int, pa.Table]]:
            of = pc.bit_wise_and(self._groups(rows, self._names), number - 1).combine_chunks()
            order = pc.sort_indices(of)
            rows, of = rows.take(order), of.take(order)
            ends = pc.search_sorted(of, pa.array(range(number), of.type), side="right").to_pylist()
            for part, (begin, end) in enumerate(zip([0, *ends], ends, strict=False)):
                if end > begin:
                    yield part, rows.slice(begin, end - begin)

        return parts


class _Divided:
    """Rows in parts, in a file that goes away with the process."""

    def __init__(self, parts: Callable[[pa.Table], Iterator[tuple[int, pa.Table]]]) -> None:
        self._parts = parts
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._places: dict[int, list[tuple[int, int]]] = {}

    def add(self, rows: pa.Table) -> None:
        for part, of_it in self._parts(rows):
            data = packed([of_it], of_it.schema)
            self._places.setdefault(part, []).append((self._file.seek(0, 2), len(data)))
            self._file.write(data)

    def part(self, number: int) -> Iterator[pa.Table]:
        for begin, size in self._places.get(number, ()):
            self._file.seek(begin)
            yield from unpacked(self._file.read(size))

    def close(self) -> None:
        self._file.close()


def _gathered(tables: Iterable[pa.Table], bytes_max: int) -> Iterator[pa.Table]:
    """Yield tables as fewer ones: each join costs as much as what is looked for."""
    found: list[pa.Table] = []
    size = 0
    for table in tables:
        found.append(table)
        size += table.nbytes
        if size >= bytes_max:
            yield pa.concat_tables(found)
            found, size = [], 0
    if found:
        yield pa.concat_tables(found)


def layers_told(positions: Mapping[str, Mapping[str, Any] | None]) -> list[Layer]:
    """Return the layers that positions of splits tell, in the order of their numbers."""
    told = sorted((p for p in positions.values() if p is not None and "layers" in p), key=lambda p: p["number"])
    return [layer for position in told for layer in position["layers"]]


__all__ = ["LAYER_BYTES", "Comparison", "Groups", "KeyLayers", "Layer", "layers_told", "wants_whole"]
