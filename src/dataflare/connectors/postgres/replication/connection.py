"""A connection that receives the log of a PostgreSQL server by a replication slot, over libpq."""

from __future__ import annotations

import select
import struct
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from dataflare.clock import SystemClock, wait_blocking
from dataflare.connectors.postgres.replication.messages import EPOCH_MICROSECONDS, lsn_number, lsn_text
from dataflare.connectors.postgres.replication.refusals import refusal
from dataflare.errors import ExternalError, UnavailableError
from dataflare.sql.postgres_types import POSTGRES
from dataflare.sql.quoting import literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dataflare.clock import Clock
    from dataflare.connectors.postgres.replication.frames import Frames
    from dataflare.connectors.postgres.settings import PostgresConfig

SILENCE_SECONDS_MAX = 60.0
"""How long the server may say nothing: at half of it, it is asked whether it is there."""
RECEIVE_BYTES_MAX, MESSAGES_MAX = 8 << 20, 65_536
_SETTINGS = {
    # As the other connections show values, so that a row of the log equals one that was read.
    "datestyle": "ISO",
    "timezone": "UTC",
    "extra_float_digits": "1",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
}
_DATA, _KEEPALIVE = b"wk"
_PAUSE_SECONDS, _PAUSES_MAX, _PAUSE_BYTES = 0.002, 16, 8 << 10
"""While messages keep coming fast, let some gather: to take them up one by one costs many times the CPU.

Where fewer bytes come in a pause, nobody waits for more of them.
"""
_HEAD_BYTES = 25
_STREAMED_FROM = (
    "select set_config(name, '4MB', false) from pg_settings where name = 'logical_decoding_work_mem' "
    "and setting::int8 > 4096 and source in ('default', 'configuration file')"
)
"""What the server gathers of open transactions it sends at once: of 64 MB, its rule, both sides hold several copies."""
_FAILOVER_VERSION = 170_000


@dataclass(frozen=True, slots=True)
class CreatedSlot:
    """A new slot: where its stream begins, and the snapshot of just that moment ("": none was asked for).

    The snapshot can be taken over by other transactions (`set transaction snapshot`) until the next call on the
    connection that made it.
    """

    lsn: int
    snapshot_name: str


