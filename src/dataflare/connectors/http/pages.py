"""Which page comes next, and how it is asked for. What leads to a page is a JSON value that a position can hold."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

import msgspec

from dataflare.connectors.http.records import MISSING, value_at
from dataflare.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dataflare.connectors.http.exchange import Answer
    from dataflare.connectors.http.settings import HttpPagination

_LINK = re.compile(r"<([^>]*)>((?:\s*;\s*[^,;=\s]+\s*=\s*(?:\"[^\"]*\"|[^,;\"]*))*)")
_NEXT = re.compile(r";\s*rel\s*=\s*(?:\"(?:[^\"]*\s)?next(?:\s[^\"]*)?\"|next\b)", re.IGNORECASE)
_END = (None, "", False, MISSING)


@dataclass(frozen=True, slots=True)
class Walk:
    """How far the pages were read: what leads to the next one, how many came, and what was seen to notice circles.

    `token` None is the first page. `mark` is the token of page number 1, 2, 4, 8 and so on: whoever goes in a circle
    comes by it again. `content` tells the rows of the page before.
    """

    token: Any = None
    pages: int = 0
    mark: Any = None
    content: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"next": self.token, "pages": self.pages, "mark": self.mark, "content": self.content}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Walk:
        """Read what `to_json` wrote."""
        return cls(value["next"], value["pages"], value["mark"], value["content"])


class Pager:
    """Follows the pages of an API."""

    def __init__(self, config: HttpPagination, url: str, hidden: Iterable[str] = ()) -> None:
        """`hidden` are parameters of URLs that must not be kept."""
        self._config, self._url, self._hidden = config, url, frozenset(hidden)

    def asked(self, walk: Walk) -> tuple[str, dict[str, Any]]:
        """Return the URL of a page, and the parameters by which it is asked for."""
        config, params = self._config, {}
        if config.size is not None:
            params[config.size_parameter or "limit"] = config.size
        if config.type in ("page", "offset"):
            params[config.name] = self._first() if walk.token is None else walk.token
        elif config.type == "cursor" and walk.token is not None:
            params[config.name] = walk.token
        elif walk.token is not None:  # the server's own URL has all that it wants
            return walk.token, {}
        return self._url, params

    def onward(self, walk: Walk, answer: Answer, rows: int, text: bytes) -> Walk | None:
        """Return how to go on after a page; None where it was the last. Raises DataError for pages in a circle."""
        token = self._next(walk, answer, rows)
        if token in _END:
            return None
        content = hashlib.blake2b(text, digest_size=8).hexdigest()
        counted = self._config.type in ("page", "offset")
        if counted and rows and content == walk.content:
            raise DataError(
                f"pages {walk.pages} and {walk.pages + 1} are the same",
                hint=f"does the server know the parameter {self._config.name}? check pagination",
            )
        if not counted and token in (walk.token, walk.mark):
            raise DataError(f"page {walk.pages + 1} leads back to one before it", hint="check pagination")
        pages = walk.pages + 1
        return Walk(token, pages, token if pages & (pages - 1) == 0 else walk.mark, content if counted else "")

    def _first(self) -> int:
        if self._config.start is not None:
            return self._config.start
        return 1 if self._config.type == "page" else 0

    def _next(self, walk: Walk, answer: Answer, rows: int) -> Any:
        config = self._config
        if config.type == "none":
            return None
        if config.more_path and value_at(answer.body, config.more_path) in _END:
            return None
        if config.type == "cursor":
            return _plain(value_at(answer.body, config.path), config.path)
        if config.type in ("page", "offset"):
            return self._counted(walk, answer, rows)
        if config.type == "next_url":
            found = value_at(answer.body, config.path)
            if found not in _END and not isinstance(found, str):
                raise DataError(f"{config.path} is no URL", hint="check pagination.path")
        else:
            found = linked(answer.headers.get("link", ""))
        return self._safe(answer.url, found) if found not in _END else None

    def _counted(self, walk: Walk, answer: Answer, rows: int) -> int | None:
        config = self._config
        at = self._first() if walk.token is None else int(walk.token)
        if not rows or (config.stop == "short" and config.size is not None and rows < config.size):
            return None
        following = at + (1 if config.type == "page" else rows)
        if config.total_path:
            total = value_at(answer.body, config.total_path)
            if not isinstance(total, int) or isinstance(total, bool):
                raise DataError(f"{config.total_path} is no whole number", hint="check pagination.total_path")
            read = following - self._first() if config.type == "offset" else (walk.pages + 1) * (config.size or rows)
            if read >= total:
                return None
        return following

    def _safe(self, base: str, target: str) -> str:
        """Return the absolute URL of a page, without keys; raise DataError where it leads to somebody else."""
        url = urlsplit(urljoin(base, target))
        own = urlsplit(self._url)
        if (url.scheme, url.netloc) != (own.scheme, own.netloc):
            raise DataError(
                f"the next page is said to be at {url.scheme}://{url.netloc.rpartition('@')[2]}: nobody else is asked",
                hint="write the address that the server uses under url",
            )
        if not self._hidden:
            return urlunsplit(url)
        kept = [(n, v) for n, v in parse_qsl(url.query, keep_blank_values=True) if n not in self._hidden]
        return urlunsplit(url._replace(query=urlencode(kept)))


def linked(header: str) -> str | None:
    """Return the target of the relation `next` in a Link header."""
    return next((target for target, rest in _LINK.findall(header) if _NEXT.search(rest)), None)


def _plain(value: Any, path: str) -> Any:
    if isinstance(value, dict | list):
        return msgspec.json.encode(value).decode()
    if value is True:
        raise DataError(f"{path} is no cursor", hint="check pagination.path, or name it under more_path")
    return value


__all__ = ["Pager", "Walk", "linked"]
