"""Ends uploads by parts that a crash left open: the store keeps and bills them, and obstore cannot list them.

Three kinds of requests, signed here (AWS Signature Version 4), with the key of the settings or of the environment;
without one of these, or where the store answers otherwise, uploads stay for the rule of the bucket that ends them.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import os
import re
import ssl
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from html import unescape
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dataflare.component import StageContext
    from dataflare.objects.settings import ObjectStoreConfig

_UPLOAD = re.compile(r"<Upload>.*?</Upload>", re.DOTALL)
_NOTHING = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class Key:
    """What requests are signed with; nobody prints it."""

    identity: str
    secret: str
    token: str

    @classmethod
    def of(cls, config: ObjectStoreConfig) -> Key | None:
        """Return the key of the settings, else of the environment, else None."""
        if config.anonymous:
            return None
        if config.access_key_id:
            return cls(config.access_key_id, config.secret_access_key, config.session_token)
        told = [os.environ.get(f"AWS_{n}", "") for n in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN")]
        return cls(*told) if told[0] else None

    def __repr__(self) -> str:
        """Hide it."""
        return "Key(***)"


class Uploads:
    """The open uploads of a bucket."""

    def __init__(self, context: StageContext, bucket: str, config: ObjectStoreConfig) -> None:
        """Ask nothing yet."""
        self._context, self._config = context, config
        environ = os.environ
        self._region = config.region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        endpoint = config.endpoint or environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")
        url = urlsplit(endpoint or f"https://s3.{self._region}.amazonaws.com")
        in_host = config.virtual_host or not endpoint
        self._host = f"{bucket}.{url.netloc}" if in_host and not endpoint else url.netloc  # else it stands there
        self._root = url.path.rstrip("/") + ("" if in_host else f"/{bucket}")
        self._secure = url.scheme != "http"

    def end(self, prefix: str, is_left: Callable[[str], bool]) -> int:
        """End the uploads of keys below a prefix that `is_left` names, at most a thousand; return how many."""
        key = Key.of(self._config)
        if key is None:
            return 0
        ended = 0
        try:
            status, text = self._ask(key, "GET", "", {"uploads": "", "prefix": prefix})
            for upload in _UPLOAD.findall(text) if status == HTTPStatus.OK else ():
                name, number = (unescape(_between(upload, tag)) for tag in ("Key", "UploadId"))
                if name.startswith(prefix) and is_left(name[len(prefix) :]):
                    status, _ = self._ask(key, "DELETE", name, {"uploadId": number})
                    ended += status == HTTPStatus.NO_CONTENT
        except (OSError, http.client.HTTPException):
            return ended
        return ended

    def _ask(self, key: Key, method: str, name: str, query: Mapping[str, str]) -> tuple[int, str]:
        path = quote(f"{self._root}/{name}" if name else self._root or "/", safe="/-_.~")
        written = "&".join(f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in sorted(query.items()))
        headers = self._signed(key, method, path, written)
        with closing(self._connection()) as connection:
            connection.request(method, f"{path}?{written}", headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")

    def _connection(self) -> http.client.HTTPConnection:
        if not self._secure:
            return http.client.HTTPConnection(self._host, timeout=self._config.timeout)
        trusted = ssl.create_default_context()
        if self._config.ca_file:
            trusted.load_verify_locations(self._context.path(self._config.ca_file))
        return http.client.HTTPSConnection(self._host, timeout=self._config.timeout, context=trusted)

    def _signed(self, key: Key, method: str, path: str, query: str) -> dict[str, str]:
        moment = datetime.fromtimestamp(self._context.runtime.clock.now() / 1e6, UTC).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{moment[:8]}/{self._region}/s3/aws4_request"
        headers = {"host": self._host, "x-amz-content-sha256": _NOTHING, "x-amz-date": moment}
        if key.token:
            headers["x-amz-security-token"] = key.token
        told = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
        names = ";".join(sorted(headers))
        request = hashlib.sha256(f"{method}\n{path}\n{query}\n{told}\n{names}\n{_NOTHING}".encode()).hexdigest()
        secret = f"AWS4{key.secret}".encode()
        for part in scope.split("/"):
            secret = hmac.digest(secret, part.encode(), "sha256")
        text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{request}"
        signature = hmac.digest(secret, text.encode(), "sha256").hex()
        credential = f"Credential={key.identity}/{scope}, SignedHeaders={names}, Signature={signature}"
        return {**headers, "authorization": f"AWS4-HMAC-SHA256 {credential}"}


def _between(text: str, tag: str) -> str:
    return text.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]


__all__ = ["Key", "Uploads"]
