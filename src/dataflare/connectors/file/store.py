"""Where files live: one small contract, which the file system keeps, and object stores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dataflare.errors import UnavailableError


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as it was seen.

    `name` is as positions and messages write it, `size` in bytes, `modified` in nanoseconds since 1970; `tag` changes
    with the content, and `identity` stays when the file has another name, where the store has them.
    """

    name: str
    size: int
    modified: int
    tag: str = ""
    identity: str = ""


class OpenFile(ABC):
    """One file that is open for reading, at any place of it.

    `size` is what it had when it was opened; `read_bytes` is a good amount to read at a time.
    """

    read_bytes: ClassVar[int] = 1 << 20
    name: str
    size: int

    @abstractmethod
    def pread(self, start: int, end: int) -> bytes:
        """Return these bytes, or fewer where the file ends before them; raise UnavailableError where it is refused."""

    @abstractmethod
    def fill(self, buffer: bytearray, start: int) -> int:
        """Read from `start` on into a buffer; return how many bytes, fewer than it holds only at the end."""

    @abstractmethod
    def close(self) -> None:
        """Let go of it."""


class Store(ABC):
    """One place of files. All calls block; what is refused is UnavailableError with the name and the cure."""

    @abstractmethod
    def full(self, name: str) -> str:
        """Return the whole of a name; files are in the order of these texts."""

    @abstractmethod
    def behind(self, path: str, after: str = "") -> Iterator[Entry]:
        """Yield the files behind a file, folder or glob in order, those whose full names come after `after`.

        Looks no further than asked and holds a bounded number of names at a time. Hidden files are left out.
        """

    @abstractmethod
    def nothing_behind(self, path: str) -> str:
        """Say what is there instead, where nothing is behind a path."""

    @abstractmethod
    def has(self, name: str) -> bool:
        """Tell whether there is a file of this name."""

    @abstractmethod
    def entry(self, name: str) -> Entry:
        """Return a file as it is now; raise UnavailableError where there is none."""

    @abstractmethod
    def open(self, name: str) -> OpenFile:
        """Open a file for reading."""

    def ahead(self, names: Sequence[str]) -> None:
        """Get ready for a few small files that are opened next; where that takes no time, do nothing."""
        del names

    @abstractmethod
    def seekable(self, name: str) -> Any:
        """Return what Arrow can open: a path, or an object that reads and seeks."""

    @abstractmethod
    def mark(self, entry: Entry, end: int) -> int:
        """Return a number by which a file that only grew beyond `end` is known again."""

    @abstractmethod
    def fingerprint(self, name: str) -> list[Any]:
        """Return JSON values by which `is_known` knows the file again as it is now."""

    @abstractmethod
    def is_known(self, name: str, was: list[Any]) -> bool:
        """Tell whether a file is untouched or has only grown; raise DataError where it is another one."""

    @abstractmethod
    def unreadable(self, names: Iterable[str]) -> list[UnavailableError]:
        """Return an error for each file that may not be read, at most so many."""


__all__ = ["Entry", "OpenFile", "Store"]
