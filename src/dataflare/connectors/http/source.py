"""Reads the pages of an HTTP API, one after another; a position leads to the page after those that were committed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from dataflare.batch import Batch, Position
from dataflare.component import SourceConnector, Split, Stream, source
from dataflare.connectors.http.client import HttpClient
from dataflare.connectors.http.credentials import Credentials
from dataflare.connectors.http.exchange import Answer, Call, parameter_pairs
from dataflare.connectors.http.marks import Cursor, Mark
from dataflare.connectors.http.pages import Pager, Walk
from dataflare.connectors.http.records import Page, Records, sampled
from dataflare.connectors.http.settings import HttpRetry, HttpSourceConfig
from dataflare.errors import DataFlareError, WorkflowError
from dataflare.formats.csv.options import CsvOptions
from dataflare.formats.rejected import ERRORS, errors_table, refuse
from dataflare.monitoring.events import Noticed
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    import pyarrow as pa

    from dataflare.component.spec import Replay


BEGIN = Walk()


@dataclass(frozen=True, slots=True)
class Standing:
    """Where reading stands: the pages walked, the mark that this run began behind, and the greatest value since."""

    walk: Walk = BEGIN
    low: Mark | None = None
    high: Mark | None = None
    rows_done: bool = False
    done: bool = False

    def to_json(self) -> Position:
        """Return a position."""
        low, high = (m.to_json() if m is not None else None for m in (self.low, self.high))
        return {**self.walk.to_json(), "low": low, "high": high, "rows_done": self.rows_done, "done": self.done}

    @classmethod
    def from_json(cls, value: Position | None) -> Standing:
        """Read a position."""
        if value is None:
            return cls()
        low, high = Mark.from_json(value["low"]), Mark.from_json(value["high"])
        return cls(Walk.from_json(dict(value)), low, high, value["rows_done"], value["done"])


@source(
    "http",
    status="beta",
    replay="from",
    modes=("full", "incremental"),
    examples=[
        {
            "url": "https://shop.example/api/orders",
            "auth": {"type": "bearer", "token": "${secret:shop/TOKEN}"},
            "records": "data",
            "pagination": {"type": "cursor", "path": "meta.next"},
            "columns": {"id": "int64", "amount": "decimal(12,2)"},
        }
    ],
)
class HttpSource(SourceConnector[HttpSourceConfig]):
    """Reads rows from an HTTP API, page by page.

    `records` says where the rows stand in the answer, `pagination` how the next page is found. By number or offset, the
    end is a page without rows; a shorter page is not, for many servers give less than they are asked for, unless
    `stop: short` says so. Pages that go in a circle fail the run. A page that is said to be on another server is not
    asked for.

    A request that fails in a way that may pass (no connection, a broken answer, 408, 425, 429, 500, 502 to 504) is sent
    again, after a wait that is drawn at random and grows; what the server asks for by Retry-After counts. An answer
    that is cut off is never taken for a whole one.

    A position is the page to read next, so that a resume asks for no page again that was committed. Whether that page
    still holds what it held is up to the server: `stable: true` vouches for it, and makes exactly once reachable.
    Without it, rows may come again after a crash.

    `mode: incremental` asks for rows whose `cursor_field` is at least what earlier runs have seen, and leaves out those
    that were read at that very value, told by `key` (or by the whole row). Rows in which it is null are left out, and
    so are rows that come later with an older value. A run that ends at `pages_max` goes on there the next time.

    A row that cannot be read fails the run or goes to the output `errors`: columns `error`, `file` (the address),
    `line` (the row in its page), `raw`.
    """

    errors_schema: ClassVar[Schema] = ERRORS

    def __init__(self, config: HttpSourceConfig) -> None:
        """Open nothing."""
        super().__init__(config)
        self._records: Records | None = None
        self._credentials: Credentials | None = None

    def declared(self) -> Mapping[str, Stream] | None:
        """Return the declared columns, if they are declared."""
        return self._streams(Schema.of(self.config.columns)) if self.config.columns is not None else None

    async def streams(self) -> Mapping[str, Stream]:
        """Return the declared columns, or ask for the first page and guess them."""
        return self.declared() or await self.observed()

    async def observed(self) -> Mapping[str, Stream]:
        """Return the columns of the first page."""
        async with HttpClient(self.config, self.context, self._who()) as client:
            page = self._page(await self._asked(client, Standing()))
        return self._streams(sampled(page, self._options()))

    async def check(self) -> Sequence[DataFlareError]:
        """Ask for the first page, once."""
        self._check_mode()
        hasty = self.config.model_copy(update={"retry": HttpRetry(attempts=1)})
        async with HttpClient(hasty, self.context, self._who()) as client:
            self._page(await self._asked(client, Standing()))
        return ()

    def replays(self) -> Replay:
        """Promise what the settings vouch for."""
        return "exact" if self.config.stable else "from"

    def keeps_open(self) -> bool:
        """Go on where the run before has ended, in mode incremental."""
        return self.context.mode == "incremental"

    async def read(self, split: Split, since: Position | None, until: Position | None) -> AsyncIterator[Batch]:
        """Yield the rows of each page; bad ones follow as a batch of the stream `errors`."""
        del split
        self._check_mode()
        at = Standing.from_json(since)
        if at.done and not self.keeps_open():
            return
        at = replace(at, done=False)
        pages = 0
        async with HttpClient(self.config, self.context, self._who()) as client:
            while not at.done:
                answer = await self._asked(client, at)
                self.bytes_read += len(answer.body)
                batches, at = await self.context.runtime.call(self._taken, at, answer)
                for batch in batches:
                    yield batch
                    if until is not None and batch.position == dict(until):
                        return
                pages += 1
                if pages == self.config.pages_max and not at.done:
                    message = f"{pages} pages were read, and there are more"
                    self.context.emit(Noticed(self.context.workflow, "http.pages_max", message, self.context.node))
                    return

    async def close(self) -> None:
        """Free the decoder."""
        if self._records is not None:
            await self.context.runtime.call(self._records.close)
            self._records = None

    def _streams(self, schema: Schema) -> Mapping[str, Stream]:
        rest = {self.config.rest_column: "json"} if self.config.rest_column else {}
        return {"": Stream(Schema.of({**{c.name: c.type for c in schema}, **rest}))}

    # ---- asking -------------------------------------------------------------------------------------------------

    def _who(self) -> Credentials:
        if self._credentials is None:
            self._credentials = Credentials(self.config.auth, self.context.runtime.clock)
        return self._credentials

    async def _asked(self, client: HttpClient, at: Standing) -> Answer:
        answer = await client.send(self._call(at))
        if not answer.fine:
            raise client.refused(answer)
        return answer

    def _call(self, at: Standing) -> Call:
        config, headers = self.config, dict(self.config.headers)
        url, paging = self._pager().asked(at.walk)
        own = url == config.url
        params: dict[str, Any] = dict(config.params) if own else {}
        fields: dict[str, Any] = dict(config.json_body) if isinstance(config.json_body, dict) else {}
        (fields if config.pagination.in_body else params).update(paging)
        if own and config.incremental is not None and (since := self._since(at)) is not None:
            (fields if config.incremental.in_body else params)[config.incremental.parameter] = since
        body = config.body.encode() if config.body else None
        if fields or config.json_body is not None:
            body = msgspec.json.encode(fields or config.json_body)
            headers.setdefault("Content-Type", "application/json")
        return Call(config.method, url, parameter_pairs(params), headers, body)

    def _since(self, at: Standing) -> Any:
        incremental = self.config.incremental
        assert incremental is not None
        if self.context.mode != "incremental":
            return None
        if at.low is None:
            return incremental.cursor_value
        return self._cursor().written(at.low, incremental.format)

    def _pager(self) -> Pager:
        return Pager(self.config.pagination, self.config.url, self._who().parameters())

    # ---- rows ---------------------------------------------------------------------------------------------------

    def _taken(self, at: Standing, answer: Answer) -> tuple[list[Batch], Standing]:
        """Return the batches of a page, and where reading stands after it."""
        page = self._page(answer)
        walk = self._pager().onward(at.walk, answer, page.count, page.text)
        if self._records is None:
            options = self._options() if self.config.format == "csv" else None
            self._records = Records(self.context.schemas[""], self.context, options, self.config.rest_column)
        decoded = self._records.decode(page)
        rows, high = self._fresh(decoded.rows, at)
        after = Standing(walk, at.low, high) if walk is not None else Standing(BEGIN, high, high, done=True)
        if not decoded.rejected:
            return [Batch(rows, position=after.to_json())], after
        place = self.config.shown(answer.url)
        refuse(decoded.rejected, self.context.on_error, place, 1)
        batches = [Batch(errors_table(decoded.rejected, place, 1), "errors", after.to_json())]
        if not at.rows_done:
            batches.insert(0, Batch(rows, position=replace(at, rows_done=True).to_json()))
        return batches, after

    def _fresh(self, rows: pa.Table, at: Standing) -> tuple[pa.Table, Mark | None]:
        if self.context.mode != "incremental":
            return rows, None
        cursor = self._cursor()
        high = at.high if at.high is not None else at.low
        return cursor.fresh(rows, at.low), cursor.raised(high, rows)

    def _page(self, answer: Answer) -> Page:
        return Page(answer, self.config.format, self.config.records, self._options())

    def _options(self) -> CsvOptions:
        return CsvOptions(delimiter=self.config.delimiter)

    def _cursor(self) -> Cursor:
        assert self.config.incremental is not None
        name, schema = self.config.incremental.cursor_field, self.context.schemas[""]
        for column in (name, *self.config.key):
            if column not in schema:
                raise WorkflowError(f"there is no column {column}", hint=f"there are {', '.join(schema.names)}")
        return Cursor(name, schema[name].type, self.config.key, self.config.incremental.overlap)

    def _check_mode(self) -> None:
        if self.context.mode == "incremental" and self.config.incremental is None:
            raise WorkflowError(
                "mode: incremental needs a column that grows, and a parameter to ask by",
                hint="add incremental: {cursor_field: updated_at, parameter: since}",
            )


__all__ = ["HttpSource"]
