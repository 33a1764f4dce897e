"""The driver's connection, which also sends rows from memory and reads them without making objects of Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pymysql.connections
import pymysql.cursors

from dataflare.sql.patience import bound

if TYPE_CHECKING:
    from collections.abc import Iterator

_PART_BYTES = 1 << 20


class Wire(pymysql.connections.Connection):  # type: ignore[misc]
    """One connection. Whatever file a server asks for, it gets what is to be sent, or nothing."""

    outgoing: memoryview | None = None
    decoders: Any
    _result: Any

    def connect(self, sock: Any = None) -> None:
        """Connect; a server that takes the connection and says nothing is waited for no longer than for one."""
        self._read_timeout = self._write_timeout = self.connect_timeout
        super().connect(sock)
        self._read_timeout = self._write_timeout = None
        bound(self._sock)

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Execute a statement; return its rows as values of Python."""
        self.query(sql)
        return list(self._result.rows or ())

    def send(self, sql: str, rows: memoryview) -> tuple[int, int]:
        """Execute a `load data local` with these bytes; return how many rows were taken, and of how many it warned."""
        self.outgoing = rows
        try:
            self.query(sql)
        finally:
            self.outgoing = None
        return self._result.affected_rows, self._result.warning_count

    def fields(self, sql: str) -> list[Any]:
        """Execute a query; return the descriptions of its columns."""
        self.query(sql)
        return list(self._result.fields)

    def streamed(self, command: int, body: bytes) -> Any:
        """Send a command whose answer does not end; return the socket by which it comes."""
        self._execute_command(command, body)
        return self._sock

    def texts(self, sql: str, size: int) -> Iterator[list[tuple[bytes | None, ...]]]:
        """Yield rows of bytes, so many at a time; whoever stops early makes the rest be thrown away."""
        decoders, self.decoders, self.use_unicode = self.decoders, {}, False
        try:
            cursor = self.cursor(pymysql.cursors.SSCursor)
            cursor.execute(sql)
        finally:
            self.decoders, self.use_unicode = decoders, True
        try:
            while rows := cursor.fetchmany(size):
                yield rows
        finally:
            cursor.close()

    def _read_query_result(self, unbuffered: bool = False) -> int:  # noqa: FBT001, FBT002 - as it is called
        self._result = None
        result = _Result(self)
        if unbuffered:
            result.init_unbuffered_query()
        else:
            result.read()
        self._result = result
        if result.server_status is not None:
            self.server_status = result.server_status
        return int(result.affected_rows)


class _Result(pymysql.connections.MySQLResult):  # type: ignore[misc]
    def _read_load_local_packet(self, first_packet: Any) -> None:
        """Send what is to be sent; the name of the file, which the server says, does not matter."""
        del first_packet
        wire, rows = self.connection, self.connection.outgoing
        for start in range(0, len(rows) if rows is not None else 0, _PART_BYTES):
            wire.write_packet(bytes(rows[start : start + _PART_BYTES]))
        wire.write_packet(b"")
        self._read_ok_packet(wire._read_packet())  # noqa: SLF001 - the driver has no other way


__all__ = ["Wire"]
