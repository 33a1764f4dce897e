"""Many who wait share one sync of the disk; what waits is bounded, and an error reaches all whom it concerns."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from dataflare.errors import UnavailableError
from dataflare.executor.runtime import LocalRuntime
from dataflare.journal import GroupCommit, Journal, JournalFullError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@asynccontextmanager
async def running(folder: Path, *, bytes_max: int = 1 << 20, waiting: int = 1 << 20) -> AsyncIterator[Any]:
    runtime = LocalRuntime()
    journal = Journal.open(folder, bytes_max=bytes_max, now=1)
    commit = GroupCommit(journal, runtime, waiting)
    work = asyncio.create_task(commit.run())
    try:
        yield journal, commit
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work
        journal.close()
        runtime.close()


async def test_many_share_few_syncs_and_each_learns_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs, real = [], os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda d: (syncs.append(d), real(d)))
    async with running(tmp_path) as (journal, commit):
        numbers = await asyncio.gather(*(commit.append([b"%d" % n, b"-"]) for n in range(200)))
        assert numbers == [2 * n + 2 for n in range(200)]
        assert journal.read(0, 1 << 20).records[::2] == [b"%d" % n for n in range(200)]
    assert len(syncs) < 10


async def test_a_reader_waits_for_what_comes(tmp_path: Path) -> None:
    async with running(tmp_path) as (journal, commit):
        reader = asyncio.create_task(commit.grown(0))
        await asyncio.sleep(0)
        assert not reader.done()
        await commit.append([b"a"])
        await reader
        assert journal.read(0, 1).records == [b"a"]


async def test_what_finds_no_room_is_told_and_what_finds_some_is_kept(tmp_path: Path) -> None:
    async with running(tmp_path, bytes_max=1000) as (journal, commit):
        asked = [commit.append([b"x" * size]) for size in (300, 2000, 300)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(a) for a in answers] == [int, JournalFullError, int]
        assert journal.end == 3


async def test_what_waits_takes_no_more_memory_than_it_may(tmp_path: Path) -> None:
    async with running(tmp_path, waiting=1000) as (_, commit):
        answers = await asyncio.gather(*(commit.append([b"x" * 400]) for _ in range(5)), return_exceptions=True)
        assert [type(a) for a in answers] == [int, int, *[JournalFullError] * 3]


async def test_a_disk_that_fails_is_told_to_all_who_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    async with running(tmp_path) as (_, commit):
        answers = await asyncio.gather(*(commit.append([b"x"]) for _ in range(3)), return_exceptions=True)
        assert [type(a) for a in answers] == [UnavailableError] * 3
