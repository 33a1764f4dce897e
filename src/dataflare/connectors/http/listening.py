"""The requests of a webhook: who may come in, bodies that somebody can read, and answers when they are safe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dataflare.errors import DataError, DataFlareError
from dataflare.formats.packing import unpacked
from dataflare.journal import JournalFullError
from dataflare.listening.requests import Admission, RefusedError, admitted, answer, too_long

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from dataflare.connectors.http.webhook_settings import WebhookConfig


class Listener:
    """The ASGI application: `keep` is given the headers and the body of each request that may come in.

    A request is answered when `keep` has returned, and refused with 503 when it raises.
    """

    def __init__(self, config: WebhookConfig, keep: Callable[[Mapping[str, str], bytes], Awaitable[None]]) -> None:
        """Listen to nobody yet."""
        self._config, self._keep = config, keep
        self._rules = Admission(config.methods, config.auth, config.body_bytes_max)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            await self._keep(*await self._taken(scope, receive))
        except RefusedError as refused:
            await answer(send, refused.status, {"error": refused.reason}, refused.headers)
        except JournalFullError:
            wait = {"retry-after": str(max(1, round(self._config.retry_after)))}
            await answer(send, 503, {"error": "there is no room now"}, wait)
        except DataFlareError:
            await answer(send, 503, {"error": "it cannot be kept now"})
        else:
            await answer(send, self._config.status, {})

    async def _taken(self, scope: Any, receive: Any) -> tuple[dict[str, str], bytes]:
        if scope["path"] != self._config.path:
            raise RefusedError(404, "there is nothing here")
        headers, body = await admitted(scope, receive, self._rules)
        return headers, self._plain(headers, body)

    def _plain(self, headers: Mapping[str, str], body: bytes) -> bytes:
        """Return the body unpacked; refuse one that nobody could read, for its sender should know at once."""
        packing = headers.get("content-encoding", "identity").lower()
        if packing not in ("identity", "gzip"):
            raise RefusedError(415, "packed in a way that is not known here")
        if packing == "gzip":
            body = self._unpacked(body)
        try:
            if self._config.format == "json":
                msgspec.json.decode(body, type=msgspec.Raw)
            else:
                body.decode()
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise RefusedError(400, f"the body is no {self._config.format}") from None
        return body

    def _unpacked(self, body: bytes) -> bytes:
        parts, size, most = [], 0, self._config.body_bytes_max
        try:
            for part in unpacked(iter([body]), "gzip", "the body"):
                parts.append(part)
                size += len(part)
                if size > most:
                    raise too_long(most)
        except DataError:
            raise RefusedError(400, "the body is not sound gzip") from None
        return b"".join(parts)


__all__ = ["Listener"]
