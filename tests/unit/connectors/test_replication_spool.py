"""Transactions that are open are kept in bounded memory, then on disk behind the codec, and come back as they were."""

from __future__ import annotations

import tempfile
from typing import IO, TYPE_CHECKING, Any

import pytest

from dataflare.connectors.postgres.replication import spool as spools
from dataflare.connectors.postgres.replication.frames import Frames
from dataflare.connectors.postgres.replication.spool import Spool
from dataflare.errors import StateError, UnavailableError
from dataflare.security.codec import MAGIC

if TYPE_CHECKING:
    from collections.abc import Sequence

PLAIN = tempfile.TemporaryFile


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> list[IO[bytes]]:
    """The temporary files that are made."""
    made: list[IO[bytes]] = []

    def make(**options: Any) -> IO[bytes]:
        made.append(PLAIN(**options))
        return made[-1]

    monkeypatch.setattr(spools.tempfile, "TemporaryFile", make)
    return made


def message(transaction: int, text: str) -> bytes:
    return b"I" + transaction.to_bytes(4, "big") + text.encode()


def kept(spool: Spool, top: int, messages: list[bytes]) -> None:
    spool.start(top)
    spool.add(Frames.of([b"head" + m for m in messages], head=4))
    spool.stop()


def back(spool: Spool, top: int) -> list[bytes]:
    return [f.data[a:b] for f in spool.commit(top, lambda _: ()) for a, b in zip(f.starts, f.ends, strict=True)]


def test_what_is_large_goes_to_disk_behind_the_codec_and_comes_back_in_order(files: list[IO[bytes]]) -> None:
    spool = Spool(None)
    wanted = [message(7, f"{n}" * 1000) for n in range(3000)]
    for first in range(0, 3000, 50):
        kept(spool, 7, wanted[first : first + 50])
    (file,) = files
    file.seek(0)
    assert file.read(3) == MAGIC
    assert back(spool, 7) == wanted
    assert file.closed


def test_what_is_small_stays_in_memory_until_there_is_too_much_of_it(files: list[IO[bytes]]) -> None:
    spool = Spool(None, memory_bytes_max=100_000)
    for top in range(1, 10):
        kept(spool, top, [message(top, "x" * 10_000)])
    assert not files
    for top in range(10, 25):
        kept(spool, top, [message(top, "x" * 10_000)])
    assert files
    assert [len(back(spool, top)) for top in range(1, 25)] == [1] * 24
    assert all(f.closed for f in files)


def test_an_inner_transaction_that_is_undone_is_left_out_on_disk_as_in_memory(files: list[IO[bytes]]) -> None:
    for size in (10, 2 << 20):
        spool = Spool(None)
        kept(spool, 5, [message(5, "a"), message(6, "b" * size), message(8, "c")])
        kept(spool, 5, [message(6, "d"), message(5, "e")])
        spool.abort(5, 6)
        assert [m[5:] for m in back(spool, 5)] == [b"a", b"c", b"e"]
    assert len(files) == 1


def test_what_is_undone_frees_its_file(files: list[IO[bytes]]) -> None:
    spool = Spool(None)
    for top in (1, 2):
        kept(spool, top, [message(top, "x" * (2 << 20))])
    spool.abort(1, 1)
    assert [f.closed for f in files] == [True, False]
    spool.close()
    assert files[1].closed


def test_a_file_that_is_damaged_is_refused(files: list[IO[bytes]]) -> None:
    spool = Spool(None)
    kept(spool, 1, [message(1, "x" * (2 << 20))])
    files[0].seek(1000)
    files[0].write(b"!")
    with pytest.raises(StateError, match="damaged"):
        back(spool, 1)
    spool.close()


def test_a_full_disk_is_told_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: Any) -> IO[bytes]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spools.tempfile, "TemporaryFile", full)
    spool = Spool(None)
    with pytest.raises(UnavailableError, match=r"No space left.*streaming: false"):
        kept(spool, 1, [message(1, "x" * (2 << 20))])


def test_who_commits_tells_what_else_was_undone() -> None:
    spool, asked = Spool(None), list[int]()
    kept(spool, 7, [message(7, "kept"), message(8, "undone"), message(9, "told"), message(10, "inner")])
    spool.abort(7, 9)

    def undone(numbers: Sequence[int]) -> list[int]:
        asked.extend(numbers)
        return [8]

    found = [f.data[a:b] for f in spool.commit(7, undone) for a, b in zip(f.starts, f.ends, strict=True)]
    assert asked == [8, 10]
    assert found == [message(7, "kept"), message(10, "inner")]
