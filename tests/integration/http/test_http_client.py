"""The client of the HTTP connectors: whom it trusts, and how fast it asks."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.http_server import LocalServer, Said
from tests.integration.http.reading import ROWS, make, read

from dataflare.connectors.http.client import HttpClient
from dataflare.connectors.http.exchange import Call
from dataflare.errors import UnavailableError
from dataflare.executor.runtime import LocalRuntime

if TYPE_CHECKING:
    from pathlib import Path


class Waits:
    """A clock that stands still but for those who sleep."""

    def __init__(self) -> None:
        self.time, self.slept = 100.0, []  # type: ignore[var-annotated]

    def now(self) -> int:
        return round(self.time * 1e6)

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 3))
        self.time += seconds
        await asyncio.sleep(0)


def asked(server: LocalServer, times: int, **settings: Any) -> list[float]:
    """Ask so many times at once; return for how long somebody waited each time."""
    source, runtime = make(server, **settings), LocalRuntime(clock=Waits())
    runtime.random.seed(7)

    async def ask() -> None:
        async with HttpClient(source.config, replace(source.context, runtime=runtime)) as client:
            await asyncio.gather(*(client.send(Call("GET", server.url)) for _ in range(times)))

    asyncio.run(ask())
    return runtime.clock.slept  # type: ignore[attr-defined]


def test_requests_keep_their_distance(server: LocalServer) -> None:
    assert asked(server, 4, requests_per_second=2) == [0.5, 0.5, 0.5]
    assert asked(server, 4) == []


def test_waits_grow_are_drawn_anew_and_are_never_shorter_than_the_server_asks(server: LocalServer) -> None:
    left = [Said(status=503)] * 7
    server.say = lambda _: left.pop() if left else Said()
    waits = asked(server, 1, retry={"attempts": 9, "initial": "1s", "max": "8s"})
    assert len(waits) == 7
    assert all(wait <= bound for wait, bound in zip(waits, (1, 2, 4, 8, 8, 8, 8), strict=True))
    assert len(set(waits)) == 7
    left = [Said(status=429, headers={"Retry-After": "20"})]
    assert asked(server, 1, retry={"attempts": 2, "initial": "1s", "max": "8s"}) == [20.0]


def test_a_certificate_is_checked_against_the_authority_that_is_named(certificate: Path) -> None:
    with LocalServer(lambda _: Said.of(ROWS), certificate) as server:
        with pytest.raises(UnavailableError, match=r"its certificate is not trusted: .*ca_file"):
            read(make(server))
        assert read(make(server, ca_file=str(certificate)))[0] == ROWS
        assert read(make(server, verify=False))[0] == ROWS
        with pytest.raises(UnavailableError, match="certificates cannot be read"):
            read(make(server, ca_file="nowhere.pem"))
