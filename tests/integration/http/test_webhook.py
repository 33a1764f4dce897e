"""The webhook source as a real server on loopback: what it answers, what it keeps, and what it gives again."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import hmac
import http.client
import json
import os
import socket
import ssl
import threading
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any

import pytest

from dataflare.component import Split
from dataflare.connectors.http.webhook import WebhookSource
from dataflare.connectors.http.webhook_settings import WebhookConfig
from dataflare.errors import DataError, StateError, UnavailableError
from dataflare.testing.source_suite import plain, rows_of
from dataflare.testing.stage import staged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from dataflare.batch import Batch

COLUMNS = {"id": "int64", "name": "string"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


class Hook:
    """A source that reads while its server listens, and somebody who sends to it."""

    def __init__(self, folder: Path, changes: dict[str, Any]) -> None:
        context = {"on_error": changes.pop("on_error", "dead_letter"), "contract": changes.pop("contract", {})}
        self.port = changes.setdefault("port", free_port())
        config = WebhookConfig.model_validate({"columns": COLUMNS, **changes})
        self.source = staged(WebhookSource(config), folder, mode="streaming", **context)
        self.batches: list[Batch] = []
        self._came = asyncio.Event()

    async def read(self, since: Any = None, until: Any = None) -> None:
        async for batch in self.source.read(Split("all"), since, until):
            self.batches.append(batch)
            self._came.set()

    async def rows(self, count: int) -> list[dict[str, Any]]:
        """Wait for so many rows."""
        while len(found := rows_of(self.batches)[""]) < count:
            self._came.clear()
            await asyncio.wait_for(self._came.wait(), 20)
        return found

    async def send(self, body: bytes | Any, path: str = "/", method: str = "POST", **headers: str) -> tuple[int, Any]:
        """Return status and headers of the answer."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        return await asyncio.to_thread(self._send, data, path, method, told)

    def _send(self, body: bytes, path: str, method: str, headers: dict[str, str]) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.headers
        finally:
            connection.close()

    async def listening(self, work: asyncio.Task[None]) -> None:
        while not work.done():
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return
        await work


@asynccontextmanager
async def hook(folder: Path, since: Any = None, **changes: Any) -> AsyncIterator[Hook]:
    made = Hook(folder, changes)
    work = asyncio.create_task(made.read(since))
    try:
        await made.listening(work)
        yield made
    finally:
        work.cancel()
        await asyncio.wait([work])
        await made.source.close()
        if not work.cancelled() and work.exception() is not None:
            raise work.exception()  # type: ignore[misc]


async def test_rows_are_answered_when_they_are_on_disk_and_read_in_order(tmp_path: Path) -> None:
    async with hook(tmp_path) as one:
        assert (await one.send({"id": 1, "name": "a"}))[0] == 200
        assert (await one.send([{"id": 2, "name": "b"}, {"id": 3}]))[0] == 200
        assert (await one.send([]))[0] == 200
        found = await one.rows(3)
        assert found == [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}, {"id": 3, "name": None}]


async def test_many_senders_at_once_lose_nothing(tmp_path: Path) -> None:
    async with hook(tmp_path) as one:
        answers = await asyncio.gather(*(one.send({"id": n}) for n in range(100)))
        assert {status for status, _ in answers} == {200}
        assert sorted(r["id"] for r in await one.rows(100)) == [*range(100)]


async def test_what_was_answered_comes_again_from_any_position_after_a_restart(tmp_path: Path) -> None:
    async with hook(tmp_path) as one:
        for n, count in enumerate((2, 3, 5, 6, 8, 9)):
            await one.send([{"id": 10 * n}, {"id": "bad" if n % 2 else 10 * n + 1}])
            await one.rows(count)
        batches = one.batches
    whole = rows_of(batches)
    for number, batch in enumerate(batches):
        again = Hook(tmp_path, {})
        end = (await again.source.ends())["all"]
        await again.read(plain(batch.position), end)
        await again.source.close()
        rest = rows_of(batches[number + 1 :])
        found = rows_of(again.batches)
        assert found[""] == rest[""]
        assert [e["raw"] for e in found.get("errors", [])] == [e["raw"] for e in rest.get("errors", [])]
    assert len(whole["errors"]) == 3


def opened(folder: Path, state: str | None = None, **journal: str) -> tuple[int, int]:
    """Open the journal of a source, keep a record more, and return how many it holds, and its identity."""
    config = WebhookConfig.model_validate({"columns": COLUMNS, "journal": journal})
    source = staged(WebhookSource(config), folder, state_directory=folder / state if state else None)
    journal_of = asyncio.run(source._opened())
    try:
        journal_of.append([b"a record"])
        return journal_of.end - 1, journal_of.identity
    finally:
        journal_of.close()


