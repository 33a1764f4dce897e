"""The journal keeps what it has confirmed, over torn writes and restarts, and says so where it cannot."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dataflare.errors import LeaseHeldError, StateError, UnavailableError
from dataflare.journal import Journal, JournalFullError

if TYPE_CHECKING:
    from pathlib import Path

MEBIBYTE = 1 << 20


def opened(folder: Path, bytes_max: int = MEBIBYTE) -> Journal:
    return Journal.open(folder, bytes_max=bytes_max, now=7)


def everything(journal: Journal) -> list[bytes]:
    return list(journal.read(journal.first - 1, MEBIBYTE).records)


def last_file(folder: Path) -> Path:
    return max(folder.glob("*.journal"))


def test_records_have_numbers_and_come_back_by_them(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as journal:
        assert journal.append([b"a", b""]).last == 2
        assert journal.append([b"c" * 9]).first == 3
        assert journal.append([]).last == 3
        assert journal.read(0, MEBIBYTE).records == [b"a", b"", b"c" * 9]
        assert journal.read(1, 1).records == [b"", b"c" * 9][:2]
        assert journal.read(3, 1).records == []
    with closing(opened(tmp_path)) as journal:
        assert journal.end == 4
        assert everything(journal) == [b"a", b"", b"c" * 9]
        assert journal.identity == 7


def test_a_group_that_is_torn_at_any_byte_is_cut_off_and_nothing_else(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "whole")) as journal:
        journal.append([b"one", b"two"])
        kept = last_file(tmp_path / "whole").stat().st_size
        journal.append([b"three", b"four"])
    whole = last_file(tmp_path / "whole").read_bytes()
    for length in range(kept, len(whole) + 1):
        for filler in (b"", b"\0" * (len(whole) - length)):
            torn = tmp_path / "torn"
            shutil.copytree(tmp_path / "whole", torn)
            last_file(torn).write_bytes(whole[:length] + filler)
            complete = length == len(whole)
            with closing(opened(torn)) as journal:
                assert everything(journal) == [b"one", b"two", b"three", b"four"][: 4 if complete else 2], length
                assert journal.cut_bytes == (0 if complete else length - kept + len(filler))
                assert journal.append([b"next"]).first == journal.end - 1
            with closing(opened(torn)) as journal:
                assert everything(journal)[-1] == b"next"
                assert journal.cut_bytes == 0
            shutil.rmtree(torn)


def test_damage_to_what_was_confirmed_is_reported_at_every_byte(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "whole")) as journal:
        journal.append([b"one", b"two"])
        first = last_file(tmp_path / "whole").stat().st_size
        journal.append([b"three"])
    whole = last_file(tmp_path / "whole").read_bytes()
    for at in range(first):
        flipped = bytearray(whole)
        flipped[at] ^= 0x10
        last_file(tmp_path / "whole").write_bytes(bytes(flipped))
        with pytest.raises(StateError, match=r"damaged at byte 0|of format"):
            opened(tmp_path / "whole")


def test_a_file_that_is_missing_or_cut_in_the_middle_is_reported(tmp_path: Path) -> None:
    with closing(opened(tmp_path, 800)) as journal:
        for n in range(8):
            journal.append([b"x" * 60 + b"%d" % n])
    paths = sorted(tmp_path.glob("*.journal"))
    assert len(paths) > 3
    paths[1].rename(tmp_path / "aside")
    with pytest.raises(StateError, match="lacks what follows"):
        opened(tmp_path)
    (tmp_path / "aside").rename(paths[1])
    paths[1].write_bytes(paths[1].read_bytes()[:-1])
    with pytest.raises(StateError, match="is damaged"):
        opened(tmp_path)


def test_a_full_journal_says_so_and_has_room_again_after_a_trim(tmp_path: Path) -> None:
    with closing(opened(tmp_path, 4096)) as journal:
        taken = 0
        while journal.size + 132 <= 4096:
            taken = journal.append([b"x" * 100]).last
        with pytest.raises(JournalFullError, match=r"holds [\d,]+ of at most 4,096 bytes"):
            journal.append([b"x" * 100])
        assert taken > 25
        assert journal.size <= 4096
        journal.trim(journal.end // 2)
        assert journal.read(journal.end // 2, 1).records
        journal.append([b"y"])
        with pytest.raises(StateError, match=r"records .* are wanted"):
            journal.read(0, 1)
        journal.trim(journal.end - 1)
        assert journal.size == 0
        assert journal.append([b"z"]).first == taken + 2
    with closing(opened(tmp_path, 4096)) as journal:
        assert everything(journal) == [b"z"]
        assert len(list(tmp_path.glob("*.journal"))) == 1
        with pytest.raises(StateError, match="put back"):
            journal.read(journal.end, 1)


def test_only_one_may_have_it_open(tmp_path: Path) -> None:
    with closing(opened(tmp_path)), pytest.raises(LeaseHeldError, match="open already"):
        opened(tmp_path)
    opened(tmp_path).close()


@pytest.mark.parametrize("written", [0, 1, 20, 70])
def test_a_disk_that_refuses_in_the_middle_of_a_group_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    real = os.pwrite
    with closing(opened(tmp_path)) as journal:
        journal.append([b"before"])

        def full(descriptor: int, data: Any, at: int) -> int:
            if at > 60:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(descriptor, data[:written], at)
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(UnavailableError, match="No space left"):
            journal.append([b"x" * 200])
        monkeypatch.setattr(os, "pwrite", real)
        journal.append([b"after"])
        assert everything(journal) == [b"before", b"after"]
    with closing(opened(tmp_path)) as journal:
        assert everything(journal) == [b"before", b"after"]


def test_a_disk_that_cannot_sync_is_not_trusted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with closing(opened(tmp_path)) as journal:
        monkeypatch.setattr(os, "fdatasync", fail)
        with pytest.raises(UnavailableError, match="Input/output error"):
            journal.append([b"a"])
        monkeypatch.undo()
        with pytest.raises(StateError, match="cannot be trusted"):
            journal.append([b"a"])


class JournalLife(RuleBasedStateMachine):
    """Any order of appends, reads, trims, restarts and crashes, against a list."""

    bytes_max = 3000

    @initialize(folder=st.uuids())
    def begin(self, folder: Any) -> None:
        from pathlib import Path
        from tempfile import mkdtemp

        self.folder = Path(mkdtemp(prefix=str(folder)))
        self.journal = opened(self.folder, self.bytes_max)
        self.model: list[bytes] = []
        self.trimmed = 0

    @rule(records=st.lists(st.binary(max_size=120), max_size=5))
    def append(self, records: list[bytes]) -> None:
        try:
            assert self.journal.append(records).first == len(self.model) + 1
        except JournalFullError:
            assert self.journal.size + sum(map(len, records)) > self.bytes_max - 200
            return
        self.model += records

    @rule(part=st.floats(0, 1))
    def trim(self, part: float) -> None:
        self.trimmed = max(self.trimmed, int(len(self.model) * part))
        self.journal.trim(self.trimmed)

    @rule(part=st.floats(0, 1), size=st.integers(1, 500))
    def read(self, part: float, size: int) -> None:
        after = self.trimmed + int((len(self.model) - self.trimmed) * part)
        got = self.journal.read(after, size)
        assert got.first == after + 1
        assert list(got.records) == self.model[after : after + len(got.records)]
        assert bool(got.records) == (after < len(self.model))

    @rule()
    def restart(self) -> None:
        self.journal.close()
        self.journal = opened(self.folder, self.bytes_max)
        assert self.journal.cut_bytes == 0

    @precondition(lambda self: self.model)
    @rule(tail=st.binary(min_size=1, max_size=60))
    def crash_while_writing(self, tail: bytes) -> None:
        self.journal.close()
        with last_file(self.folder).open("ab") as file:
            file.write(tail)
        self.journal = opened(self.folder, self.bytes_max)
        assert self.journal.cut_bytes == len(tail)

    @invariant()
    def nothing_is_lost(self) -> None:
        if hasattr(self, "journal"):
            assert self.journal.end == len(self.model) + 1
            assert self.journal.first <= self.trimmed + 1
            assert self.journal.size <= self.bytes_max

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.journal.close()
            shutil.rmtree(self.folder)


TestJournalLife = JournalLife.TestCase
TestJournalLife.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
