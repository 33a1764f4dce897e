"""Objects as a destination: one for each task and epoch below a prefix, or one alone, exactly once.

Every step is one request that can be repeated, and each is followed by a note or a name that tells that it was done:

- `prepare` puts hidden objects, whole;
- `commit` copies each to its final name, and only then removes the hidden ones;
- `overwrite` publishes below a hidden prefix first (a generation); `finish` notes its names, copies them into place,
  removes what earlier runs had published, notes that it is published, and removes the generation;
- one object alone is put together when the run ends, from the parts that its generation has by then, and put whole.
"""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataflare.connectors.file.beginning import Beginning
from dataflare.connectors.file.object_staging import ObjectStaging, Prefix
from dataflare.connectors.file.staging import PART, StagedFile, checked_folder, checked_name, replaced
from dataflare.connectors.file.storage import storage
from dataflare.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dataflare.component import Epoch, Handle, StageContext
    from dataflare.connectors.file.object_store import Bucket

MANIFEST, BEGUN = ".manifest", ".begun"


class _Layout(ABC):
    """What many objects and one have in common: staging, generations, and the note of what is published."""

    header_in_parts: bool
    _has_generations: bool

    def __init__(self, prefix: Prefix, context: StageContext) -> None:
        """Touch nothing yet."""
        self._prefix, self._context = prefix, context
        self.staging = ObjectStaging(prefix, context)
        self._overwrites = context.write_mode == "overwrite"
        self._generation: str | None = None
        self._number = 0

    def open(self) -> None:
        """Look whether the bucket answers."""
        next(self._prefix.names(begin=self._published), None)

    def handles(self, epoch: Epoch, staged: Sequence[StagedFile]) -> Sequence[Handle]:
        """Return the handles of finished objects; the head also names the generation."""
        found: list[dict[str, Any]] = []
        for file in staged:
            place = {"folder": file.folder} if file.folder else {}
            final = self._final(epoch, file.folder)
            found.append({"staged": file.name, "final": final, **place, "rows": file.rows, "bytes": file.bytes})
        if self._has_generations and self._context.index == 0:
            self._generation = self._generation or self.staging.generation()
            found.append({"generation": self._generation})
        return found

    def commit(self, handles: Sequence[Handle]) -> None:
        """Publish; in a generation that is in place already there is nothing to do."""
        target = ""
        if self._has_generations:
            generation = _generation_of(handles)
            if self._prefix.read_note(self._published) == generation:
                self._generation = None
                return
            self._generation = generation
            target = f"{generation}/"
            self._begin(target, handles)
        staged = []
        for handle in handles:
            if "staged" in handle:
                staged.append(checked_name(handle["staged"]))
                self._prefix.publish(staged[-1], target + _path_of(handle))
        self._prefix.delete(staged)

    def abort(self, keep: Sequence[Handle]) -> None:
        """Remove what earlier attempts left."""
        kept = {h.get("staged") for h in keep} | {h.get("generation") for h in keep} | {self._generation}
        self._prefix.delete(n for n in self.staging.older() if n not in kept)
        self._prefix.end_uploads(self.staging.is_older)
        for name in self.staging.generations():
            if name not in kept:
                self._prefix.delete(self._prefix.names(f"{name}/"))

    def finish(self) -> None:
        """Put the generation in place."""
        if self._generation is None:
            return
        folder = f"{self._generation}/"
        if self._prefix.read_note(folder + BEGUN) is not None:  # else a newer attempt has finished it (invariant 4)
            self._put_in_place(folder)
            self._prefix.write_note(self._published, self._generation)
            self._prefix.delete(self._prefix.names(folder))
        self._generation = None

    def _begin(self, folder: str, handles: Sequence[Handle]) -> None:
        """Note that something of a generation is published."""
        del handles
        self._prefix.write_note(folder + BEGUN, 1)

    @abstractmethod
    def _put_in_place(self, folder: str) -> None:
        """Make what is in a generation visible; may be cut off and repeated."""

    @abstractmethod
    def _final(self, epoch: Epoch, folder: str) -> str:
        """Return the name of another part of an epoch."""

    @property
    def _published(self) -> str:
        return f".published-{self.staging.token}"


