"""A wire between a client and a server that can be cut, be slow, or swallow what is sent."""

from __future__ import annotations

import ctypes
import socket
import struct
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PART = 1 << 16
_ATTACH_FILTER, _RETURN = 26, 6
"""`SO_ATTACH_FILTER` of Linux, and the only instruction of a filter that lets no byte through."""


class Cuttable:
    """Passes on what comes to `port` of this machine, both ways, until `cut`; connections made later work again.

    `pause_seconds` is how long each part of up to 64 KiB waits.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self._target, self._lock = target, threading.Lock()
        self._open: list[socket.socket] = []
        self._lost: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.made, self.pause_seconds = 0, 0.0
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> int:
        """Break all connections without a word; return how many there were."""
        with self._lock:
            broken, self._open = self._open, []
        for one in broken:
            with suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        return len(broken) // 2

    def swallow(self) -> int:
        """Let the packets of all connections vanish, both ways: none is answered, and nobody is told of it (Linux)."""
        with self._lock:
            lost, self._open = self._open, []
        instruction = ctypes.create_string_buffer(struct.pack("HBBI", _RETURN, 0, 0, 0))
        program = struct.pack("HL", 1, ctypes.addressof(instruction))
        for one in lost:
            with suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)
        self._lost += lost
        return len(lost) // 2

    def close(self) -> None:
        """End."""
        self._listener.close()
        self._open += self._lost
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                inner, _ = self._listener.accept()
                with suppress(OSError):
                    outer = socket.create_connection(self._target)
                    with self._lock:
                        self._open += [inner, outer]
                        self.made += 1
                    for pair in ((inner, outer), (outer, inner)):
                        threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_PART):
                time.sleep(self.pause_seconds)
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@contextmanager
def cuttable(host: str, port: int) -> Iterator[Cuttable]:
    """Give a wire to a server."""
    found = Cuttable((host, port))
    try:
        yield found
    finally:
        found.close()
