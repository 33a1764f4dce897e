"""What others write into the log with `pg_logical_emit_message`, as rows of an output of its own.

A message of a transaction comes in the order of the commits, as changes do; one that belongs to none comes where it
stands in the log, also where the transaction around it is rolled back. The place of the stream keeps the last one that
was passed on as a point: the commit, and the place of the message; of one without a commit its place, and nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from dataflare.batch import Batch
from dataflare.component import Stream
from dataflare.connectors.postgres.changes.place import MESSAGES, Place
from dataflare.connectors.postgres.replication.messages import Point, lsn_text
from dataflare.errors import WorkflowError
from dataflare.schema import Column, Schema
from dataflare.sql.patterns import like

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dataflare.connectors.postgres.replication.messages import Message
    from dataflare.connectors.postgres.settings import PostgresSourceConfig

OURS = "dataflare"
"""The prefix of what the source writes itself, so that an end of the log is reached."""
SCHEMA = Schema(
    (
        Column("prefix", "string", nullable=False),
        Column("content", "binary", nullable=False),
        Column("lsn", "string", nullable=False),
        Column("transactional", "bool", nullable=False),
        Column("committed_at", "timestamp"),
    )
)
HELD_MAX, HELD_BYTES_MAX = 10_000, 4 << 20
"""So many messages, and about so many bytes of them, are one batch at most."""


def message_stream(config: PostgresSourceConfig, tables: Mapping[str, object]) -> dict[str, Stream]:
    """Return the output of messages, where there is to be one; raise WorkflowError where its name is taken."""
    if not config.cdc.messages:
        return {}
    if "" in tables or MESSAGES in tables:
        raise WorkflowError(
            f"cdc.messages adds the output {MESSAGES}, beside those of tables that have names of their own",
            hint="name the table in tables: [...]" if "" in tables else f"call the table other than {MESSAGES}",
        )
    return {MESSAGES: Stream(SCHEMA)}


class LogicalMessages:
    """Gathers messages until something else is passed on; the place is theirs as soon as they are."""

    def __init__(self, prefixes: Sequence[str], place: Place) -> None:
        """`prefixes` may have `*`; none: messages are left out."""
        self._prefixes, self._place = prefixes, place
        self._held: list[Message] = []
        self._bytes = 0

    def take(self, message: Message) -> Iterator[Batch]:
        """Hold a message that is wanted and was not passed on before; yield what is held once it is much."""
        wanted = message.prefix != OURS and any(like(message.prefix, p) for p in self._prefixes)
        if wanted and message.point > max(self._place.after, self._place.ahead.get(MESSAGES, Point())):
            self._held.append(message)
            self._bytes += len(message.content)
        if len(self._held) >= HELD_MAX or self._bytes >= HELD_BYTES_MAX:
            yield from self.passed()

    def passed(self) -> Iterator[Batch]:
        """Yield what is held; it must be taken before the place goes on."""
        held, self._held, self._bytes = self._held, [], 0
        if not held:
            return
        self._place.ahead[MESSAGES] = held[-1].point
        columns = (
            [m.prefix for m in held],
            [m.content for m in held],
            [lsn_text(m.lsn) for m in held],
            [m.transactional for m in held],
            [m.commit_time for m in held],
        )
        schema = SCHEMA.to_arrow()
        rows = pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
        yield Batch(rows, MESSAGES, self._place.position())


__all__ = ["OURS", "LogicalMessages", "message_stream"]
