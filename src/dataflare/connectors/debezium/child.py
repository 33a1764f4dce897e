"""Embedded Debezium: a program that `process.py` starts; it imports nothing of DataFlare.

It speaks in frames: two lengths of four bytes, a head of JSON, and bytes. The first one that comes holds the settings,
among them passwords, which are in no argument and no file. Then come `{"credit": 1}`, for each frame that was taken,
and `{"ack": number}`, when all up to a frame is durable; at the end of its input the process ends at once, so that
nothing is left of it when its parent is killed. What goes out are frames of changes, and one that tells why it ended.

A change counts for Debezium, and for the database, as read only once it is durable: offsets that it stores are those
that were acknowledged, and it starts from those that it is given.
"""

from __future__ import annotations

import base64
import json
import os
import struct
import sys
import threading
import zlib
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

import jpype

LENGTHS = struct.Struct(">II")
WINDOW = 4
"""Frames that may be on their way; then Debezium waits, and its bounded queue with it."""
PENDING_MAX = 4096
OFFSETS, HISTORY = "offsets", "history"
LOGGING = """\
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %p %c{1}: %m%n%throwable{short.message}%n
"""


class Channel:
    """The two pipes to the parent."""

    def __init__(self) -> None:
        """Take the standard output; what Java prints goes to the standard error instead."""
        self._in, self._out = os.fdopen(0, "rb", buffering=0, closefd=False), os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        self._lock = threading.Lock()

    def receive(self) -> dict[str, Any] | None:
        """Return the next head; None: the parent is gone."""
        lengths = self._read(LENGTHS.size)
        if len(lengths) < LENGTHS.size:
            return None
        text = self._read(LENGTHS.unpack(lengths)[0])
        found: dict[str, Any] = json.loads(text)
        return found

    def _read(self, count: int) -> bytes:
        parts = []
        while count and (part := self._in.read(count)):
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def send(self, head: dict[str, Any], body: bytes = b"") -> None:
        """Send a frame; may wait for the parent."""
        text = json.dumps(head).encode()
        with self._lock:
            self._out.write(LENGTHS.pack(len(text), len(body)) + text + body)
            self._out.flush()


class Offsets:
    """Where Debezium is in the database's log, as Kafka Connect writes it: JSON of a partition and of an offset."""

    def __init__(self, name: str) -> None:
        """Belong to the engine of a name."""
        self._name, self._told = name, dict[str, str]()
        self._converter = _converter()

    def write(self, told: dict[str, str]) -> None:
        """Put them where Debezium looks for them."""
        self._told = dict(told)
        array = jpype.JArray(jpype.JByte)
        table = jpype.JClass("java.util.HashMap")()
        for key, value in told.items():
            table.put(array(key.encode()), array(value.encode()))
        file = jpype.JClass("java.io.ObjectOutputStream")(jpype.JClass("java.io.FileOutputStream")(OFFSETS))
        file.writeObject(table)
        file.close()

    def after(self, record: Any) -> dict[str, str]:
        """Return them as they are behind a record."""
        key = jpype.JClass("java.util.Arrays").asList(self._name, record.sourcePartition())
        self._told[self._text(key)] = self._text(record.sourceOffset())
        return dict(self._told)

    def _text(self, value: Any) -> str:
        return bytes(self._converter.fromConnectData("", None, value)).decode()


class Rows:
    """Changes by table and shape, until they are sent."""

    def __init__(self, tables: list[str]) -> None:
        """Know the topics that are wanted."""
        self._topics, self._converter = set(tables), _converter()
        self._identity = jpype.JClass("java.lang.System").identityHashCode
        self._shapes: dict[str, tuple[int, list[dict[str, Any]]]] = {}
        self._number = 0
        self.sections: dict[int, tuple[str, list[dict[str, Any]], list[bytes]]] = {}

    def add(self, topic: str, record: Any) -> None:
        """Keep a change of a table that is wanted."""
        value, schema = record.value(), record.valueSchema()
        if value is None or schema is None or schema.field("op") is None or not self._wanted(topic):
            return
        identity = int(self._identity(schema))
        if topic not in self._shapes or self._shapes[topic][0] != identity:
            self._shapes[topic] = identity, _described(schema.field("after").schema())
            self._number += 1
        number, shape = self._section(topic)
        line = bytes(self._converter.fromConnectData(topic, schema, value))
        self.sections.setdefault(number, (topic, shape, []))[2].append(line)

    def taken(self) -> tuple[list[dict[str, Any]], bytes]:
        """Return what is there, with its description, and forget it."""
        found, self.sections = self.sections, {}
        heads = [{"topic": t, "shape": s, "bytes": sum(map(len, lines)) + len(lines)} for t, s, lines in found.values()]
        return heads, b"".join(line + b"\n" for _, _, lines in found.values() for line in lines)

    def _section(self, topic: str) -> tuple[int, list[dict[str, Any]]]:
        identity, shape = self._shapes[topic]
        return hash((topic, identity)), shape

    def _wanted(self, topic: str) -> bool:
        return topic in self._topics or any(topic.endswith(f".{t}") for t in self._topics)


