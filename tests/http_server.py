"""A real HTTP server on loopback for tests: says what a function says, also badly: late, cut off, of a wrong length."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Said:
    """An answer; `sent` bytes of the body go out before the connection is cut (None: all of them)."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    sent: int | None = None
    wait: threading.Event | None = None

    @classmethod
    def of(cls, value: Any, **changes: Any) -> Self:
        return cls(json.dumps(value).encode(), **changes)


class LocalServer:
    """Answers by `say`, which may be changed at any time; keeps all requests."""

    def __init__(self, say: Callable[[Asked], Said], certificate: Path | None = None, port: int = 0) -> None:
        self.say, self.asked = say, []  # type: ignore[var-annotated]
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                url = urlsplit(self.path)
                query = {k: ",".join(v) for k, v in parse_qs(url.query, keep_blank_values=True).items()}
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {k.lower(): v for k, v in self.headers.items()}
                asked = Asked(self.command, url.path, query, headers, body)
                outer.asked.append(asked)
                said = outer.say(asked)
                if said.wait is not None:
                    said.wait.wait(30)
                self.send_response(said.status)
                for name, value in {"Content-Length": str(len(said.body)), **said.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(said.body[: said.sent])
                if said.sent is not None:
                    self.wfile.flush()
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        scheme = "http"
        if certificate is not None:
            trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            trust.load_cert_chain(certificate)
            self._server.socket = trust.wrap_socket(self._server.socket, server_side=True)
            scheme = "https"
        self.port = self._server.server_address[1]
        self.url = f"{scheme}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def numbered(asked: Asked, rows: list[Any], size: int = 3) -> list[Any]:
    """Return a page by number, as many APIs do."""
    page = int(asked.query.get("page", 1))
    return rows[(page - 1) * size : page * size]


__all__ = ["Asked", "LocalServer", "Said", "numbered"]
