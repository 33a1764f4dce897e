"""The bounds of W3p, W6 and W9 in plain Python, a loop over lines: `lines_loop.py w3|w6|w9 LINES OUTPUT`."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import orjson


class Address(msgspec.Struct):
    country: str


class User(msgspec.Struct):
    id: int
    email: str | None
    address: Address


class Item(msgspec.Struct):
    sku: str


class Event(msgspec.Struct):
    id: int
    ts: int
    type: str
    user: User
    items: list[Item]
    amount: float


class Masked(msgspec.Struct):
    id: int
    ts: int
    type: str
    user_id: int
    email: str | None
    country: str
    sku: str
    amount: float


decode, encode = msgspec.json.Decoder(Event).decode, msgspec.json.Encoder().encode


def masked(line: bytes) -> bytes | None:
    """Return the line that comes of an event, or None where it is filtered."""
    event = decode(line)
    if event.type not in ("purchase", "signup"):
        return None
    email, user = event.user.email, event.user
    if email is not None:
        email = email[0] + "***" + email[email.index("@") :]
    sku = event.items[0].sku
    return encode(Masked(event.id, event.ts, event.type, user.id, email, user.address.country, sku, event.amount))


def priced(line: bytes) -> bytes | None:
    """Return the line that comes of a bid, or None where it is filtered."""
    bid = orjson.loads(line)
    if bid["price"] < 100:
        return None
    return orjson.dumps({k: bid[k] for k in ("auction", "bidder")} | {"eur": bid["price"] * 0.9, "ts": bid["ts"]})


def totalled(line: bytes) -> bytes | None:
    """Return the line that comes of a record, or None where it is filtered."""
    record = orjson.loads(line)
    if record["amount"] < 5:
        return None
    return orjson.dumps(record | {"total": record["amount"] * 1.2})


workload, lines, output = sys.argv[1:]
work = {"w3": masked, "w6": priced, "w9": totalled}[workload]
with Path(lines).open("rb", buffering=1 << 20) as source, Path(output).open("wb", buffering=1 << 20) as target:
    for line in source:
        made = work(line)
        if made is not None:
            target.write(made + b"\n")
