"""Writes rows to an HTTP server, in requests of many rows or of one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pyarrow as pa

from dataflare.component import DestinationConnector, destination
from dataflare.connectors.http.bodies import Bodies, Body, IdempotencyKeys
from dataflare.connectors.http.client import HttpClient
from dataflare.connectors.http.credentials import Credentials
from dataflare.connectors.http.exchange import Call, parameter_pairs
from dataflare.connectors.http.rejected import RejectedRows
from dataflare.connectors.http.settings import HttpDestinationConfig, HttpRejects, HttpRetry
from dataflare.errors import DataError
from dataflare.plan_words import Mechanism

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.batch import Batch
    from dataflare.component import Epoch, Handle
    from dataflare.connectors.http.exchange import Answer


@destination(
    "http",
    status="beta",
    mechanisms=(Mechanism.APPEND,),
    examples=[
        {
            "url": "https://shop.example/api/orders",
            "auth": {"type": "bearer", "token": "${secret:shop/TOKEN}"},
            "rejects": {"path": "refused.jsonl"},
        }
    ],
)
class HttpDestination(DestinationConnector[HttpDestinationConfig]):
    """Sends rows to an HTTP server: a list of JSON objects, JSON lines, CSV, or one row a request.

    Rows are gathered into requests of at most `rows_max` rows and `bytes_max` bytes, and all have been answered before
    an epoch is sealed. A request that fails in a way that may pass is sent again, as with the source.

    At least once: after a crash, rows since the last checkpoint are sent again. Every request has an
    `Idempotency-Key`, made of the epoch and the content, so a server that honours it takes a request once, however
    often it is sent; after a crash that holds for requests that are cut as they were, which is sure for those of one
    row.

    With `rejects`, rows that the server refuses (400, 409, 413, 422) are kept in a file, with what it said; of a
    request of many rows, halves are sent until those at fault are found. So the server must take all rows of a request
    or none. Where columns are tagged, what the server says is not kept, for it may repeat them.
    """

    def open(self) -> None:
        """Make ready; connections are made when there are rows."""
        context = self.context
        self._bodies = Bodies(self.config, context.schemas, context.budget.memory_bytes_max)
        self._keys = IdempotencyKeys(f"{context.tenant}/{context.workflow}/{context.node}/{context.index}")
        self._credentials = Credentials(self.config.auth, context.runtime.clock)
        self._rejects = RejectedRows(context, self.config.rejects.path) if self.config.rejects is not None else None
        self._tells = not any(c.tags for schema in context.schemas.values() for c in schema)
        self._held: list[pa.Table] = []
        self._count = 0
        self._client: HttpClient | None = None

    async def check(self) -> None:
        """Ask what the server offers; any answer will do."""
        hasty = self.config.model_copy(update={"retry": HttpRetry(attempts=1)})
        async with HttpClient(hasty, self.context) as client:
            await client.send(Call("OPTIONS", self.config.url))

    async def write(self, batch: Batch) -> None:
        """Gather rows, and send as many requests as they fill."""
        rows = batch.rows
        if self._held and self._held[-1].schema != rows.schema:
            await self._send_all()
        self._held.append(rows)
        self._count += rows.num_rows
        most = self.config.rows_max * self.config.concurrency
        if self._count >= most:
            whole = pa.concat_tables(self._held)
            full = self._count - self._count % self.config.rows_max
            self._held, self._count = [whole.slice(full)], self._count - full
            await self._send(whole.slice(0, full))

    async def prepare(self, epoch: Epoch) -> Sequence[Handle]:
        """Send the rest; everything has been answered then."""
        del epoch
        await self._send_all()
        if self._rejects is not None:
            await self.context.runtime.call(self._rejects.flush)
        return ()

    async def close(self) -> None:
        """Close connections."""
        if not hasattr(self, "_bodies"):
            return
        if self._client is not None:
            await self._client.__aexit__(None, None, None)
            self._client = None
        await self.context.runtime.call(self._bodies.close)
        if self._rejects is not None:
            await self.context.runtime.call(self._rejects.close)

    # ---- requests -----------------------------------------------------------------------------------------------

    async def _send_all(self) -> None:
        if self._count:
            rows = pa.concat_tables(self._held)
            self._held, self._count = [], 0
            await self._send(rows)

    async def _send(self, rows: pa.Table) -> None:
        if self._client is None:
            self._client = await HttpClient(self.config, self.context, self._credentials).__aenter__()
        bodies = iter(self._bodies.made(rows))
        call = self.context.runtime.call
        if self.config.concurrency == 1:
            while (body := await call(next, bodies, None)) is not None:
                await self._deliver(body)
            return
        room = asyncio.Semaphore(self.config.concurrency)
        try:
            async with asyncio.TaskGroup() as group:
                while (body := await call(next, bodies, None)) is not None:
                    await room.acquire()
                    group.create_task(self._deliver(body)).add_done_callback(lambda _: room.release())
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def _deliver(self, body: Body) -> None:
        """Send one request; where rows of it are refused, find out which."""
        assert self._client is not None
        headers = dict(body.headers)
        if self.config.idempotency_header:
            headers[self.config.idempotency_header] = self._keys.key(self.context.epoch(), body)
        params = parameter_pairs(self.config.params)
        answer = await self._client.send(Call(self.config.method, body.url, params, headers, body.content))
        if answer.fine:
            return
        rejects = self.config.rejects
        if self._rejects is None or rejects is None or answer.status not in rejects.statuses:
            raise self._failure(answer)
        count = body.rows.num_rows
        if count == 1:
            reason = self._client.refused(answer, tell=self._tells).what
            await self.context.runtime.call(self._rejects.keep, body.rows, answer.status, reason)
            return
        for half in (body.rows.slice(0, count // 2), body.rows.slice(count // 2)):
            await self._deliver(await self.context.runtime.call(self._bodies.one, half))

    def _failure(self, answer: Answer) -> Exception:
        assert self._client is not None
        error = self._client.refused(answer, tell=self._tells)
        if self.config.rejects is None and answer.status in HttpRejects(path="-").statuses:
            return DataError(
                error.what, hint="correct the rows in a mapping before, or keep them: rejects: {path: ...}"
            )
        return error


__all__ = ["HttpDestination"]
