"""Finds the store of each path, and the files behind several paths in one order."""

from __future__ import annotations

import fnmatch
import heapq
import re
from operator import itemgetter
from typing import TYPE_CHECKING

from dataflare.connectors.file.local_store import LocalStore
from dataflare.errors import UnavailableError
from dataflare.objects.settings import SCHEME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataflare.component import StageContext
    from dataflare.connectors.file.settings import FileSourceConfig
    from dataflare.connectors.file.store import Entry, Store
    from dataflare.objects.settings import ObjectStoreConfig


class Stores:
    """The stores of one connector; each is opened when the first of its files is asked for."""

    def __init__(self, context: StageContext, objects: ObjectStoreConfig) -> None:
        """Open none yet."""
        self._context, self._config = context, objects
        self._local = LocalStore(context)
        self._objects: dict[str, Store] = {}

    def of(self, name: str) -> Store:
        """Return where a file, folder or glob is."""
        if not name.startswith(SCHEME):
            return self._local
        from dataflare.connectors.file.object_store import Bucket, ObjectStore, split_name

        bucket, _ = split_name(name)
        if bucket not in self._objects:
            self._objects[bucket] = ObjectStore(Bucket(self._context, bucket, self._config))
        return self._objects[bucket]

    def full(self, name: str) -> str:
        """Return the text by which files are ordered."""
        return self.of(name).full(name)

    def behind(self, config: FileSourceConfig, *, allow_empty: bool, after: str = "") -> Iterator[Entry]:
        """Yield all files behind the paths, each once, in the order of their full names, those after the file `after`.

        Looks no further than asked. Raises UnavailableError where there is none behind one of the paths, unless that
        is allowed.
        """
        bound = self.full(after) if after else ""
        merged = heapq.merge(*(self._each(path, bound, allow_empty) for path in config.paths), key=itemgetter(0))
        left_out = [re.compile(self._pattern(glob)).fullmatch for glob in config.exclude]
        before, found = "", False
        for full, entry in merged:
            if full == before or any(matches(full) for matches in left_out):
                continue
            before, found = full, True
            yield entry
        if config.exclude and not found and not allow_empty:
            raise UnavailableError("`exclude` leaves no file", hint="correct it, or set allow_empty: true")

    def are_there(self, config: FileSourceConfig) -> bool:
        """Tell whether there is something behind each path: what is mounted no more has not lost its files."""
        return all(next(self.of(path).behind(path), None) is not None for path in config.paths)

    def _each(self, path: str, after: str, allow_empty: bool) -> Iterator[tuple[str, Entry]]:  # noqa: FBT001 - inner
        store, found = self.of(path), False
        for entry in store.behind(path, after):
            found = True
            yield store.full(entry.name), entry
        if not found and not allow_empty:
            hint = "check the path, or set allow_empty: true if there may be none"
            raise UnavailableError(store.nothing_behind(path), hint=hint)

    def _pattern(self, text: str) -> str:
        """Return what matches the files behind a glob; one without a folder is about names in any folder."""
        if "/" not in text:
            return f"(?s:.*/)?{fnmatch.translate(text)}"
        parts = []
        for part in re.split(r"(\*\*/|\*\*|\*|\?)", self.full(text)):
            signs = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
            parts.append(signs.get(part, re.escape(part)))
        return "".join(parts)


__all__ = ["Stores"]
