"""A source and a destination of lines of JSON over a connection, as anybody might write them, for W6b."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dataflare.batch import Batch, Encoded
from dataflare.component import Config, DestinationConnector, Field, SourceConnector, Stream, destination, source
from dataflare.formats.encoder import text_bytes
from dataflare.formats.jsonl.decode import JsonlDecoder
from dataflare.formats.jsonl.encode import JsonTexts
from dataflare.plan_words import Mechanism
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from dataflare.batch import Position
    from dataflare.component import Split


class WireConfig(Config):
    """Where to connect to."""

    ports: str = Field(description="Two ports of this machine, with a comma between them: of lines in, of lines out.")


BID = Schema.of({"auction": "int64", "bidder": "int64", "price": "int64", "ts": "int64"})
READ_BYTES_MAX = 1 << 16


@source("wire", replay="none")
class Lines(SourceConnector[WireConfig]):
    """Reads bids from the first port until the other side closes."""

    waits = True

    def declared(self) -> Mapping[str, Stream]:
        """Return the columns of bids."""
        return {"": Stream(BID, unjudged=("jsonl",))}

    def open(self) -> None:
        """Make the reader of lines."""
        self._decoder = JsonlDecoder(BID, self.context.budget.memory_bytes_max)

    async def read(self, split: Split, since: Position | None, until: Position | None) -> AsyncIterator[Batch]:
        """Yield what is there, as often as something is there."""
        del split, since, until
        reader, writer = await asyncio.open_connection("127.0.0.1", int(self.config.ports.split(",")[0]))
        rest, offset = b"", 0
        while data := await reader.read(READ_BYTES_MAX):
            lines, newline, rest = (rest + data).rpartition(b"\n")
            offset += len(lines) + len(newline)
            if newline:
                yield Batch(Encoded(lines + newline, "jsonl", judged=False), position={"offset": offset})
        writer.close()

    def decode(self, batch: Batch) -> Iterable[Batch]:
        """Read lines that what comes next could not read whole."""
        assert isinstance(batch.payload, Encoded)
        return [batch.replace(self._decoder.decode(bytes(batch.payload.data)).rows, "")]

    def close(self) -> None:
        """Free the reader."""
        self._decoder.close()


@destination("wire", mechanisms=(Mechanism.APPEND,))
class Back(DestinationConnector[WireConfig]):
    """Writes rows to the second port at once."""

    async def open(self) -> None:
        """Connect."""
        self._texts = JsonTexts(self.context.budget.memory_bytes_max)
        port = int(self.config.ports.split(",")[1])
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port)

    async def write(self, batch: Batch) -> None:
        """Send the rows."""
        self._writer.writelines(text_bytes(self._texts.lines(batch.rows)))
        await self._writer.drain()

    async def close(self) -> None:
        """Hang up."""
        self._texts.close()
        self._writer.close()
        await self._writer.wait_closed()
