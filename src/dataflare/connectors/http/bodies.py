"""Makes the bodies of requests from rows: cut to size, written in the format, told apart by a key of their content."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import msgspec

from dataflare.errors import DataError
from dataflare.formats.csv.encode import CsvEncoder
from dataflare.formats.csv.options import CsvOptions
from dataflare.formats.encoder import text_bytes
from dataflare.formats.jsonl.encode import JsonTexts
from dataflare.formats.packing import packed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa

    from dataflare.connectors.http.settings import HttpDestinationConfig
    from dataflare.schema import Schema

_TYPES = {
    "json": "application/json",
    "jsonl": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
    "form": "application/x-www-form-urlencoded",
}
KEYS_MAX = 1 << 16


@dataclass(frozen=True, slots=True)
class Body:
    """One request: where it goes, what it holds, and the rows that it is made of."""

    url: str
    content: bytes
    headers: Mapping[str, str]
    rows: pa.Table


class Bodies:
    """Makes bodies. Not for several threads at once; close it."""

    def __init__(self, config: HttpDestinationConfig, schemas: Mapping[str, Schema], memory_bytes_max: int) -> None:
        """Open nothing yet."""
        self._config = config
        self._json = [c.name for schema in schemas.values() for c in schema if c.type == "json"]
        self._texts = JsonTexts(memory_bytes_max)

    def made(self, rows: pa.Table) -> Iterator[Body]:
        """Yield the requests of rows, in order; each is as large as may be."""
        for start in range(0, rows.num_rows, self._config.rows_max):
            yield from self._sized(rows.slice(start, self._config.rows_max))

    def one(self, rows: pa.Table) -> Body:
        """Return one request of rows, however large."""
        config = self._config
        content = self._content(rows)
        headers = {**config.headers}
        headers.setdefault("Content-Type", _TYPES[config.format])
        if config.compression != "none":
            headers["Content-Encoding"] = config.compression
            content = packed(content, config.compression)
        return Body(self._url(rows), content, headers, rows)

    def close(self) -> None:
        """Free what makes the texts."""
        self._texts.close()

    def _sized(self, rows: pa.Table) -> Iterator[Body]:
        body = self.one(rows)
        if rows.num_rows > 1 and len(body.content) > self._config.bytes_max:
            half = rows.num_rows // 2
            yield from self._sized(rows.slice(0, half))
            yield from self._sized(rows.slice(half))
            return
        yield body

    def _content(self, rows: pa.Table) -> bytes:
        config = self._config
        if config.format == "csv":
            sink = io.BytesIO()
            encoder = CsvEncoder(sink, self._texts, rows.column_names, CsvOptions(delimiter=config.delimiter))
            encoder.write(rows)
            encoder.finish()
            return sink.getvalue()
        lines = self._texts.lines(rows, [n for n in self._json if n in rows.column_names])
        if config.format == "jsonl":
            return b"".join(text_bytes(lines))
        if config.format == "form":
            row = msgspec.json.decode(lines[0].as_py())
            return urlencode({n: _text(v) for n, v in row.items() if v is not None}).encode()
        text = ",".join(line.rstrip("\n") for line in lines.to_pylist())
        if config.rows_max > 1:
            text = f"[{text}]"
        return (f"{{{msgspec.json.encode(config.wrap).decode()}:{text}}}" if config.wrap else text).encode()

    def _url(self, rows: pa.Table) -> str:
        url = self._config.url
        for name in self._config.places:
            if name not in rows.column_names:
                raise DataError(f"url names the column {name}, which is not there", hint="check url")
            value = rows.column(name)[0].as_py()
            if value is None or value == "":
                raise DataError(f"url names the column {name}, which is null here", hint="filter such rows before")
            url = url.replace(f"{{{name}}}", quote(str(value), safe=""))
        return url


class IdempotencyKeys:
    """Keys by which a server tells a request that is repeated from a new one.

    A key is made of the epoch, the content and how often that content came in the epoch. So a request that comes again
    after a crash has its key again if it holds the same rows, and another one if it does not: batches are cut where
    rows happened to arrive, and a key that was made by counting alone would name other rows, which the server would
    then drop.
    """

    def __init__(self, name: str) -> None:
        """`name` tells this node from all others that write to the server."""
        self._name, self._epoch, self._round = name, 0, 0
        self._seen: dict[bytes, int] = {}

    def key(self, epoch: int, body: Body) -> str:
        """Return the key of the next request of an epoch."""
        if epoch != self._epoch:
            self._epoch, self._round = epoch, 0
            self._seen.clear()
        elif len(self._seen) >= KEYS_MAX:
            self._round += 1
            self._seen.clear()
        content = hashlib.blake2b(body.url.encode() + b"\0" + body.content, digest_size=16).digest()
        again = self._seen[content] = self._seen.get(content, 0) + 1
        told = f"{self._name} {epoch} {self._round} {again} ".encode() + content
        return hashlib.blake2b(told, digest_size=16).hexdigest()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


__all__ = ["Bodies", "Body", "IdempotencyKeys"]
