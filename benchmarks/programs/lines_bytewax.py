"""The peer bytewax on W3, W3p, W6 and W9: `lines_bytewax.py w3|w6|w9 LINES OUTPUT`."""

from __future__ import annotations

import sys
from pathlib import Path

import bytewax.operators as op
import orjson
from bytewax.connectors.files import FileSink, FileSource
from bytewax.dataflow import Dataflow
from bytewax.testing import run_main


def masked(event: dict) -> tuple[str, str]:
    user = event["user"]
    email = user["email"]
    if email is not None:
        email = email[0] + "***" + email[email.index("@") :]
    kept = {n: event[n] for n in ("id", "ts", "type", "amount")}
    more = {"user_id": user["id"], "country": user["address"]["country"], "sku": event["items"][0]["sku"]}
    return "all", orjson.dumps({**kept, **more, "email": email}).decode()


def priced(bid: dict) -> tuple[str, str]:
    kept = {"auction": bid["auction"], "bidder": bid["bidder"], "eur": bid["price"] * 0.9, "ts": bid["ts"]}
    return "all", orjson.dumps(kept).decode()


def totalled(record: dict) -> tuple[str, str]:
    return "all", orjson.dumps({**record, "total": record["amount"] * 1.2}).decode()


workload, lines, output = sys.argv[1:]
keep, work = {
    "w3": (lambda e: e["type"] in ("purchase", "signup"), masked),
    "w6": (lambda b: b["price"] >= 100, priced),
    "w9": (lambda r: r["amount"] >= 5, totalled),
}[workload]
flow = Dataflow("lines")
stream = op.input("lines", flow, FileSource(lines, batch_size=1000))
stream = op.map("parse", stream, orjson.loads)
stream = op.filter("keep", stream, keep)
stream = op.map("work", stream, work)
op.output("written", stream, FileSink(Path(output)))
run_main(flow)
