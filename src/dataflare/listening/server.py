"""The HTTP server: takes requests at one address until it is cancelled, and leaves signals to the run."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dataflare.errors import UnavailableError, WorkflowError
from dataflare.listening.settings import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PORT_MAX = 65_535


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: port 0 is one that is free. With a certificate it is https; its key may be in the same file.

    Of more senders at once than `connections_max` the last ones are told 503.
    """

    host: str
    port: int
    connections_max: int = 256
    cert_file: Path | None = None
    key_file: Path | None = None

    @classmethod
    def of(cls, text: str) -> Address:
        """Read `host:port` or `[host]:port`; raise WorkflowError for anything else."""
        host, _, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not host or not port.isdecimal() or int(port) > PORT_MAX:
            raise WorkflowError(f"{text!r} is no address to listen at", hint="write host:port, such as 127.0.0.1:8090")
        return cls(host, int(port))

    @property
    def outward(self) -> bool:
        """Whether others than programs of this machine may come."""
        return self.host not in LOOPBACK


async def serve(app: Any, address: Address, opened: Callable[[int], None] = lambda _: None) -> None:
    """Give each request to an ASGI application until cancelled; `opened` hears the port when senders may come.

    Raises UnavailableError where the library is not there, or where the address or the certificate cannot be had.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise UnavailableError("listening needs an HTTP server", hint="pip install 'dataflare[http]'") from error

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # signals are for the run

    door = _bound(address)
    try:
        settings = uvicorn.Config(
            app,
            http="h11",  # 4,300 requests/s become 2,900, but headers have an end: httptools takes any number of bytes
            ws="none",
            lifespan="off",
            loop="none",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=address.connections_max,
            timeout_graceful_shutdown=2,
            ssl_certfile=str(address.cert_file) if address.cert_file else None,
            ssl_keyfile=str(address.key_file) if address.key_file else None,
        )
        try:
            settings.load()
        except OSError as error:
            raise UnavailableError(
                f"the certificate cannot be read: {error.strerror or 'it is none'}", hint="check cert_file and key_file"
            ) from error
        server = Server(settings)
        work = asyncio.create_task(server.serve(sockets=[door]))
        opened(door.getsockname()[1])
        try:
            await asyncio.shield(work)
        finally:
            server.should_exit = True
            await asyncio.wait([work])
    finally:
        door.close()


def _bound(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    door = socket.socket(family, socket.SOCK_STREAM)
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind((address.host, address.port))
    except OSError as error:
        door.close()
        raise UnavailableError(
            f"nobody can listen at {address.host} port {address.port}: {error.strerror}",
            hint="is another program there? check host and port",
        ) from error
    return door


__all__ = ["Address", "serve"]