class Engine:
    """Debezium, and what was sent of it and is not durable yet."""

    def __init__(self, told: dict[str, Any], channel: Channel) -> None:
        """Write offsets and history where it looks for them."""
        self._channel, self._prefix = channel, told["properties"]["topic.prefix"]
        self._offsets, self._rows = Offsets(told["properties"]["name"]), Rows(told["tables"])
        self._has_transactions = told["properties"].get("provide.transaction.metadata") == "true"
        if told["offsets"]:
            self._offsets.write(told["offsets"])
        if told["history"]:
            Path(HISTORY).write_bytes(zlib.decompress(base64.b64decode(told["history"])))
        self._history, self._history_size = str(told["history"]), _size(HISTORY)
        self._credit, self._acknowledged, self._number = threading.Semaphore(WINDOW), 0, 0
        self._pending: deque[tuple[int, Any]] = deque()
        self._is_open = False
        self.failure = ""

    def listen(self) -> None:
        """Hear the parent; end with it."""
        while (said := self._channel.receive()) is not None:
            if "credit" in said:
                self._credit.release()
            self._acknowledged = max(self._acknowledged, said.get("ack", 0))
        os._exit(0)  # the Java machine would wait for its threads

    def handle(self, records: Any, committer: Any) -> None:
        """Send a batch; tell Debezium what has become durable meanwhile."""
        self._commit(committer)
        safe = None
        for event in records:
            record = event.value()
            if self._passes(record):
                safe = event
        sections, body = self._rows.taken()
        if safe is None and not sections:
            return
        self._number += 1
        head: dict[str, Any] = {"frame": self._number, "sections": sections}
        if safe is not None:
            head |= {"offsets": self._offsets.after(safe.value()), "history": self._schemas()}
            self._pending.append((self._number, safe))
            if len(self._pending) > PENDING_MAX:  # any later one says more
                del self._pending[len(self._pending) // 2]
        self._credit.acquire()
        self._channel.send(head, body)

    def ended(self, success: bool, message: Any, error: Any) -> None:  # noqa: FBT001 - Java calls it
        """Note why it ended."""
        if not success:
            causes, cause = [str(message)], error
            while cause is not None and len(causes) < 6:  # noqa: PLR2004 - enough to know
                causes.append(str(cause.toString()))
                cause = cause.getCause()
            self.failure = "; ".join(dict.fromkeys(causes))

    def _passes(self, record: Any) -> bool:
        """Take a record; tell whether reading can go on behind it: between transactions it can."""
        topic = str(record.topic())
        if topic == f"{self._prefix}.transaction":
            self._is_open = str(record.value().getString("status")) != "END"
        else:
            self._rows.add(topic, record)
        return not (self._has_transactions and self._is_open)

    def _commit(self, committer: Any) -> None:
        durable = None
        while self._pending and self._pending[0][0] <= self._acknowledged:
            durable = self._pending.popleft()[1]
        if durable is not None:
            committer.markProcessed(durable)
            committer.markBatchFinished()

    def _schemas(self) -> str:
        """Return the history of schemas, packed: the log of some databases cannot be read without it."""
        if (size := _size(HISTORY)) != self._history_size:
            self._history_size = size
            self._history = base64.b64encode(zlib.compress(Path(HISTORY).read_bytes())).decode()
        return self._history


def main() -> None:
    """Take the settings, run until the end."""
    channel = Channel()
    told = channel.receive()
    if told is None:
        return
    Path("log4j2.properties").write_text(LOGGING)
    options = [*told["jvm"], "-Dlog4j2.configurationFile=log4j2.properties", "-Duser.timezone=UTC"]
    jpype.startJVM(*options, classpath=told["classpath"], convertStrings=False)
    engine = Engine(told, channel)
    threading.Thread(target=engine.listen, daemon=True).start()
    _built(told["properties"], engine).run()
    with suppress(OSError):
        channel.send({"failed": engine.failure or "it stopped by itself"})
    sys.stderr.flush()
    os._exit(1)


def _built(properties: dict[str, str], engine: Engine) -> Any:
    """Return Debezium's engine, which gives its records to ours."""

    @jpype.JImplements("io.debezium.engine.DebeziumEngine$ChangeConsumer")
    class Consumer:
        @jpype.JOverride  # type: ignore[untyped-decorator]
        def handleBatch(self, records: Any, committer: Any) -> None:  # noqa: N802 - Debezium's name
            engine.handle(records, committer)

        @jpype.JOverride  # type: ignore[untyped-decorator]
        def supportsTombstoneEvents(self) -> bool:  # noqa: N802 - Debezium's name
            return False

    @jpype.JImplements("io.debezium.engine.DebeziumEngine$CompletionCallback")
    class Callback:
        @jpype.JOverride  # type: ignore[untyped-decorator]
        def handle(self, success: bool, message: Any, error: Any) -> None:  # noqa: FBT001 - Java calls it
            engine.ended(success, message, error)

    table = jpype.JClass("java.util.Properties")()
    for key, value in properties.items():
        table.setProperty(key, value)
    builder = jpype.JClass("io.debezium.engine.DebeziumEngine").create(jpype.JClass("io.debezium.embedded.Connect"))
    return builder.using(table).notifying(Consumer()).using(Callback()).build()


def _converter() -> Any:
    """Return what makes JSON of Connect's values; a null stays one where the column has a default."""
    made = jpype.JClass("org.apache.kafka.connect.json.JsonConverter")()
    settings = jpype.JClass("java.util.HashMap")()
    settings.put("schemas.enable", "false")
    settings.put("replace.null.with.default", "false")
    made.configure(settings, False)  # noqa: FBT003 - Java has no names for it
    return made


def _described(schema: Any) -> list[dict[str, Any]]:
    """Return the columns of a table: name, type of Connect, and what it means."""
    return [{"name": str(f.name()), **_kind(f.schema())} for f in schema.fields()]


def _kind(schema: Any) -> dict[str, Any]:
    kind, name = str(schema.type().name()), schema.name()
    found: dict[str, Any] = {"type": kind, "meaning": "" if name is None else str(name)}
    return {**found, "items": _kind(schema.valueSchema())} if kind == "ARRAY" else found


def _size(file: str) -> int:
    path = Path(file)
    return path.stat().st_size if path.exists() else 0


if __name__ == "__main__":
    main()
