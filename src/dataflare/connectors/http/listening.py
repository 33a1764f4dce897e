"""An HTTP server for one path: says who may come in, takes bodies of a bounded size, and answers when they are safe."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import socket
from typing import TYPE_CHECKING, Any

import msgspec

from dataflare.errors import DataError, DataFlareError, UnavailableError
from dataflare.formats.packing import unpacked
from dataflare.journal import JournalFullError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from dataflare.component import StageContext
    from dataflare.connectors.http.webhook_settings import WebhookAuth, WebhookConfig

BODY_SECONDS = 30.0
"""How long a sender may take for a body."""
_PIECE = 64 << 10


class _RefusedError(Exception):
    """A request that is answered with a status and a reason, and leaves nothing behind."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, dict(headers or {})


class Listener:
    """The ASGI application: `keep` is given the headers and the body of each request that may come in.

    A request is answered when `keep` has returned, and refused with 503 when it raises.
    """

    def __init__(self, config: WebhookConfig, keep: Callable[[Mapping[str, str], bytes], Awaitable[None]]) -> None:
        """Listen to nobody yet."""
        self._config, self._keep = config, keep

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            async with asyncio.timeout(BODY_SECONDS):
                headers, body = await self._taken(scope, receive)
            await self._keep(headers, body)
        except TimeoutError:
            await _say(send, 408, "the body took too long")
        except _RefusedError as refused:
            await _say(send, refused.status, refused.reason, refused.headers)
        except JournalFullError:
            wait = {"retry-after": str(max(1, round(self._config.retry_after)))}
            await _say(send, 503, "there is no room now", wait)
        except DataFlareError:
            await _say(send, 503, "it cannot be kept now")
        else:
            await _say(send, self._config.status, "")

    async def _taken(self, scope: Any, receive: Any) -> tuple[dict[str, str], bytes]:
        config = self._config
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if scope["path"] != config.path:
            raise _RefusedError(404, "there is nothing here")
        if scope["method"] not in config.methods:
            raise _RefusedError(405, "not by this method", {"allow": ", ".join(config.methods)})
        if config.auth is not None and config.auth.type == "token" and not _has_token(config.auth, headers):
            raise _RefusedError(401, "who are you?")
        body = await self._body(headers, receive)
        if config.auth is not None and config.auth.type == "hmac" and not _is_signed(config.auth, headers, body):
            raise _RefusedError(401, "the signature does not fit")
        return headers, self._plain(headers, body)

    async def _body(self, headers: Mapping[str, str], receive: Any) -> bytes:
        most = self._config.body_bytes_max
        told = headers.get("content-length", "0")
        if told.isdigit() and int(told) > most:
            raise _RefusedError(413, f"a body has at most {most} bytes")
        parts, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _RefusedError(400, "the body is not whole")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            more = message.get("more_body", False)
            if size > most:
                raise _RefusedError(413, f"a body has at most {most} bytes")
        return b"".join(parts)

    def _plain(self, headers: Mapping[str, str], body: bytes) -> bytes:
        """Return the body unpacked; refuse one that nobody could read, for its sender should know at once."""
        packing = headers.get("content-encoding", "identity").lower()
        if packing not in ("identity", "gzip"):
            raise _RefusedError(415, "packed in a way that is not known here")
        if packing == "gzip":
            body = self._unpacked(body)
        try:
            if self._config.format == "json":
                msgspec.json.decode(body, type=msgspec.Raw)
            else:
                body.decode()
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise _RefusedError(400, f"the body is no {self._config.format}") from None
        return body

    def _unpacked(self, body: bytes) -> bytes:
        parts, size, most = [], 0, self._config.body_bytes_max
        try:
            for part in unpacked(iter([body]), "gzip", "the body"):
                parts.append(part)
                size += len(part)
                if size > most:
                    raise _RefusedError(413, f"a body has at most {most} bytes")
        except DataError:
            raise _RefusedError(400, "the body is not sound gzip") from None
        return b"".join(parts)


async def serve(listener: Listener, config: WebhookConfig, context: StageContext) -> None:
    """Listen until cancelled; raise UnavailableError where the address or a certificate cannot be had."""
    try:
        import uvicorn
    except ImportError as error:
        raise UnavailableError("the connector needs an HTTP server", hint="pip install 'dataflare[http]'") from error

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # signals are for the run

    door = _bound(config)
    try:
        settings = uvicorn.Config(
            listener,
            http="h11",  # 4,300 requests/s become 2,900, but headers have an end: httptools takes any number of bytes
            ws="none",
            lifespan="off",
            loop="none",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=config.connections_max,
            timeout_graceful_shutdown=2,
            ssl_certfile=str(context.path(config.cert_file)) if config.cert_file else None,
            ssl_keyfile=str(context.path(config.key_file)) if config.key_file else None,
        )
        try:
            settings.load()
        except OSError as error:
            raise UnavailableError(
                f"the certificate cannot be read: {error.strerror or 'it is none'}", hint="check cert_file and key_file"
            ) from error
        server = Server(settings)
        work = asyncio.create_task(server.serve(sockets=[door]))
        try:
            await asyncio.shield(work)
        finally:
            server.should_exit = True
            await asyncio.wait([work])
    finally:
        door.close()


def _bound(config: WebhookConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    door = socket.socket(family, socket.SOCK_STREAM)
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind((config.host, config.port))
    except OSError as error:
        door.close()
        raise UnavailableError(
            f"nobody can listen at {config.host} port {config.port}: {error.strerror}",
            hint="is another program there? check host and port",
        ) from error
    return door


def _has_token(auth: WebhookAuth, headers: Mapping[str, str]) -> bool:
    given = headers.get(auth.header.lower(), "")
    return hmac.compare_digest(given.encode(), f"{auth.prefix}{auth.token}".encode())


def _is_signed(auth: WebhookAuth, headers: Mapping[str, str], body: bytes) -> bool:
    made = hmac.new(auth.secret.encode(), body, getattr(hashlib, auth.algorithm)).digest()
    text = made.hex() if auth.encoding == "hex" else base64.b64encode(made).decode()
    given = headers.get(auth.header.lower(), "")
    return hmac.compare_digest(given.encode(), f"{auth.prefix}{text}".encode())


async def _say(send: Any, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
    body = json.dumps({"error": reason}).encode() if reason else b""
    told = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    pairs = [(name.encode(), value.encode()) for name, value in told.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


__all__ = ["Listener", "serve"]
