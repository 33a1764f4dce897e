"""Takes rows in by HTTP: a request is answered when its rows are in the journal, from where they replay exactly."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

import msgspec

from dataflare.batch import Batch, Position
from dataflare.component import SourceConnector, Split, Stream, source
from dataflare.connectors.http.exchange import Answer
from dataflare.connectors.http.listening import Listener
from dataflare.connectors.http.records import Page, Records, page_of_lines, with_fields
from dataflare.connectors.http.webhook_settings import WebhookConfig
from dataflare.errors import DataError, StateError, UnavailableError
from dataflare.formats.csv.options import CsvOptions
from dataflare.formats.rejected import ERRORS, errors_table, refuse
from dataflare.journal import GroupCommit, Journal
from dataflare.listening.server import Address, serve
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from dataflare.formats.rejected import Decoded
    from dataflare.journal import Stretch

BATCH_BYTES = 1 << 20
USUAL = ".dataflare"
WAITING_BYTES = 32 << 20
"""What may wait for the disk."""
_HEAD = struct.Struct(">QI")


@source(
    "webhook",
    status="beta",
    replay="exact",
    modes=("streaming",),
    examples=[
        {
            "port": 8080,
            "path": "/orders",
            "auth": {"type": "hmac", "secret": "${secret:shop/HOOK}"},
            "columns": {"id": "int64", "amount": "decimal(12,2)"},
        }
    ],
)
class WebhookSource(SourceConnector[WebhookConfig]):
    """Listens for HTTP requests that bring rows.

    A request is answered with 2xx when its rows are on disk, in a journal, and not before; many requests share one sync
    of the disk. From there rows replay exactly, so what is behind can be exactly once, counted from the answer. A
    sender that got no answer sends again, and then its rows are there twice: name a header that tells deliveries apart
    under `header_columns`, and put a `deduplicate` behind.

    The journal is bounded. When the workflow does not commit for so long that it is full, senders are told 503 with
    `Retry-After`. What is committed is removed from it. Journal and state belong together: where one of them was put
    back without the other, the run says so and stops.

    A body that is no JSON is refused with 400, one without a valid token or signature with 401, one that is too long
    with 413. A row that does not fit the columns fails the run or goes to the output `errors`: columns `error`, `file`
    (the requests), `line` (the row in them), `raw`.
    """

    errors_schema: ClassVar[Schema] = ERRORS
    waits = True
    _journal: Journal | None = None
    _records: Records | None = None

    def remembers(self, key: Sequence[str]) -> Sequence[str]:
        """Return none: positions are numbers of records."""
        del key
        return ()

    def declared(self) -> Mapping[str, Stream]:
        """Return the declared columns and those that are added."""
        return {"": Stream(self._schema())}

    def check(self) -> Sequence[UnavailableError]:
        """Look whether the library is there, and whether the journal can be."""
        import importlib.util

        if importlib.util.find_spec("uvicorn") is None:
            return [UnavailableError("the connector needs an HTTP server", hint="pip install 'dataflare[http]'")]
        return ()

    async def ends(self) -> Mapping[str, Position]:
        """Return where the journal ends now."""
        journal = await self._opened()
        try:
            return {"all": {"journal": journal.identity, "record": journal.end - 1}}
        finally:
            journal.close()

    async def read(self, split: Split, since: Position | None, until: Position | None) -> AsyncIterator[Batch]:
        """Yield what is in the journal and what comes into it; up to `until` without listening."""
        del split
        self._close_journal()
        journal = self._journal = await self._opened()
        commit = GroupCommit(journal, self.context.runtime, WAITING_BYTES)
        work = [] if until is not None else self._working(commit)
        try:
            at = self._place(journal, since)
            await self.context.runtime.call(journal.trim, at["record"])  # it is committed, and may not have been told
            while until is None or at["record"] < until["record"]:
                await _first([commit.grown(at["record"])], work)
                stretch = await self.context.runtime.call(self._stretch, journal, at, until)
                batches = await self.context.runtime.call(self._batches, at, stretch)
                for batch in batches:
                    assert batch.position is not None
                    at = dict(batch.position)
                    yield batch
        finally:
            for task in reversed(work):  # who has sent something is answered before the journal takes no more
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def acknowledge(self, positions: Mapping[str, Position]) -> None:
        """Forget what is committed."""
        if self._journal is not None and (position := positions.get("all")) is not None:
            await self.context.runtime.call(self._journal.trim, position["record"])

    async def close(self) -> None:
        """Free the decoder and the journal, which is open until the last rows are acknowledged."""
        self._close_journal()
        if self._records is not None:
            await self.context.runtime.call(self._records.close)
            self._records = None

    def _close_journal(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    # ---- requests -----------------------------------------------------------------------------------------------

    def _working(self, commit: GroupCommit) -> list[asyncio.Task[None]]:
        async def keep(headers: Mapping[str, str], body: bytes) -> None:
            added = {column: headers.get(name.lower()) for column, name in self.config.header_columns.items()}
            told = msgspec.json.encode(added) if added else b""
            head = _HEAD.pack(self.context.runtime.clock.now(), len(told))
            await commit.append([head + told + body])

        listening = serve(Listener(self.config, keep), self._address())
        return [asyncio.create_task(commit.run()), asyncio.create_task(listening)]

    def _address(self) -> Address:
        config = self.config
        cert, key = (self.context.path(file) if file else None for file in (config.cert_file, config.key_file))
        return Address(config.host, config.port, config.connections_max, cert, key)

    async def _opened(self) -> Journal:
        return await self.context.runtime.call(self._open)

    def _open(self) -> Journal:
        now = self.context.runtime.clock.now()
        return Journal.open(self._folder(), bytes_max=self.config.journal.bytes_max, now=now)

    def _folder(self) -> Path:
        """Return the folder of the journal: as set, else in that of the state."""
        context = self.context
        names = [quote(name, safe="") for name in (context.tenant, context.workflow, context.node)]
        if self.config.journal.path:
            return context.path(self.config.journal.path).joinpath(*names)
        usual = context.path(USUAL)
        own, older = ((folder / "journal").joinpath(*names) for folder in (context.state_directory or usual, usual))
        lease = usual / f"{quote(f'{context.tenant}/{context.workflow}', safe='')}.lock"
        # it once stood in .dataflare wherever the state was; where a state of the workflow is there, it belongs to that
        return older if older.exists() and not own.exists() and not lease.exists() else own

    @staticmethod
    def _place(journal: Journal, since: Position | None) -> dict[str, Any]:
        if since is None:
            return {"journal": journal.identity, "record": journal.first - 1}
        if since["journal"] != journal.identity:
            raise StateError(
                "the journal is not the one that the state of the workflow tells of",
                hint="put the journal back; or move the state away too, and begin anew",
            )
        journal.check(since["record"])
        return dict(since)

    # ---- rows ---------------------------------------------------------------------------------------------------

    def _stretch(self, journal: Journal, at: Position, until: Position | None) -> Stretch:
        """Return the records to read next: after a half-read stretch the very same ones."""
        last = at.get("rows_to", until["record"] if until is not None else journal.end - 1)
        stretch = journal.read(at["record"], BATCH_BYTES)
        return type(stretch)(stretch.first, stretch.records[: last - at["record"]])

    def _batches(self, at: Position, stretch: Stretch) -> list[Batch]:
        """Return the rows of records, then those that are bad."""
        self.bytes_read += sum(map(len, stretch.records))
        text = b"".join(line for record in stretch.records for line in self._lines(record))
        if self._records is None:
            self._records = Records(self.context.schemas[""], self.context, None, self.config.rest_column)
        decoded = self._records.decode(page_of_lines(text))
        after = {"journal": at["journal"], "record": stretch.last}
        if not decoded.rejected:
            return [Batch(decoded.rows, position=after)]
        return self._with_errors(at, stretch, decoded, after)

    def _with_errors(self, at: Position, stretch: Stretch, decoded: Decoded, after: Position) -> list[Batch]:
        place = f"requests {stretch.first} to {stretch.last}"
        refuse(decoded.rejected, self.context.on_error, place, 1)
        errors = Batch(errors_table(decoded.rejected, place, 1), "errors", after)
        if "rows_to" in at:
            return [errors]
        return [Batch(decoded.rows, position={**at, "rows_to": stretch.last}), errors]

    def _lines(self, record: bytes) -> list[bytes]:
        """Return the rows of a request as JSON lines, with what was added to them."""
        moment, length = _HEAD.unpack_from(record)
        told, body = record[_HEAD.size : _HEAD.size + length], record[_HEAD.size + length :]
        lines = self._rows(body)
        added = told[1:-1]
        if self.config.received_column:
            received = msgspec.json.encode({self.config.received_column: _iso(moment)})[1:-1]
            added = added + b"," + received if added else received
        if self.config.columns is None:
            lines = [b'{"body":' + line + b"}" for line in lines]
        return [with_fields(line, added) + b"\n" for line in lines]

    def _rows(self, body: bytes) -> list[bytes]:
        if self.config.format == "jsonl":
            return [line for line in body.split(b"\n") if line.strip()]
        try:
            return Page(Answer(200, {}, body, ""), "json", self.config.records, CsvOptions()).text.splitlines()
        except DataError:
            return [body.replace(b"\n", b" ").replace(b"\r", b" ")]  # it is judged as one row, and is none

    def _schema(self) -> Schema:
        columns = dict(self.config.columns) if self.config.columns is not None else {"body": "json"}
        if self.config.rest_column:
            columns[self.config.rest_column] = "json"
        columns |= dict.fromkeys(self.config.header_columns, "string")
        if self.config.received_column:
            columns[self.config.received_column] = "timestamp"
        return Schema.of(columns)


async def _first(wanted: list[Any], work: Sequence[asyncio.Task[None]]) -> None:
    """Wait for what is wanted; where the work for it ends before, raise why."""
    waiting = [asyncio.ensure_future(one) for one in wanted]
    try:
        await asyncio.wait([*waiting, *work], return_when=asyncio.FIRST_COMPLETED)
        for task in work:
            if task.done():
                task.result()
    finally:
        for one in waiting:
            one.cancel()


def _iso(moment: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(moment / 1e6, UTC).isoformat(timespec="microseconds")


__all__ = ["WebhookSource"]
