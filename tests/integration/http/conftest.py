"""A server with a few rows, for all tests of HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.http_server import LocalServer, Said, numbered
from tests.integration.http.reading import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with LocalServer(lambda asked: Said.of(numbered(asked, ROWS))) as found:
        yield found
