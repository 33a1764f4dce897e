"""The contract of lookups: rows by key, for enrichment."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dataflare.component.contract import C, Component
from dataflare.errors import WorkflowError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from dataflare.component.source import SourceConnector
    from dataflare.schema import Schema


class Lookup(Component[C]):
    """Answers rows by key. It may be down or change: its node's error policy decides.

    `by_key`: `find` is cheap for a few keys; else everything is read at once, by `everything`. After an error it is
    closed, and opened before it is asked again.
    """

    by_key: bool = True

    def declared(self) -> Schema | None:
        """Return the schema of the answers if the settings alone tell it; touch nothing. None: ask `schema`."""
        return None

    @abstractmethod
    def schema(self) -> Schema:
        """Return the schema of the answers, keys included; may open files and connections (called without `open`)."""

    @abstractmethod
    def find(self, keys: pa.Table) -> pa.Table:
        """Return the rows whose key columns equal a row of `keys`, in no order; no key is null, none comes twice."""

    @abstractmethod
    def everything(self) -> Iterator[pa.Table]:
        """Yield all rows, always in one order."""


class SourceLookup(Lookup[C]):
    """A lookup whose rows are those that a bounded source reads, all of them."""

    by_key = False

    @abstractmethod
    def source(self) -> SourceConnector[Any]:
        """Return a new source, without a context."""

    def declared(self) -> Schema | None:
        """Return what the source declares."""
        streams = self._staged().declared()
        return None if streams is None else next(iter(streams.values())).schema

    def schema(self) -> Schema:
        """Ask the source."""
        streams: Any = self._staged().streams()
        if len(streams) != 1:
            raise WorkflowError(f"a lookup is one table, not {len(streams)}", hint="name one table")
        return next(iter(streams.values())).schema  # type: ignore[no-any-return]

    def find(self, keys: pa.Table) -> pa.Table:
        """Refuse: `by_key` says that it cannot."""
        raise NotImplementedError

    def everything(self) -> Iterator[pa.Table]:
        """Read all splits of the source."""
        source = self._staged()
        try:
            streams: Any = source.streams()
            source.context = replace(source.context, schemas={name: s.schema for name, s in streams.items()})
            source.open()
            splits = source.splits(None)
            for split in splits if isinstance(splits, Iterable) else ():
                batches = source.read(split, None, None)
                if isinstance(batches, Iterable):
                    yield from (b.rows for b in batches if b.num_rows and b.stream in streams)
        finally:
            source.close()

    def _staged(self) -> SourceConnector[Any]:
        source = self.source()
        source.context = replace(self.context, mode="full", on_error="fail", schemas={})
        return source