def test_the_journal_is_with_the_state_unless_it_is_said_where(tmp_path: Path) -> None:
    assert opened(tmp_path, "kept")[0] == 1
    assert (tmp_path / "kept" / "journal" / "default" / "test" / "node").is_dir()
    assert not (tmp_path / ".dataflare").exists()
    assert opened(tmp_path, "kept", path="else")[0] == 1
    assert (tmp_path / "else" / "default" / "test" / "node").is_dir()


def test_a_journal_that_stood_beside_another_state_is_used_where_it_is(tmp_path: Path) -> None:
    older = opened(tmp_path)
    assert (tmp_path / ".dataflare" / "journal" / "default" / "test" / "node").is_dir()
    assert opened(tmp_path, "kept") == (older[0] + 1, older[1])
    assert not (tmp_path / "kept").exists()
    (tmp_path / ".dataflare" / "default%2Ftest.lock").touch()  # it belongs to a state that was kept there
    assert opened(tmp_path, "kept")[0] == 1
    assert opened(tmp_path)[0] == 3


async def test_the_journal_forgets_what_is_committed_and_only_that(tmp_path: Path) -> None:
    async with hook(tmp_path) as one:
        for n in range(3):
            await one.send({"id": n})
        await one.rows(3)
        first, last = plain(one.batches[0].position), plain(one.batches[-1].position)
        await one.source.acknowledge({"all": last})
    async with hook(tmp_path, last) as again:
        await again.send({"id": 3})
        assert await again.rows(1) == [{"id": 3, "name": None}]
    with pytest.raises(StateError, match="put back"):
        async with hook(tmp_path, {**first, "record": 0}):
            pass
    with pytest.raises(StateError, match="put back"):
        async with hook(tmp_path, {**last, "record": 99}):
            pass
    with pytest.raises(StateError, match="not the one that the state"):
        async with hook(tmp_path, {**last, "journal": 1}):
            pass


async def test_what_is_committed_after_the_last_row_was_read_is_forgotten_too(tmp_path: Path) -> None:
    async with hook(tmp_path) as one:
        await one.send([{"id": n} for n in range(100)])
    until_now = Hook(tmp_path, {})
    end = (await until_now.source.ends())["all"]
    await until_now.read(None, end)
    kept = tmp_path / ".dataflare" / "journal"
    assert sum(file.stat().st_size for file in kept.rglob("*.journal")) > 1000
    await until_now.source.acknowledge({"all": end})
    await until_now.source.close()
    assert sum(file.stat().st_size for file in kept.rglob("*.journal")) == 0


@pytest.mark.parametrize(
    ("status", "asked"),
    [
        (404, {"body": b"{}", "path": "/other"}),
        (405, {"body": b"{}", "method": "PUT"}),
        (400, {"body": b"{"}),
        (400, {"body": b"\xff"}),
        (413, {"body": b"[" + b" " * 3000 + b"]"}),
        (413, {"body": gzip.compress(b"[" + b" " * 300_000 + b"]"), "content_encoding": "gzip"}),
        (400, {"body": gzip.compress(b'{"id": 1}')[:-4], "content_encoding": "gzip"}),
        (415, {"body": b"{}", "content_encoding": "br"}),
        (200, {"body": gzip.compress(b'{"id": 1}'), "content_encoding": "gzip"}),
    ],
)
async def test_a_sender_learns_at_once_what_is_wrong(tmp_path: Path, status: int, asked: dict[str, Any]) -> None:
    async with hook(tmp_path, body_bytes_max="2KiB") as one:
        assert (await one.send(**asked))[0] == status
        await one.send({"id": 7})
        assert (await one.rows(2 if status == 200 else 1))[-1]["id"] == 7


async def test_whoever_has_sent_something_is_answered_before_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, goes_on, real = threading.Event(), threading.Event(), os.fdatasync

    def slow(descriptor: int) -> None:
        begun.set()
        goes_on.wait(20)
        real(descriptor)

    made = Hook(tmp_path, {})
    work = asyncio.create_task(made.read())
    await made.listening(work)
    monkeypatch.setattr(os, "fdatasync", slow)
    sending = asyncio.create_task(made.send({"id": 1}))
    await asyncio.to_thread(begun.wait, 20)
    work.cancel()
    await asyncio.sleep(0)
    goes_on.set()
    assert (await sending)[0] == 200
    await asyncio.wait([work])
    await made.source.close()
    again = Hook(tmp_path, {})
    await again.read(None, (await again.source.ends())["all"])
    assert rows_of(again.batches)[""] == [{"id": 1, "name": None}]
    await again.source.close()


async def test_headers_without_an_end_are_cut_off(tmp_path: Path) -> None:
    async with hook(tmp_path) as one:
        reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
        writer.write(b"POST / HTTP/1.1\r\n")
        taken = 0
        try:
            while taken < 64 << 20:
                writer.write(b"X-More: " + b"x" * 8000 + b"\r\n")
                await writer.drain()
                taken += 8000
                if reader.at_eof() or len(reader._buffer):
                    break
        except ConnectionError:
            pass
        assert taken < 16 << 20
        writer.close()
        assert (await one.send({"id": 1}))[0] == 200


