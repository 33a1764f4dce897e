"""One request of an ASGI server: whether it may come in, its body, and what it is answered."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dataflare.listening.settings import CallerAuth

BODY_SECONDS = 30.0
"""How long a sender may take for a body."""


class RefusedError(Exception):
    """A request that is answered with a status and a reason, and leaves nothing behind."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        """Keep what is answered."""
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, dict(headers or {})


@dataclass(frozen=True, slots=True)
class Admission:
    """What a request must be: its method one of `methods`, its body not longer, its sender one that `auth` knows."""

    methods: Sequence[str]
    auth: CallerAuth | None
    body_bytes_max: int


async def admitted(scope: Any, receive: Any, rules: Admission) -> tuple[dict[str, str], bytes]:
    """Return the headers, with lower-case names, and the whole body; raise RefusedError where it may not come in."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    auth = rules.auth
    if scope["method"] not in rules.methods:
        raise RefusedError(405, "not by this method", {"allow": ", ".join(rules.methods)})
    if auth is not None and auth.type == "token" and not _has_token(auth, headers):
        raise RefusedError(401, "who are you?")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await _body(headers, receive, rules.body_bytes_max)
    except TimeoutError:
        raise RefusedError(408, "the body took too long") from None
    if auth is not None and auth.type == "hmac" and not _is_signed(auth, headers, body):
        raise RefusedError(401, "the signature does not fit")
    return headers, body


async def answer(send: Any, status: int, told: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
    """Send an answer, as JSON; without a body where there is nothing to tell."""
    body = json.dumps(told).encode() if told else b""
    named = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    pairs = [(name.encode(), value.encode()) for name, value in named.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


async def _body(headers: Mapping[str, str], receive: Any, most: int) -> bytes:
    told = headers.get("content-length", "0")
    if told.isdigit() and int(told) > most:
        raise too_long(most)
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RefusedError(400, "the body is not whole")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
        if size > most:
            raise too_long(most)
    return b"".join(parts)


def too_long(most: int) -> RefusedError:
    """Return the refusal of a body that is longer than so many bytes."""
    return RefusedError(413, f"a body has at most {most} bytes")


def _has_token(auth: CallerAuth, headers: Mapping[str, str]) -> bool:
    given = headers.get(auth.header.lower(), "")
    return hmac.compare_digest(given.encode(), f"{auth.prefix}{auth.token}".encode())


def _is_signed(auth: CallerAuth, headers: Mapping[str, str], body: bytes) -> bool:
    made = hmac.new(auth.secret.encode(), body, getattr(hashlib, auth.algorithm)).digest()
    text = made.hex() if auth.encoding == "hex" else base64.b64encode(made).decode()
    given = headers.get(auth.header.lower(), "")
    return hmac.compare_digest(given.encode(), f"{auth.prefix}{text}".encode())


__all__ = ["Admission", "RefusedError", "admitted", "answer", "too_long"]