class ObjectFolder(_Layout):
    """Part objects below a prefix, and in partitions of it."""

    header_in_parts = True

    def __init__(
        self, bucket: Bucket, url: str, extension: str, context: StageContext, *, only_written: bool = False
    ) -> None:
        """Touch nothing yet. `only_written`: partitions of which nothing is written are left as they are."""
        super().__init__(Prefix(bucket, url), context)
        self._extension, self._only_written = extension, only_written
        self._has_generations = self._overwrites
        self._epoch = 0

    def _put_in_place(self, folder: str) -> None:
        names = self._prefix.read_note(folder + MANIFEST)
        if names is None:
            below = (n.removeprefix(folder) for n in self._prefix.names(folder))
            names = [n for n in below if PART.fullmatch(n.rpartition("/")[2])]
            self._prefix.write_note(folder + MANIFEST, names)
        for name in names:
            if not self._prefix.copy(folder + name, name):
                hint = "was the output folder cleaned by hand? start anew with another state or path"
                raise StateError(f"{self._prefix.url}/{folder}{name} is gone", hint=hint)
        there = (n for n in self._prefix.names() if _is_published(n))
        self._prefix.delete(replaced(there, names, only_written=self._only_written))

    def _final(self, epoch: Epoch, folder: str) -> str:
        """Return a final name that nobody has, also where the state (and with it the epochs) began anew."""
        self._number = self._number if self._epoch == epoch.number else 0
        self._epoch = epoch.number
        while True:
            final = f"part-{epoch.number:06}-{epoch.attempt}-{self._context.index}-{self._number}.{self._extension}"
            self._number += 1
            if self._prefix.owner(f"{folder}/{final}" if folder else final) is None:
                return final


class SingleObject(_Layout):
    """One object of text or Parquet, put together from parts when the run ends."""

    header_in_parts = False
    _has_generations = True

    def __init__(
        self,
        bucket: Bucket,
        url: str,
        context: StageContext,
        beginning: Beginning,
        merge: Callable[[Sequence[Path], Path, Path | None], None] | None,
    ) -> None:
        """`beginning` is that of a text; `merge` makes one file of parts that cannot just follow each other."""
        folder, _, self._name = url.rpartition("/")
        self._beside = Prefix(bucket, folder)
        super().__init__(Prefix(bucket, f"{folder}/.{self._name}.dataflare"), context)
        self._beginning, self._merge = beginning, merge

    def handles(self, epoch: Epoch, staged: Sequence[StagedFile]) -> Sequence[Handle]:
        """Return the handles of finished objects, and which columns they have."""
        return [*super().handles(epoch, staged), *(self._beginning.told() if staged else ())]

    def _begin(self, folder: str, handles: Sequence[Handle]) -> None:
        beginning, begun = self._beginning.behind(handles), self._begun(folder)
        beginning.check(begun.columns, f"{self._beside.url}/{self._name}")
        (told,) = (begun if begun.columns else beginning).told() or [{}]
        self._prefix.write_note(folder + BEGUN, told or 1)

    def _begun(self, folder: str) -> Beginning:
        """Return what the first parts of a generation begin with."""
        noted = self._prefix.read_note(folder + BEGUN)
        return Beginning().behind([noted] if isinstance(noted, dict) else [])

    def _put_in_place(self, folder: str) -> None:
        owner = self._beside.owner(self._name)
        if owner == self._generation:
            return  # by a finish that was cut off behind it
        before = owner is not None and not self._overwrites
        parts = [n for n in self._prefix.names(folder) if not n.endswith((BEGUN, MANIFEST))]
        if before and not parts:
            return
        with tempfile.TemporaryDirectory() as work:
            whole = Path(work, "whole")
            if self._merge is None:
                begun = self._begun(folder)
                self._join(parts, whole, None if before else (begun if begun.columns else self._beginning))
            else:
                files = [self._fetched(Path(work), number, name) for number, name in enumerate(parts)]
                self._merge(files, whole, self._fetched(Path(work), len(parts), "") if before else None)
            with whole.open("rb") as file:
                self._beside.put(self._name, file, owner=str(self._generation))

    def _join(self, parts: list[str], target: Path, beginning: Beginning | None) -> None:
        """Write the beginning, or what is there (None), and the parts behind it."""
        with storage(target), target.open("wb") as file:
            file.writelines(self._beside.pieces(self._name) if beginning is None else [beginning.header])
            for part in parts:
                file.writelines(self._prefix.pieces(part))

    def _fetched(self, work: Path, number: int, name: str) -> Path:
        target = work / f"part-{number}"
        with storage(target), target.open("wb") as file:
            file.writelines(self._prefix.pieces(name) if name else self._beside.pieces(self._name))
        return target

    def _final(self, epoch: Epoch, folder: str) -> str:
        del folder
        self._number += 1
        return f"{epoch.number:09}-{epoch.attempt}-{self._context.index:04}-{self._number:06}"


def _path_of(handle: Handle) -> str:
    folder, name = checked_folder(handle.get("folder", "")), checked_name(handle["final"])
    return f"{folder}/{name}" if folder else name


def _is_published(name: str) -> bool:
    *folders, last = name.split("/")
    return PART.fullmatch(last) is not None and all("=" in f and f[0] != "." for f in folders)


def _generation_of(handles: Sequence[Handle]) -> str:
    for handle in handles:
        if "generation" in handle:
            return checked_name(handle["generation"])
    raise StateError("the handles of the epoch name no generation")


__all__ = ["ObjectFolder", "SingleObject"]
