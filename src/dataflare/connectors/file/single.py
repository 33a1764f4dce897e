"""One file as a destination. Text grows by appending at commit; what cannot grow is put together at the end.

What is staged and noted lies in a hidden folder beside the file (`.NAME.dataflare`).

Appending twice is made impossible by a note that is durable before the append: what is appended, and how long the
file was. A commit that finds its own note unfinished cuts the file to that length and appends again. `overwrite`
does the same with a hidden file, which `finish` renames over the old one. Parquet and its like are complete at
`finish` only: their parts are copied into one, or the only part is renamed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dataflare.connectors.file.staging import (
    StagedFile,
    Staging,
    checked_name,
    make_durable,
    publish,
    read_note,
    remove_files,
    write_note,
)
from dataflare.connectors.file.storage import storage
from dataflare.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from dataflare.component import Epoch, Handle, StageContext
    from dataflare.connectors.file.beginning import Beginning

    Merge = Callable[[Sequence[Path], Path, Path | None], None]


class _Single:
    """What both have in common."""

    header_in_parts = False

    def __init__(self, path: Path, context: StageContext) -> None:
        """Touch nothing yet."""
        self._path, self._context = path, context
        self._hidden = path.with_name(f".{path.name}.dataflare")
        self.staging = Staging(self._hidden, context)
        self._overwrites = context.write_mode == "overwrite"
        self._generation: str | None = None

    def open(self) -> None:
        """Create the folders."""
        with storage(self._hidden):
            self._hidden.mkdir(parents=True, exist_ok=True)

    def handles(self, epoch: Epoch, staged: Sequence[StagedFile]) -> Sequence[Handle]:
        """Return the handles of finished files; the head also names the generation."""
        del epoch
        found: list[dict[str, Any]] = [
            {"staged": f.name, "final": f.name.removeprefix("."), "rows": f.rows, "bytes": f.bytes} for f in staged
        ]
        if self._context.index == 0 and self._has_generations:
            self._generation = self._generation or self.staging.generation()
            found.append({"generation": self._generation})
        return found

    def abort(self, keep: Sequence[Handle]) -> None:
        """Remove what earlier attempts left."""
        kept = {h.get("staged") for h in keep} | {h.get("generation") for h in keep} | {self._generation}
        remove_files(self._hidden, [n for n in self.staging.older() if n not in kept])
        for name in self.staging.generations():
            if name not in kept:
                path = self._hidden / name
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

    @property
    def _has_generations(self) -> bool:
        return self._overwrites

    def _adopt(self, handles: Sequence[Handle]) -> bool:
        """Learn the generation from handles; False where it is in place already."""
        names = [checked_name(h["generation"]) for h in handles if "generation" in h]
        if not names:
            raise StateError("the handles of the epoch name no generation")
        done = bool(read_note(self._hidden / "published") == names[0])
        self._generation = None if done else names[0]
        return not done

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep an attempt that does not know yet that it is dead from appending beside this one."""
        with storage(self._hidden), (self._hidden / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


class SingleText(_Single):
    """A CSV or JSON-lines file."""

    def __init__(self, path: Path, context: StageContext, beginning: Beginning) -> None:
        """`beginning` is what the file begins with."""
        super().__init__(path, context)
        self._beginning = beginning

    def handles(self, epoch: Epoch, staged: Sequence[StagedFile]) -> Sequence[Handle]:
        """Return the handles of finished files, and which columns they have."""
        return [*super().handles(epoch, staged), *(self._beginning.told() if staged else ())]

    def commit(self, handles: Sequence[Handle]) -> None:
        """Append what is staged, once; raise UnavailableError where what is there has other columns."""
        with self._alone():
            target = self._path
            if self._overwrites:
                if not self._adopt(handles):
                    return
                target = self._hidden / str(self._generation)
            names = [checked_name(h["staged"]) for h in handles if "staged" in h]
            note = read_note(self._hidden / "append") or {}
            begun = note.get("target") == target.name
            ours = begun and note["names"] == names
            swapped = begun and self._overwrites and note["done"] and not target.exists()  # by a finish cut off there
            if not swapped and not (ours and note["done"]):
                beginning = self._beginning.behind(handles)
                if begun and target.exists() and target.stat().st_size:
                    beginning.check(note.get("columns"), self._path)
                self._append(target, names, note["length"] if ours else None, beginning)
            remove_files(self._hidden, names)

    def finish(self) -> None:
        """Put the new file in the place of the old one, or see that there is one."""
        with self._alone(), storage(self._path):
            if self._overwrites:
                if self._generation is not None:
                    new = self._hidden / self._generation
                    if new.exists():
                        new.replace(self._path)
                        make_durable(self._path.parent)
                    write_note(self._hidden / "published", self._generation)
                    self._generation = None
            elif not self._path.exists():
                self._append(self._path, [], None, self._beginning)

    def _append(self, target: Path, names: list[str], length: int | None, beginning: Beginning) -> None:
        note: dict[str, Any] = {"target": target.name, "names": names, "length": length, "done": False}
        note["columns"] = beginning.columns
        if length is None:
            if not names and target.exists():
                return
            lost = [n for n in names if not (self._hidden / n).exists()]
            if lost:
                raise StateError(
                    f"{lost[0]}: what was staged for {self._path.name} is gone",
                    hint="was its hidden folder cleaned by hand? start anew with another state or path",
                )
            note["length"] = target.stat().st_size if target.exists() else 0
            write_note(self._hidden / "append", note)
        elif (target.stat().st_size if target.exists() else 0) < length:
            raise StateError(
                f"{target} is shorter than it was", hint="was it changed by hand while a run was broken off?"
            )
        with storage(target):
            try:
                self._copy(target, names, note["length"], beginning.header)
            except OSError:  # a full disk, most likely: readers must not see what was half appended
                os.truncate(target, note["length"])
                raise
        make_durable(target.parent)
        write_note(self._hidden / "append", {**note, "done": True})

    def _copy(self, target: Path, names: list[str], length: int, header: bytes) -> None:
        """Make the file what it was at this length and what is staged, durably."""
        with target.open("r+b" if target.exists() else "w+b") as file:
            file.truncate(length)
            file.seek(0, os.SEEK_END)
            if length == 0:
                file.write(header)
            for name in names:
                with (self._hidden / name).open("rb") as staged:
                    shutil.copyfileobj(staged, file, 1 << 20)
            file.flush()
            os.fsync(file.fileno())


class SingleAtEnd(_Single):
    """A file that is complete at the end only."""

    def __init__(self, path: Path, context: StageContext, merge: Merge, *, alone: bool = True) -> None:
        """`merge` makes one file of parts in order, or of none, behind what is there; `alone`: one part is a file."""
        super().__init__(path, context)
        self._merge, self._alone_suffices = merge, alone

    @property
    def _has_generations(self) -> bool:
        return True

    def commit(self, handles: Sequence[Handle]) -> None:
        """Keep the parts for the end."""
        with self._alone():
            if not self._adopt(handles):
                return
            parts = self._hidden / str(self._generation)
            with storage(parts):
                parts.mkdir(exist_ok=True)
            if (parts / "made").exists():
                return  # finish has begun: it had all parts
            for handle in handles:
                if "staged" in handle:
                    publish(self._hidden / checked_name(handle["staged"]), parts / checked_name(handle["final"]))
            make_durable(parts)

    def finish(self) -> None:
        """Make one file of the parts, and of what is there where rows are appended."""
        with self._alone(), storage(self._path):
            if self._generation is None:
                return
            parts = self._hidden / self._generation
            made = read_note(parts / "made")
            if made is None or not (self._path.exists() and self._path.stat().st_ino == made):
                self._replace(parts, made)
            write_note(self._hidden / "published", self._generation)
            shutil.rmtree(parts, ignore_errors=True)
            self._generation = None

    def _replace(self, parts: Path, made: int | None) -> None:
        sources = sorted(p for p in parts.iterdir() if p.name.startswith("staged-"))
        before = self._path if not self._overwrites and self._path.exists() else None
        if before is not None and not sources:
            return
        result = sources[0] if sources else parts / "empty"
        if not sources:
            self._merge([], result, None)
        elif len(sources) > 1 or before is not None or not self._alone_suffices:
            result = parts / "merged"
            if made is None or not result.exists() or result.stat().st_ino != made:
                self._merge(sources, result, before)
        write_note(parts / "made", result.stat().st_ino)
        result.replace(self._path)
        make_durable(self._path.parent)


__all__ = ["SingleAtEnd", "SingleText"]