class ReplicationConnection:
    """One connection, for one thread at a time; its methods block. Errors are ours; no password is in any."""

    def __init__(
        self,
        config: PostgresConfig,
        application: str,
        *,
        clock: Clock | None = None,
        silence_seconds: float = SILENCE_SECONDS_MAX,
    ) -> None:
        """Connect; raise UnavailableError where the driver is missing or the server refuses, ExternalError as well.

        A server that says nothing for `silence_seconds` is taken for lost.
        """
        try:
            import psycopg

            from dataflare.connectors.postgres.replication.frames import PADDING, Frames
        except ImportError as error:
            raise UnavailableError(
                "change capture needs the PostgreSQL drivers and numpy", hint="pip install 'dataflare[cdc]'"
            ) from error
        self._psycopg: Any = psycopg
        self._frames, self._padding = Frames, PADDING
        self._config, self._where, self._clock = config, config.shown(), clock or SystemClock()
        self._silence = silence_seconds
        self._flushed = self._written = 0
        self._heard, self._asked = self._clock.monotonic(), False
        with self._translated():
            address = config.address(application)
            told = psycopg.conninfo.conninfo_to_dict(address).get("options") or ""
            settings = {**_SETTINGS, "lock_timeout": str(round(config.lock_timeout * 1000))}
            options = " ".join([str(told), *(f"-c {k}={v}" for k, v in settings.items())]).strip()
            self._connection: Any = psycopg.connect(address, autocommit=True, replication="database", options=options)
        self._pq: Any = self._connection.pgconn
        self._pq.nonblocking = 1

    def identify(self) -> tuple[str, int, int]:
        """Return the system's id, its timeline, and how far its log is flushed."""
        ((system, timeline, lsn, _),) = self._ask("IDENTIFY_SYSTEM")
        return system, int(timeline), lsn_number(lsn)

    def create_slot(self, name: str, *, snapshot: bool, temporary: bool = False, failover: bool = False) -> CreatedSlot:
        """Make a slot; wait for the transactions that run now, as long as `lock_timeout` says (ExternalError then)."""
        if failover and self._pq.server_version < _FAILOVER_VERSION:
            raise UnavailableError(f"{self._where}: slots that fail over need PostgreSQL 17", hint="leave failover out")
        options = ["SNAPSHOT 'export'" if snapshot else "SNAPSHOT 'nothing'", *(["FAILOVER true"] if failover else [])]
        kind = "TEMPORARY LOGICAL" if temporary else "LOGICAL"
        wait = self._config.lock_timeout + self._silence if self._config.lock_timeout else None
        sql = f"CREATE_REPLICATION_SLOT {POSTGRES.quote(name)} {kind} pgoutput ({', '.join(options)})"
        ((_, lsn, found, _),) = self._ask(sql, wait)
        return CreatedSlot(lsn_number(lsn), found or "")

    def drop_slot(self, name: str) -> None:
        """Remove a slot; raise SlotLostError where there is none, ExternalError while somebody reads it."""
        self._ask(f"DROP_REPLICATION_SLOT {POSTGRES.quote(name)}")

    def start(
        self,
        slot: str,
        publications: Sequence[str],
        after_lsn: int,
        *,
        messages: bool = True,
        streaming: Literal["off", "on"] = "off",
    ) -> None:
        """Begin to receive the transactions that are committed behind an LSN.

        What was acknowledged to the slot does not come again, wherever this begins. `streaming` lets the server send
        large transactions before they commit. Only `receive`, `acknowledge` and `close` may follow.
        """
        self._look_for(publications)
        if streaming == "on":
            self._ask(_STREAMED_FROM)
        names = ",".join(POSTGRES.quote(p) for p in publications)
        options = {"proto_version": "1" if streaming == "off" else "2", "publication_names": names}
        options |= {"messages": "true"} if messages else {}
        options |= {"streaming": "on"} if streaming == "on" else {}
        told = ", ".join(f"{k} {literal(v)}" for k, v in options.items())
        self._ask(f"START_REPLICATION SLOT {POSTGRES.quote(slot)} LOGICAL {lsn_text(after_lsn)} ({told})")
        self._flushed = self._written = 0

    def receive(self, timeout_seconds: float, bytes_max: int = RECEIVE_BYTES_MAX) -> Frames:
        """Return the messages that are there, about `bytes_max` bytes at most; wait for the first one so long.

        There are `MESSAGES_MAX` at most. What the server asks is answered with what was acknowledged last. Raises
        ExternalError where the connection breaks, or the server is silent; SlotLostError.
        """
        data, ends = bytearray(), list[int]()  # each message is copied at once: libpq takes its memory back then
        seen, pauses, wal_end, wanted = 0, 0, 0, False
        deadline = self._clock.monotonic() + timeout_seconds
        with self._translated():
            self._pq.flush()
            take = self._pq.get_copy_data
            while len(data) < bytes_max and len(ends) < MESSAGES_MAX:
                count, message = take(1)
                if count > 0 and message[0] == _DATA:
                    data += message
                    ends.append(len(data))
                elif count > 0 and message[0] == _KEEPALIVE:
                    wal_end, _, asks = struct.unpack_from(">QqB", message, 1)
                    wanted |= bool(asks)
                    if asks:
                        self._answer()
                elif count < 0:
                    raise self._ended()
                elif self._more(0.0 if ends or wal_end else deadline - self._clock.monotonic()):
                    continue
                elif pauses == _PAUSES_MAX or (pauses and len(data) - seen < _PAUSE_BYTES):
                    break
                else:
                    seen, pauses = len(data), pauses + 1
                    wait_blocking(_PAUSE_SECONDS)
        data += self._padding
        return self._frames.joined(bytes(data), ends, _HEAD_BYTES, wal_end=wal_end, reply_wanted=wanted)

    def acknowledge(self, flushed_lsn: int, written_lsn: int = 0) -> None:
        """Tell the server what is durable here, and what has arrived: it may forget the former, and never gets less."""
        self._flushed = max(self._flushed, flushed_lsn)
        self._written = max(self._written, written_lsn, self._flushed)
        with self._translated():
            self._answer()

    def close(self) -> None:
        """Disconnect; a temporary slot is removed by that."""
        self._connection.close()

    def _more(self, wait_seconds: float) -> bool:
        """Take in what has arrived; wait for it. Return whether there may be a message."""
        ready, _, _ = select.select([self._pq.socket], [], [], max(0.0, min(wait_seconds, self._silence / 4)))
        now = self._clock.monotonic()
        if ready:
            self._pq.consume_input()
            self._heard, self._asked = now, False
            return True
        if now - self._heard > self._silence / 2 and not self._asked:
            self._answer(ask=True)
            self._heard, self._asked = now, True
        elif self._asked and now - self._heard > self._silence / 2:
            raise self._silent()
        return wait_seconds > self._silence / 4

    def _answer(self, *, ask: bool = False) -> None:
        now = self._clock.now() - EPOCH_MICROSECONDS
        self._pq.put_copy_data(struct.pack(">cQQQqB", b"r", self._written, self._flushed, self._flushed, now, ask))
        self._pq.flush()

    def _look_for(self, publications: Sequence[str]) -> None:
        """Refuse publications that are not there: the server would only when there is a change."""
        wanted = ", ".join(literal(p) for p in publications)
        found = {name for (name,) in self._ask(f"select pubname from pg_publication where pubname in ({wanted})")}  # noqa: S608
        for name in publications:
            if name not in found:
                error = self._psycopg.OperationalError(f'publication "{name}" does not exist')
                raise refusal(error, self._where, self._config.scrubbed)

    def _ask(self, sql: str, wait_seconds: float | None = 0.0) -> list[tuple[Any, ...]]:
        """Execute one command by the simple protocol; return its rows as texts."""
        pq, status = self._pq, self._psycopg.pq.ExecStatus
        end = None if wait_seconds is None else self._clock.monotonic() + (wait_seconds or self._silence)
        rows: list[tuple[Any, ...]] = []
        failed: Exception | None = None
        with self._translated():
            pq.send_query(sql.encode())
            while True:
                self._wait_for_result(end)
                if (result := pq.get_result()) is None:
                    if failed is not None:
                        raise failed
                    return rows
                if result.status == status.FATAL_ERROR:
                    failed = failed or self._failed(result)
                if result.status == status.COPY_BOTH:
                    return rows
                rows += [
                    tuple(None if (v := result.get_value(r, c)) is None else v.decode() for c in range(result.nfields))
                    for r in range(result.ntuples)
                ]

    def _wait_for_result(self, end: float | None) -> None:
        while (sending := self._pq.flush()) or self._pq.is_busy():
            left = self._silence if end is None else end - self._clock.monotonic()
            if left <= 0:
                raise self._silent()
            socket = [self._pq.socket]
            ready, _, _ = select.select(socket, socket if sending else [], [], left)
            if ready:
                self._pq.consume_input()
        self._heard = self._clock.monotonic()

    def _failed(self, result: Any) -> Exception:
        error: Exception = self._psycopg.OperationalError(result.error_message.decode(errors="replace"))
        state = result.error_field(self._psycopg.pq.DiagnosticField.SQLSTATE)
        error.sqlstate = state.decode() if state else None  # type: ignore[attr-defined]
        return error

    def _ended(self) -> Exception:
        """Return why there is no more to receive."""
        result = self._pq.get_result()
        if result is not None and result.status == self._psycopg.pq.ExecStatus.FATAL_ERROR:
            return self._failed(result)
        return ExternalError(f"{self._where}: the server ended the stream", hint="was it stopped? see whether it runs")

    def _silent(self) -> ExternalError:
        return ExternalError(
            f"{self._where}: the server has said nothing for {self._silence:.0f} seconds",
            hint="see whether the server runs and the network between carries",
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Let errors of the driver leave as ours."""
        try:
            yield
        except (self._psycopg.Error, OSError) as error:
            raise refusal(error, self._where, self._config.scrubbed) from None


__all__ = ["MESSAGES_MAX", "RECEIVE_BYTES_MAX", "SILENCE_SECONDS_MAX", "CreatedSlot", "ReplicationConnection"]
