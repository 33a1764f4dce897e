"""Looks rows up by HTTP, by the keys that come: one request a key, or many keys a request."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec
import pyarrow as pa

from dataflare.component import Split, lookup
from dataflare.component.lookup import Lookup
from dataflare.connectors.http.client import HttpClient
from dataflare.connectors.http.credentials import Credentials
from dataflare.connectors.http.exchange import Call, parameter_pairs
from dataflare.connectors.http.records import Page, Records, page_of_lines, with_fields
from dataflare.connectors.http.settings import HttpLookupConfig, HttpSourceConfig
from dataflare.connectors.http.source import HttpSource
from dataflare.errors import WorkflowError
from dataflare.formats.csv.options import CsvOptions
from dataflare.formats.encoder import moment_texts
from dataflare.formats.jsonl.encode import JsonTexts
from dataflare.formats.rejected import failure
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Mapping, Sequence

    from dataflare.connectors.http.exchange import Answer

Asked = list[dict[str, str]]
"""Keys of one request: for each, the text of each column, and under "" all of them as a JSON object."""


@lookup(
    "http",
    status="beta",
    examples=[
        {"url": "https://shop.example/customers/{id}", "columns": {"id": "int64", "segment": "string"}},
        {
            "url": "https://shop.example/customers",
            "batch_max": 100,
            "batch_parameter": "ids",
            "records": "data",
            "columns": {"id": "int64", "segment": "string"},
        },
    ],
)
class HttpLookup(Lookup[HttpLookupConfig]):
    """Looks rows up at an HTTP API, by the keys that come.

    `{column}` in `url`, `params` or `json` stands for the key, and each key is a request, `concurrency` of them at a
    time; or up to `batch_max` keys are sent together, as a list in the URL (`batch_parameter`) or in the body
    (`batch_field`). What is answered is remembered by the node, misses too: 404 and 410 say that there is no such row.
    Any other refusal counts as a server that is down.

    Rows of an answer to one key need not repeat the key. With `cache: all` all rows are read at once instead, page by
    page.
    """

    by_key = True
    _loop: asyncio.AbstractEventLoop | None = None
    _client: HttpClient | None = None
    _records: Records | None = None

    def __init__(self, config: HttpLookupConfig) -> None:
        """Open nothing."""
        super().__init__(config)
        self._credentials: Credentials | None = None

    def declared(self) -> Schema:
        """Return the declared columns."""
        return Schema.of(self.config.columns)

    def schema(self) -> Schema:
        """Return the declared columns, having seen that the server answers: no matter what."""
        parts = urlsplit(self.config.url)
        place = parts._replace(path=parts.path.partition("{")[0], query="")
        try:
            self._run(self._offers(urlunsplit(place)))
        finally:
            self.close()
        return self.declared()

    def find(self, keys: pa.Table) -> pa.Table:
        """Ask for the rows of these keys; raises ExternalError or UnavailableError where one of them has no answer."""
        missing = sorted({*self.config.placed()} - {*keys.column_names})
        if missing:
            raise WorkflowError(
                f"there is a place for {missing[0]}, which is no key", hint="check url, params and json"
            )
        if not (self.config.placed() or self.config.batch_max > 1):
            raise WorkflowError(
                "nothing says how keys are asked for", hint="write {column} into url, or set batch_max; or cache: all"
            )
        asked = _asked(keys)
        size = self.config.batch_max
        requests = [asked[start : start + size] for start in range(0, len(asked), size)]
        return self._decoded(self._run(self._all(requests)))

    def everything(self) -> Iterator[pa.Table]:
        """Yield all rows, page by page."""
        if self.config.placed():
            raise WorkflowError("{column} is for single keys, and cache: all asks for all rows", hint="leave it out")
        given = self.config.model_dump(include={*HttpSourceConfig.model_fields}, exclude_unset=True, by_alias=True)
        source = HttpSource(HttpSourceConfig.model_validate(given))
        source.context = replace(self.context, schemas={"": self.declared()}, mode="full", on_error="fail")
        batches: Any = source.read(Split("all"), None, None)
        try:
            while (batch := self._run(anext(batches, None))) is not None:
                yield batch.rows
        finally:
            self._run(batches.aclose())
            self._run(source.close())

    def close(self) -> None:
        """Close connections."""
        if self._records is not None:
            self._records.close()
            self._records = None
        if self._loop is not None:
            if self._client is not None:
                self._run(self._client.__aexit__(None, None, None))
                self._client = None
            self._loop.close()
            self._loop = None

    # ---- requests -----------------------------------------------------------------------------------------------

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end on a loop of our own: lookups are asked in worker threads."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(work)

    async def _ready(self) -> HttpClient:
        if self._credentials is None:
            self._credentials = Credentials(self.config.auth, self.context.runtime.clock)
        if self._client is None:
            self._client = await HttpClient(self.config, self.context, self._credentials).__aenter__()
        return self._client

    async def _offers(self, url: str) -> None:
        await (await self._ready()).send(Call("OPTIONS", url))

    async def _all(self, requests: Sequence[Asked]) -> list[list[bytes]]:
        """Return the rows of all requests, as JSON lines; the first that fails ends the others."""
        client, room = await self._ready(), asyncio.Semaphore(self.config.concurrency)

        async def one(asked: Asked) -> list[bytes]:
            async with room:
                return self._lines(client, asked, await client.send(self._call(asked)))

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(asked)) for asked in requests]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [task.result() for task in tasks]

    def _call(self, asked: Asked) -> Call:
        config, headers = self.config, dict(self.config.headers)
        one = asked[0]
        url = config.url
        for name in config.placed():
            url = url.replace(f"{{{name}}}", quote(one[name], safe=""))
        params = {n: _placed(v, one) if isinstance(v, str) else v for n, v in config.params.items()}
        if config.batch_parameter:
            params[config.batch_parameter] = config.batch_separator.join(_alone(key) for key in asked)
        body = _filled(config.json_body, one)
        if config.batch_field:
            body = {**(body or {}), config.batch_field: [_value(key) for key in asked]}
        if body is None:
            return Call(config.method, url, parameter_pairs(params), headers, shown=config.url)
        headers.setdefault("Content-Type", "application/json")
        return Call(config.method, url, parameter_pairs(params), headers, msgspec.json.encode(body), config.url)

    # ---- rows ---------------------------------------------------------------------------------------------------

    def _lines(self, client: HttpClient, asked: Asked, answer: Answer) -> list[bytes]:
        """Return the rows of an answer; those to a single key have the key, though the server may leave it out."""
        if answer.status in self.config.missing_statuses:
            return []
        if not answer.fine:
            raise client.refused(answer)
        lines = Page(answer, "json", self.config.records, CsvOptions()).text.splitlines()
        if self.config.batch_max > 1:
            return lines
        return [_keyed(line, asked[0][""]) for line in lines]

    def _decoded(self, lines: Sequence[Sequence[bytes]]) -> pa.Table:
        if self._records is None:
            self._records = Records(self.declared(), self.context, None)
        text = b"".join(line + b"\n" for some in lines for line in some)
        decoded = self._records.decode(page_of_lines(text))
        if decoded.rejected:
            raise failure(decoded.rejected[0], self.config.shown(), 1)
        return decoded.rows


def _asked(keys: pa.Table) -> Asked:
    """Return each key as texts."""
    texts = JsonTexts()
    try:
        whole = [line.rstrip("\n") for line in texts.lines(keys).to_pylist()]
    finally:
        texts.close()
    columns = {"": whole}
    for name in keys.column_names:
        column = keys.column(name)
        column = moment_texts(column) if pa.types.is_timestamp(column.type) else column.cast(pa.string())
        columns[name] = column.to_pylist()
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _alone(key: Mapping[str, str]) -> str:
    names = [name for name in key if name]
    if len(names) > 1:
        raise WorkflowError("batch_parameter lists keys of one column", hint="use batch_field, which lists objects")
    return key[names[0]]


def _value(key: Mapping[str, str]) -> Any:
    """Return a key as a JSON value: that of its column, or an object of several."""
    whole: dict[str, Any] = msgspec.json.decode(key[""])
    return next(iter(whole.values())) if len(whole) == 1 else whole


def _placed(text: str, key: Mapping[str, str]) -> str:
    for name, value in key.items():
        if name:
            text = text.replace(f"{{{name}}}", value)
    return text


def _filled(value: Any, key: Mapping[str, str]) -> Any:
    """Return a JSON value with keys in their places; a text that is nothing but a place becomes the value itself."""
    if isinstance(value, dict):
        return {name: _filled(inner, key) for name, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, key) for inner in value]
    if not isinstance(value, str):
        return value
    if value.startswith("{") and value.endswith("}") and value[1:-1] in key:
        return msgspec.json.decode(key[""])[value[1:-1]]
    return _placed(value, key)


def _keyed(line: bytes, key: str) -> bytes:
    """Return a row with the columns of its key that it lacks."""
    if not line.startswith(b"{"):
        return line
    there = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    missing = {n: v for n, v in msgspec.json.decode(key, type=dict[str, msgspec.Raw]).items() if n not in there}
    return with_fields(line, msgspec.json.encode(missing)[1:-1]) if missing else line


__all__ = ["HttpLookup"]
