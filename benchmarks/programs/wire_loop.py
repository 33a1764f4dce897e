"""The bound of W6b: bids from one connection to another, by asyncio and a loop over lines."""

from __future__ import annotations

import asyncio
import os

import orjson

IN, OUT = map(int, os.environ["BENCH_PORTS"].split(","))


def priced(bid: dict) -> bytes:
    """Return the line that comes of a bid."""
    return orjson.dumps({k: bid[k] for k in ("auction", "bidder")} | {"eur": bid["price"] * 0.9, "ts": bid["ts"]})


async def main() -> None:
    reader, held = await asyncio.open_connection("127.0.0.1", IN)
    _, writer = await asyncio.open_connection("127.0.0.1", OUT)
    while line := await reader.readline():
        bid = orjson.loads(line)
        if bid["price"] >= 100:
            writer.write(priced(bid) + b"\n")
            await writer.drain()
    writer.close()
    held.close()


asyncio.run(main())
