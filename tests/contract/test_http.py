"""The HTTP connectors keep the contracts of sources and destinations, against a real server on loopback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.http_server import LocalServer, Said, numbered

from dataflare.connectors.http.settings import HttpSourceConfig
from dataflare.connectors.http.source import HttpSource
from dataflare.testing.source_suite import SourceSuite
from dataflare.testing.stage import staged

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = [{"id": n if n % 7 else "none", "name": f"n{n}"} for n in range(1, 23)]


class TestHttpSource(SourceSuite):
    @pytest.fixture(autouse=True)
    def _server(self) -> Iterator[None]:
        with LocalServer(lambda asked: Said.of(numbered(asked, ROWS, 5))) as self.server:
            yield

    def new(self, **changes: Any) -> HttpSource:
        config = HttpSourceConfig(
            url=self.server.url, columns={"id": "int64", "name": "string"}, pagination={"type": "page"}, stable=True
        )
        return staged(HttpSource(config), **{"on_error": "dead_letter", **changes})
