"""A slot and a publication of its own for each test, and what comes of them."""

from __future__ import annotations

import secrets
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dataflare.connectors.postgres.relations import relations
from dataflare.connectors.postgres.replication.connection import ReplicationConnection
from dataflare.connectors.postgres.replication.decoder import Decoder
from dataflare.connectors.postgres.replication.frames import Frames
from dataflare.connectors.postgres.replication.messages import Decoded, Message, TablePlan
from dataflare.connectors.postgres.session import PostgresSession
from dataflare.connectors.postgres.settings import PostgresConfig, PostgresSourceConfig
from dataflare.errors import DataFlareError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dataflare.connectors.postgres.replication.messages import Event, Relation
    from tests.postgres import Place


class Stream:
    """What is written to tables of a schema, as it comes by logical replication."""

    def __init__(self, spot: Place, options: str = "") -> None:
        self.spot, self.name = spot, f"{spot.schema}_{secrets.token_hex(4)}"
        url = f"{spot.url}{'&' if '?' in spot.url else '?'}options={quote(options)}" if options else spot.url
        self.config = PostgresConfig(url=url)
        self.connection = ReplicationConnection(self.config, "dataflare test")
        spot.run(f"create publication {self.name} for tables in schema {{}}")
        self.slot = self.connection.create_slot(self.name, snapshot=False)
        self.slot_name, self.begun = self.name, False

    def plan(self, relation: Relation, **changes: Any) -> TablePlan:
        """Plan a table as the batch source reads it; `changes` are other fields of the plan."""
        types = changes.pop("types", {})
        config = PostgresSourceConfig(url=self.spot.url, table=f'"{relation.schema}"."{relation.name}"', types=types)
        session = PostgresSession(config, "dataflare test")
        try:
            (found,) = relations(session, config).values()
        finally:
            session.close()
        return TablePlan(
            **{"stream": relation.name, "key": found.unique, "schema": found.schema, "kinds": found.kinds, **changes}
        )

    def start(self, plan: Callable[[Relation], TablePlan | None] | None = None, **options: Any) -> None:
        """Begin to read; `options` are those of the decoder, and `streaming`."""
        streaming = options.pop("streaming", "off")
        self.decoder = Decoder(plan or self.plan, **options)
        self.connection.start(self.slot_name, [self.name], self.slot.lsn, streaming=streaming)
        self.begun = True

    def script(self, text: str) -> None:
        """Execute statements with semicolons between."""
        for statement in text.split(";"):
            self.spot.run(statement)

    def received(self, bytes_max: int = 1 << 20) -> Iterator[Frames]:
        """Yield what comes up to now, as it comes."""
        if not self.begun:
            self.start()
        token = secrets.token_hex(8)
        self.spot.run(f"select pg_logical_emit_message(true, 'end', '{token}')::text")
        found = None
        while found is None or token.encode() not in found.data:
            found = self.connection.receive(10, bytes_max)
            yield found

    def events(self) -> list[Event]:
        """Return what comes up to now, decoded at once."""
        messages = [f.data[a:b] for f in self.received() for a, b in zip(f.starts, f.ends, strict=True)]
        found = list(self.decoder.feed(Frames.of(messages)))
        return [e for e in found if not isinstance(e, Message) or e.prefix != "end"]

    def decoded(self) -> list[Decoded]:
        """Return the batches that come up to now."""
        return [e for e in self.events() if isinstance(e, Decoded)]

    def rows(self) -> list[dict[str, Any]]:
        """Return the changes up to now, without what differs from run to run."""
        found = [row for d in self.decoded() for row in d.rows.to_pylist()]
        return [{k: v for k, v in row.items() if k not in ("_tx", "_commit_ts")} for row in found]

    def again(self) -> None:
        """Connect anew, as after a crash."""
        self.connection.close()
        self.connection, self.begun = ReplicationConnection(self.config, "dataflare test"), False

    def close(self) -> None:
        self.connection.close()
        self.spot.run(
            "select pg_terminate_backend(active_pid, 10000) from pg_replication_slots "
            f"where slot_name = '{self.name}' and active"
        )
        with suppress(DataFlareError):
            connection = ReplicationConnection(self.config, "dataflare test")
            connection.drop_slot(self.name)
            connection.close()
        self.spot.run(f"drop publication if exists {self.name}")


@contextmanager
def stream(spot: Place, options: str = "") -> Iterator[Stream]:
    """Give a stream, removed afterwards; `options` are for the server process that sends it."""
    found = Stream(spot, options)
    try:
        yield found
    finally:
        found.close()