async def test_only_those_with_the_token_come_in(tmp_path: Path) -> None:
    async with hook(tmp_path, auth={"type": "token", "token": "s3same"}) as one:
        assert (await one.send({"id": 1}))[0] == 401
        assert (await one.send({"id": 1}, authorization="Bearer open"))[0] == 401
        assert (await one.send({"id": 2}, authorization="Bearer s3same"))[0] == 200
        assert [r["id"] for r in await one.rows(1)] == [2]
    assert "s3same" not in repr(one.source.config)


@pytest.mark.parametrize("algorithm", ["sha256", "sha1"])
async def test_only_what_is_signed_comes_in(tmp_path: Path, algorithm: str) -> None:
    auth = {"type": "hmac", "secret": "s3cret", "algorithm": algorithm, "header": "X-Sign", "prefix": "v0="}
    body = b'{"id": 5}'
    signature = "v0=" + hmac.new(b"s3cret", body, getattr(hashlib, algorithm)).hexdigest()
    async with hook(tmp_path, auth=auth) as one:
        assert (await one.send(body, x_sign=signature[:-1] + "x"))[0] == 401
        assert (await one.send(body + b" ", x_sign=signature))[0] == 401
        assert (await one.send(body, x_sign=signature))[0] == 200
        assert [r["id"] for r in await one.rows(1)] == [5]


async def test_a_full_journal_makes_senders_wait_and_takes_rows_again_after_a_commit(tmp_path: Path) -> None:
    async with hook(tmp_path, journal={"bytes_max": "64KiB"}, retry_after="7s") as one:
        kept = 0
        while (answer := await one.send({"id": kept, "name": "x" * 6000}))[0] == 200:
            kept += 1
        assert answer[0] == 503
        assert answer[1]["Retry-After"] == "7"
        assert len(await one.rows(kept)) == kept > 5
        await one.source.acknowledge({"all": one.batches[-1].position})
        assert (await one.send({"id": 99}))[0] == 200
        assert (await one.rows(kept + 1))[-1]["id"] == 99


async def test_headers_the_time_and_whole_bodies_may_be_columns(tmp_path: Path) -> None:
    changes = {"columns": None, "header_columns": {"delivery": "X-Delivery"}, "received_column": "at"}
    async with hook(tmp_path, **changes) as one:
        await one.send({"a": [1, {"b": 2}]}, x_delivery="d-1")
        await one.send([7, "x", {}])
        found = await one.rows(4)
    assert [json.loads(r["body"]) for r in found] == [{"a": [1, {"b": 2}]}, 7, "x", {}]
    assert [r["delivery"] for r in found] == ["d-1", None, None, None]
    assert all(r["at"].tzinfo is not None for r in found)


async def test_lines_and_rows_inside_of_bodies_are_found(tmp_path: Path) -> None:
    async with hook(tmp_path, format="jsonl") as one:
        await one.send(b'{"id": 1}\n\n{"id": 2}')
        assert [r["id"] for r in await one.rows(2)] == [1, 2]
    async with hook(tmp_path / "other", records="data.items", header_columns={"who": "X-Who"}) as one:
        await one.send({"data": {"items": [{"id": 3}, {}]}}, x_who="me")
        assert await one.rows(2) == [{"id": 3, "name": None, "who": "me"}, {"id": None, "name": None, "who": "me"}]


async def test_a_row_that_does_not_fit_ends_the_run_unless_errors_are_kept(tmp_path: Path) -> None:
    made = Hook(tmp_path, {"on_error": "fail"})
    work = asyncio.create_task(made.read())
    await made.listening(work)
    await made.send({"id": "many"})
    with pytest.raises(DataError, match="column 'id' is not int64"):
        await work
    await made.source.close()


async def test_an_address_that_is_taken_is_told(tmp_path: Path) -> None:
    async with hook(tmp_path) as one:
        with pytest.raises(UnavailableError, match=r"nobody can listen at 127\.0\.0\.1"):
            await Hook(tmp_path / "other", {"port": one.port}).read()


async def test_it_speaks_tls(tmp_path: Path, certificate: Path) -> None:
    async with hook(tmp_path, cert_file=str(certificate)) as one:
        trust = ssl.create_default_context(cafile=str(certificate))

        def send() -> int:
            with closing(http.client.HTTPSConnection("localhost", one.port, context=trust, timeout=20)) as connection:
                connection.request("POST", "/", b'{"id": 4}')
                return connection.getresponse().status

        assert await asyncio.to_thread(send) == 200
        assert [r["id"] for r in await one.rows(1)] == [4]


def test_nobody_listens_to_a_network_without_asking_who_comes() -> None:
    with pytest.raises(ValueError, match="anybody may send rows"):
        WebhookConfig(host="0.0.0.0")
