"""The peer bytewax on W6b: bids from one connection to another."""

from __future__ import annotations

import os
import select
import socket
from datetime import UTC, datetime, timedelta

import bytewax.operators as op
import orjson
from bytewax.dataflow import Dataflow
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main

IN, OUT = map(int, os.environ["BENCH_PORTS"].split(","))
PAUSE = timedelta(milliseconds=0.2)


class Lines(StatelessSourcePartition):
    def __init__(self) -> None:
        self._connection = socket.create_connection(("127.0.0.1", IN))
        self._rest = b""
        self._awake = None

    def next_batch(self) -> list[bytes]:
        if not select.select([self._connection], [], [], 0)[0]:
            self._awake = datetime.now(UTC) + PAUSE
            return []
        self._awake = None
        data = self._connection.recv(1 << 16)
        if not data:
            raise StopIteration
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines

    def next_awake(self) -> datetime | None:
        return self._awake


class Wire(DynamicSource):
    def build(self, *_: object) -> Lines:
        return Lines()


class Back(StatelessSinkPartition):
    def __init__(self) -> None:
        self._connection = socket.create_connection(("127.0.0.1", OUT))
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def write_batch(self, items: list[bytes]) -> None:
        self._connection.sendall(b"".join(line + b"\n" for line in items))


class WireBack(DynamicSink):
    def build(self, *_: object) -> Back:
        return Back()


def priced(bid: dict) -> bytes:
    kept = {"auction": bid["auction"], "bidder": bid["bidder"], "eur": bid["price"] * 0.9, "ts": bid["ts"]}
    return orjson.dumps(kept)


flow = Dataflow("wire")
stream = op.input("lines", flow, Wire())
stream = op.map("parse", stream, orjson.loads)
stream = op.filter("keep", stream, lambda bid: bid["price"] >= 100)
stream = op.map("work", stream, priced)
op.output("back", stream, WireBack())
run_main(flow)
