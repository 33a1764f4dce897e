"""A request and its answer, as values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OK, REDIRECT, REFUSED, ROUNDS_OFF = 200, 300, 400, 500
UNAUTHORIZED = 401
TRIED_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers after which the same request may do better."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request, without what says who asks. `params` come behind those that the URL has.

    `shown` is what messages call the URL where it holds values of rows (invariant 7).
    """

    method: str
    url: str
    params: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] | None = None
    body: bytes | None = None
    shown: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said, unpacked; header names are in small letters. `url` is where it came from at last.

    `shown` is that of the request: where it is set, the server may repeat values of rows in its own words.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    shown: str = ""

    @property
    def fine(self) -> bool:
        """Tell whether it is what was asked for."""
        return OK <= self.status < REDIRECT

    @property
    def charset(self) -> str:
        """The encoding of its text."""
        _, _, rest = self.headers.get("content-type", "").lower().partition("charset=")
        return rest.partition(";")[0].strip(" \"'") or "utf-8"


def asked_wait(headers: Mapping[str, str], now: int) -> float:
    """Return how many seconds the server asks to wait (Retry-After, in seconds or as a date); `now` in microseconds."""
    told = headers.get("retry-after", "").strip()
    if told.isdigit():
        return float(told)
    try:
        until = parsedate_to_datetime(told)
    except ValueError:
        return 0.0
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.fromtimestamp(now / 1e6, UTC)).total_seconds())


def parameter_pairs(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return parameters of a URL as texts; a list is several of one name."""
    return [
        (name, ("true" if item else "false") if isinstance(item, bool) else str(item))
        for name, value in params.items()
        for item in (value if isinstance(value, list) else [value])
    ]


__all__ = ["TRIED_AGAIN", "Answer", "Call", "asked_wait", "parameter_pairs"]
