"""Reads files that are made of pieces: row groups of Parquet, record batches of Arrow, blocks of Avro."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.batch import Batch
from dataflare.component.judging import Judge
from dataflare.connectors.file.storage import storage
from dataflare.errors import DataError, Place, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dataflare.batch import Position
    from dataflare.component import Split
    from dataflare.connectors.file.store import OpenFile, Store
    from dataflare.formats.container import Container
    from dataflare.schema import Schema

_NAMES = {
    "parquet": "a Parquet file",
    "arrow": "an Arrow file",
    "arrow_stream": "an Arrow stream",
    "avro": "an Avro file",
}
_PIECES = {"parquet": "row group", "arrow": "record batch", "arrow_stream": "record batch", "avro": "block"}


def open_container(store: Store, name: str, kind: str) -> Container:
    """Open a file; raise UnavailableError where that is not possible and DataError where it is not of this kind."""
    with _sound(store.full(name), name, lambda: f"not {_NAMES[kind]}"):
        return contained(kind, lambda: store.open(name), lambda: store.seekable(name))


def contained(kind: str, opened: Callable[[], OpenFile], seekable: Callable[[], Any]) -> Container:
    """Return what reads a file of this kind, which is asked for in one of two ways."""
    if kind == "parquet":
        from dataflare.formats.parquet.read import ParquetContainer

        return ParquetContainer(seekable())
    with ExitStack() as kept:
        file = opened()
        kept.callback(file.close)
        made: Container
        if kind == "avro":
            from dataflare.formats.avro.read import AvroContainer

            made = AvroContainer(file)
        else:
            from dataflare.formats.arrow.read import ArrowContainer

            made = ArrowContainer(file)
        kept.pop_all()
        return made


@contextmanager
def _sound(path: str, name: str, what: Callable[[], str]) -> Iterator[None]:
    """Translate what the system refuses, and what Arrow finds damaged: some of that are OSErrors without a number."""
    try:
        with storage(path):
            yield
    except DataError as error:
        raise error.at(Place(name)) from None
    except (pa.ArrowException, UnavailableError) as error:
        if isinstance(error, UnavailableError) and (not error.__cause__ or getattr(error.__cause__, "errno", None)):
            raise
        reason = str(error.__cause__ or error).partition("\n")[0]
        raise DataError(
            f"{what()}: {reason}", hint="is it still being written, or was it copied in part?", place=Place(name)
        ) from error


class GroupReader:
    """One open file; counts the bytes that it reads in `bytes_read`."""

    def __init__(self, store: Store, name: str, kind: str, schema: Schema, data_type: str) -> None:
        """Open; read the columns of `schema` that are there, by the contract's word about types."""
        self.name, self._kind = name, kind
        self._judge = Judge(schema, data_type, "file", name)
        self._file = open_container(store, name, kind)
        there = set(self._file.schema.names)
        self._columns = [c.name for c in schema if c.name in there]
        self._counted = 0

    def read(self, split: Split, since: Position | None, memory_bytes_max: int, *, put_aside: bool) -> Iterator[Batch]:
        """Yield the pieces of a split, each whole where a quarter of the memory holds it, else in parts.

        A position is the next piece, and how many of its rows are done. `put_aside`: rows that do not fit the plan
        follow the others as a batch of the stream `errors`, instead of raising DataError.
        """
        rows_done = bool(since and since.get("rows_done"))
        first = since["group"] if since else split.data["start"]
        skip = since.get("row", 0) if since else 0
        reached = first
        with _sound(self.name, self.name, lambda: f"{_PIECES[self._kind]} {reached} cannot be read"):
            for rows, piece, before, after in self._file.read(
                first, split.data["end"], self._columns, memory_bytes_max // 4
            ):
                reached, done = after, before + rows.num_rows
                if piece == first and done <= skip and after == piece:
                    continue
                left = rows.slice(max(0, skip - before)) if piece == first else rows
                position = {"group": after} if after != piece else {"group": piece, "row": done}
                bad = self._judge.misfits(left) if put_aside else {}
                if bad:
                    if not rows_done:
                        begun = {"group": piece, "row": done - left.num_rows, "rows_done": True}
                        yield Batch(self._judge.without(left, bad), position=begun)
                    yield Batch(self._judge.errors(left, bad), "errors", position)
                else:
                    yield Batch(self._judge.fitted(left), position=position)
                rows_done = False

    def bytes_read(self) -> int:
        """Return how many bytes were read since this was asked last."""
        before, self._counted = self._counted, self._file.bytes_read
        return self._counted - before

    def close(self) -> None:
        """Close the file."""
        self._file.close()


__all__ = ["GroupReader", "contained", "open_container"]
