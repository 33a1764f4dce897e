"""What a pass over files reads: files recognised again when they grew or were replaced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from dataflare.connectors.file.store import Entry, Store
    from dataflare.connectors.file.stores import Stores


@dataclass(frozen=True, slots=True)
class Listed:
    """A file of one pass: what it was when it was listed, and from where this pass reads it."""

    name: str
    size: int
    modified: int
    mark: int
    start: int = 0

    def to_json(self) -> list[Any]:
        """Return what a position keeps."""
        return [self.name, self.size, self.modified, self.mark, self.start]

    @classmethod
    def from_json(cls, value: list[Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(*value)


def listed_anew(store: Store, listed: Listed) -> Listed:
    """Return a file as it was listed where it is still the same or has only grown, else as it is now."""
    entry = store.entry(listed.name)
    if entry.size >= listed.size and store.mark(entry, listed.size) == listed.mark:
        return listed
    return Listed(listed.name, entry.size, entry.modified, store.mark(entry, entry.size))


def changed_files(
    stores: Stores,
    entries: Iterable[Entry],
    known: Mapping[str, list[int]],
    grows: Callable[[str], bool],
) -> tuple[list[Listed], list[str]]:
    """Return what there is to read beyond what is `known` (name to size, time, mark), and the names of replaced files.

    A file that grew is read from its former end, if what was before is still there and `grows` says so; one that
    changed otherwise is read as a new file; one that was only touched is not read.
    """
    listed, replaced = [], []
    for entry in entries:
        name, size, modified = entry.name, entry.size, entry.modified
        store, before = stores.of(name), known.get(name)
        if before is None:
            listed.append(Listed(name, size, modified, store.mark(entry, size)))
            continue
        old_size, old_modified, old_mark = before
        if (size, modified) == (old_size, old_modified):
            continue
        same_before = size >= old_size and store.mark(entry, old_size) == old_mark
        if same_before and size == old_size:
            continue
        start = old_size if same_before and grows(name) else 0
        if start == 0:
            replaced.append(name)
        listed.append(Listed(name, size, modified, store.mark(entry, size), start))
    return listed, replaced


def remembered(files: Mapping[str, list[int]], there: set[str], seconds: float) -> Mapping[str, list[int]]:
    """Return what was read, without the files that are gone and by so much older than the newest."""
    newest = max(modified for _, modified, _ in files.values())
    oldest = newest - int(seconds * 1e9)
    kept = {name: value for name, value in files.items() if value[1] >= oldest or name in there}
    return kept if len(kept) < len(files) else files


__all__ = ["Listed", "changed_files", "listed_anew", "remembered"]
