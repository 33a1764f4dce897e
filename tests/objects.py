"""The S3 server of the tests: where it is, and a bucket of its own for each test."""

from __future__ import annotations

import os
import secrets
import urllib.request
from typing import Any

import pytest

VARIABLE = "DATAFLARE_TEST_S3"
KEY, SECRET = "AKIATESTOFDATAFLARE", "the-secret-of-the-tests"


class Bucket:
    """A new bucket, and a way into it beside the connectors under test."""

    def __init__(self) -> None:
        url = os.environ.get(VARIABLE)
        if not url:
            pytest.skip(f"{VARIABLE} is not set: python scripts/services.py start, then env")
        self.url, self.name = url, f"t-{secrets.token_hex(6)}"
        self._ask("PUT", "")
        from obstore.store import S3Store

        key = {"access_key_id": KEY, "secret_access_key": SECRET, "region": "us-east-1"}
        self.store = S3Store(self.name, endpoint=url, client_options={"allow_http": True}, **key)

    @property
    def settings(self) -> dict[str, Any]:
        """Return the settings `s3` of a connector."""
        return {"endpoint": self.url, "region": "us-east-1", "access_key_id": KEY, "secret_access_key": SECRET}

    def path(self, key: str) -> str:
        """Return the URL of a key or a glob."""
        return f"s3://{self.name}/{key}"

    def put(self, key: str, data: bytes | str) -> None:
        self.store.put(key, data.encode() if isinstance(data, str) else data)

    def get(self, key: str) -> bytes:
        return self.store.get(key).bytes().to_bytes()

    def delete(self, key: str) -> None:
        self.store.delete(key)

    def delete_below(self, folder: str) -> None:
        self.store.delete([key for key in self.all_keys() if key.startswith(folder)])

    def all_keys(self) -> list[str]:
        """Return all keys, hidden ones too."""
        return [meta["path"] for page in self.store.list() for meta in page]

    def uploads(self) -> int:
        """Return how many multipart uploads are open."""
        return self._ask("GET", "?uploads").count("<UploadId>")

    def _ask(self, method: str, query: str) -> str:
        request = urllib.request.Request(f"{self.url}/{self.name}{query}", method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read().decode()


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()
