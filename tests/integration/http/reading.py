"""Makes HTTP sources for a server of a test, and reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.component import Split
from dataflare.connectors.http.settings import HttpSourceConfig
from dataflare.connectors.http.source import HttpSource
from dataflare.testing.source_suite import plain, rows_of
from dataflare.testing.stage import batches_of, settled, staged

if TYPE_CHECKING:
    from tests.http_server import LocalServer

    from dataflare.monitoring.events import Event

ROWS = [{"id": n, "name": f"n{n}"} for n in range(8)]
COLUMNS = {"id": "int64", "name": "string"}
QUICK = {"attempts": 4, "initial": "1ms", "max": "2ms"}
PAGES = {"type": "page"}


def make(server: LocalServer, events: list[Event] | None = None, **settings: Any) -> HttpSource:
    mode, on_error = settings.pop("mode", "full"), settings.pop("on_error", "fail")
    given = {"url": f"{server.url}/rows", "columns": COLUMNS, "retry": QUICK, **settings}
    return staged(HttpSource(HttpSourceConfig.model_validate(given)), events=events, mode=mode, on_error=on_error)


def read(source: HttpSource, since: Any = None) -> tuple[list[dict[str, Any]], Any]:
    """Return all rows after a position, and the position after them."""
    batches = list(batches_of(source, Split("all"), since))
    settled(source.close())
    return rows_of(batches)[""], plain(batches[-1].position) if batches else since
