"""Messages of a replication stream, one behind the other in one buffer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

PADDING = bytes(16)
"""Behind the last message, so that numbers can be read at any byte of it."""

Integers = np.ndarray[Any, np.dtype[np.int64]]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class Frames:
    """Messages at `starts` up to `ends` of `data`, in the order of the log, with padding behind.

    `wal_end` is how far the server has read its log (0: it did not say), `reply_wanted` whether it asks for an answer.
    """

    data: bytes
    starts: Integers
    ends: Integers
    wal_end: int = 0
    reply_wanted: bool = False

    @classmethod
    def of(cls, messages: Sequence[bytes], *, head: int = 0) -> Frames:
        """Join messages; the first `head` bytes of each are not of it."""
        return cls.joined(b"".join((*messages, PADDING)), list(accumulate(map(len, messages))), head)

    @classmethod
    def joined(
        cls, data: bytes, ends: Sequence[int], head: int, *, wal_end: int = 0, reply_wanted: bool = False
    ) -> Frames:
        """Tell the messages of bytes by where they end; padding is behind the last."""
        stops = np.array(ends, np.int64)
        starts = np.concatenate([np.zeros(1, np.int64), stops])[:-1] + head
        return cls(data, starts, stops, wal_end, reply_wanted)

    def __len__(self) -> int:
        """Return how many messages there are."""
        return len(self.starts)

    def slice(self, first: int, end: int) -> Frames:
        """Return some of the messages, in the same buffer."""
        found = Frames(self.data, self.starts[first:end], self.ends[first:end], self.wal_end)
        found.__dict__.update({k: v for k, v in self.__dict__.items() if k in ("octets", "words", "longs")})
        return found

    def keep(self, chosen: np.ndarray[Any, np.dtype[np.bool_]]) -> Frames:
        """Return the messages that are chosen, in the same buffer."""
        return Frames(self.data, self.starts[chosen], self.ends[chosen], self.wal_end)

    @cached_property
    def octets(self) -> Bytes:
        """The bytes."""
        return np.frombuffer(self.data, np.uint8)

    @cached_property
    def words(self) -> np.ndarray[Any, Any]:
        """The unsigned numbers of four bytes at every byte."""
        return np.ndarray((len(self.data) - 3,), ">u4", self.data, strides=(1,))

    @cached_property
    def longs(self) -> np.ndarray[Any, Any]:
        """The signed numbers of eight bytes at every byte; LSNs and times are among them."""
        return np.ndarray((len(self.data) - 7,), ">i8", self.data, strides=(1,))

    @cached_property
    def kinds(self) -> Bytes:
        """The first byte of each message: what it is."""
        return self.octets[self.starts]


__all__ = ["PADDING", "Bytes", "Frames", "Integers"]
