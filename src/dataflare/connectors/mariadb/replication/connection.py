"""A connection on which MariaDB sends its log of changes, as it does to a replica."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from dataflare.connectors.mariadb.replication.refusals import broken, refusal
from dataflare.connectors.mariadb.session import MariaSession

if TYPE_CHECKING:
    from dataflare.connectors.mariadb.replication.places import Gtids
    from dataflare.connectors.mariadb.settings import MariaConfig

_DUMP = 0x12
_PART = 1 << 20
_WHOLE_PACKET = 0xFFFFFF
"""A packet of this size goes on in the next one."""
_EVENT, _ERROR, _END = 0, 255, 254
_SILENT_BEATS = 3
"""The server says something each `heartbeat`; after so many of them in silence it is taken for gone."""


class BinlogConnection:
    """One reader of the log; the server makes nothing for it, and forgets it when it is closed."""

    def __init__(self, config: MariaConfig, application: str, number: int) -> None:
        """Connect; `number` is the id of a server, which nobody else who reads the log may have."""
        self._config, self._number = config, number
        self._session = MariaSession(config, application)
        self._pending = bytearray()
        self._parts: list[bytes] = []
        self._silent = self._patience = 0.0
        self._ended = False

    def start(self, after: Gtids, heartbeat: float) -> None:
        """Ask for all that comes behind a place; `heartbeat` in seconds.

        Raises StateError where the server does not have it any more, or never had the place.
        """
        run = self._session.run
        run("set @mariadb_slave_capability = 4, @slave_gtid_strict_mode = 1, @slave_gtid_ignore_duplicates = 0")
        run(f"set @master_heartbeat_period = {round(heartbeat * 1e9):d}")
        run("set @master_binlog_checksum = @@global.binlog_checksum")
        run("set @slave_connect_state = \x001\x00", (str(after),))
        self._patience = max(10.0, _SILENT_BEATS * heartbeat)
        self._socket = self._session.streamed(_DUMP, struct.pack("<IHI", 4, 0, self._number))

    def receive(self, seconds: float, most: int) -> list[bytes]:
        """Return the events that have come; wait for the first of them for a while. About `most` bytes at most.

        Raises ExternalError where the connection broke.
        """
        got = self._read(seconds)
        if self._ended:
            raise broken(self._config, "the server closed it")
        if not got:
            self._silent += seconds
            if self._silent > self._patience:
                raise broken(self._config, "the server has said nothing for a while")
            return []
        self._silent = 0.0
        while got < most and (more := self._read(0.0)):
            got += more
        return self._events()

    def close(self) -> None:
        """Disconnect."""
        self._session.close()

    def _read(self, seconds: float) -> int:
        """Read what is there; return how many bytes."""
        self._socket.settimeout(seconds)
        try:
            data = self._socket.recv(_PART)
        except TimeoutError:
            return 0
        except OSError as error:
            if type(error).__name__ in ("SSLWantReadError", "BlockingIOError"):
                return 0
            raise broken(self._config, str(error.strerror or error)) from None
        self._ended = not data  # what came before may say why
        self._pending += data
        return len(data)

    def _events(self) -> list[bytes]:
        data, at, found = self._pending, 0, []
        while at + 5 <= len(data):
            size = data[at] | data[at + 1] << 8 | data[at + 2] << 16
            end = at + 4 + size
            if end > len(data):
                break
            if self._parts:
                self._parts.append(bytes(data[at + 4 : end]))
            elif data[at + 4] == _EVENT:
                self._parts.append(bytes(data[at + 5 : end]))
            else:
                raise self._refused(bytes(data[at + 4 : end]))
            if size < _WHOLE_PACKET:
                found.append(b"".join(self._parts) if len(self._parts) > 1 else self._parts[0])
                self._parts = []
            at = end
        del data[:at]
        return found

    def _refused(self, packet: bytes) -> Exception:
        if packet[0] == _ERROR:
            code, text = struct.unpack_from("<H", packet, 1)[0], packet[3:].decode("utf-8", "replace")
            return refusal(code, text[6:] if text.startswith("#") else text, self._config)
        return broken(self._config, "the server ended the log" if packet[0] == _END else "an unknown answer came")


__all__ = ["BinlogConnection"]
