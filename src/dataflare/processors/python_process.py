"""A warm process that runs a user's function, seen from the engine: started, asked, timed, killed, started again."""

from __future__ import annotations

import mmap
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from dataflare.errors import DataError, Place, UnavailableError, WorkflowError
from dataflare.processors.python_frames import OUT_OF_MEMORY, ROW_COLUMN, frame, lines_frame, read_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pyarrow as pa

    from dataflare.clock import Clock

LOAD_SECONDS = 120.0
"""How long the import of the user's code may take."""

SAID_BYTES_MAX = 2000
"""How much of what the user's code prints during one batch is kept."""

DIED, LATE = "worker_died", "timed_out"
"""How the reasons begin for which a worker was lost; they are ours and hold nothing of a row."""

_NO_ROW = 2**64 - 1
_CHUNK = 1 << 20


class MisshapenError(DataError):
    """What the function returned has the wrong shape, for which no row is to blame."""

    def __init__(self, what: str, *, hint: str = "", place: Place | None = None) -> None:
        """Say what is wrong with it."""
        super().__init__(what, hint=hint or "see the settings `mode` and `output` of the node", place=place)


class WorkerLostError(Exception):
    """The worker died or was killed for being late; `late` tells which. `row` is the row it was at, if known."""

    def __init__(self, what: str, *, late: bool, row: int | None) -> None:
        """Say how it ended."""
        super().__init__(what)
        self.what, self.late, self.row = what, late, row


@dataclass(frozen=True, slots=True)
class Work:
    """What a worker is to do: `head` names the code, `output` is the schema that the function returns."""

    head: Mapping[str, Any]
    output: pa.Schema
    timeout_seconds: float
    memory_bytes_max: int


@dataclass(slots=True)
class Result:
    """What the function returned; `sources` are the rows that it came from, where that was asked for.

    `rejected` maps rows of the request to the reason and the line of the user's code (0: not known).
    """

    rows: pa.Table | None
    sources: pa.ChunkedArray | None = None
    rejected: dict[int, tuple[str, int]] = field(default_factory=dict)


class WorkerProcess:
    """One worker process; not shared by threads that run at the same time.

    It lives in a session of its own: an interrupt in the terminal reaches the engine, which drains and then stops it.
    `said` is called with what the user's code printed, once a request at most.
    """

    def __init__(self, work: Work, clock: Clock, said: Callable[[str], None]) -> None:
        """Start nothing."""
        self._work, self._clock, self._said = work, clock, said
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._printed: IO[bytes] | None = None
        self._progress: mmap.mmap | None = None
        self._selector = selectors.DefaultSelector()
        self._heard, self._unheard = bytearray(), 0

    def start(self) -> None:
        """Start the process and load the function.

        Raises WorkflowError with the file and line of the user's code when that cannot be loaded, WorkerLostError
        when loading kills it.
        """
        self.stop()
        self._selector = selectors.DefaultSelector()
        try:
            self._spawn()
        except OSError as error:
            self.stop()
            raise UnavailableError(f"the process for Python code does not start: {error.strerror}") from error
        head, _ = self._ask(frame(dict(self._work.head), self._work.output.empty_table()), LOAD_SECONDS)
        if "unloadable" in head:
            self.stop()
            raise _unloadable(head["unloadable"], self._work.head)

    def run(self, rows: pa.Table, *, sources: bool, first_only: bool) -> Result:
        """Have the function work on rows; start the process first if there is none.

        Raises WorkerLostError when it dies or is late; the process is gone then. Raises DataError when what the
        function returned has the wrong shape.
        """
        if self._process is None:
            self.start()
        request = {"sources": sources, "first_only": first_only}
        head, table = self._ask(frame(request, rows), self._work.timeout_seconds)
        if "misshapen" in head:
            raise MisshapenError(head["misshapen"])
        assert table is not None
        origins = table.column(table.num_columns - 1) if sources else None
        if sources and table.schema.names[-1] == ROW_COLUMN:
            table = table.remove_column(table.num_columns - 1)
        return Result(table, origins, {row: (why, line) for row, why, line in head["rejected"]})

    def run_lines(self, lines: bytes | memoryview) -> tuple[int, pa.Table] | None:
        """Have the function work on JSON lines; return how many there were, and its rows.

        None where they must be decoded; so, too, when the process dies or is late; it is gone then.
        """
        if self._process is None:
            self.start()
        try:
            head, table = self._ask(lines_frame({}, lines), self._work.timeout_seconds)
        except WorkerLostError:
            return None
        return None if "untaken" in head else (head["count"], table)

    def stop(self) -> None:
        """Kill the process, with all that it has started, and forget it. May be called at any time."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError, PermissionError):  # it may have ended by itself
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._selector.close()
        for end in (self._channel, self._printed, self._progress):
            if end is not None:
                end.close()
        self._channel = self._printed = self._progress = None

    def _spawn(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs, tempfile.TemporaryFile() as shared:
            self._channel = ours
            shared.truncate(8)
            self._progress = mmap.mmap(shared.fileno(), 8)
            numbers = (theirs.fileno(), shared.fileno())
            command = [sys.executable, "-P", "-X", "faulthandler", "-m", "dataflare.processors.python_worker"]
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [*command, *map(str, numbers), str(self._work.memory_bytes_max)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=numbers,
                start_new_session=True,
                # Arrow's own allocators reserve a gigabyte at once, which no memory limit could tell from use.
                env=os.environ | {"ARROW_DEFAULT_MEMORY_POOL": "system"},
            )
        self._printed = self._process.stdout
        assert self._printed is not None
        os.set_blocking(self._printed.fileno(), False)
        self._selector.register(ours, selectors.EVENT_READ)
        self._selector.register(self._printed, selectors.EVENT_READ)

    def _ask(self, parts: Sequence[bytes | memoryview | pa.Buffer], seconds: float) -> tuple[dict[str, Any], Any]:
        assert self._channel is not None
        assert self._progress is not None
        until = self._clock.monotonic() + seconds
        self._progress[:] = _NO_ROW.to_bytes(8, sys.byteorder)
        try:
            self._channel.settimeout(max(0.001, seconds))
            for part in parts:
                self._channel.sendall(part)
            return read_frame(lambda size: self._read(size, until))
        except TimeoutError as error:
            raise self._lost(f"{LATE}: no answer within {seconds:g} s", late=True) from error
        except (EOFError, OSError) as error:
            raise self._lost("", late=False) from error
        finally:
            self._listen()
            self._tell()

    def _read(self, size: int, until: float) -> bytearray:
        """Return exactly `size` bytes of the answer, listening to what the user's code prints meanwhile."""
        if size > self._work.memory_bytes_max:
            raise DataError("the function's answer is larger than its memory limit", hint="raise `memory` of the node")
        assert self._channel is not None
        data = bytearray(size)
        view, got = memoryview(data), 0
        while got < size:
            left = until - self._clock.monotonic()
            ready = self._selector.select(left) if left > 0 else []
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                if key.fileobj is not self._channel:
                    self._listen()
                elif got < size:
                    count = self._channel.recv_into(view[got : got + _CHUNK])
                    if not count:
                        raise EOFError
                    got += count
        return data

    def _listen(self) -> None:
        """Take what was printed, without waiting; keep the beginning."""
        while self._printed is not None:
            data = self._printed.read(_CHUNK)
            if data is None:
                return
            if not data:
                self._selector.unregister(self._printed)
                self._printed.close()
                self._printed = None
                return
            room = SAID_BYTES_MAX - len(self._heard)
            self._heard += data[:room]
            self._unheard += max(0, len(data) - room)

    def _tell(self) -> None:
        if self._heard:
            text = self._heard.decode(errors="replace").rstrip("\n")
            more = f"\n... and {self._unheard:,} bytes more" if self._unheard else ""
            self._heard, self._unheard = bytearray(), 0
            self._said(text + more)

    def _lost(self, what: str, *, late: bool) -> WorkerLostError:
        assert self._process is not None
        assert self._progress is not None
        row = int.from_bytes(self._progress[:], sys.byteorder)
        if not late:
            try:
                what = f"{DIED}: {_ending(self._process.wait(5))}"
            except subprocess.TimeoutExpired:
                what = f"{DIED}: it closed its channel"
        self._listen()
        self.stop()
        return WorkerLostError(what, late=late, row=None if row == _NO_ROW else row)


def _ending(status: int) -> str:
    if status == OUT_OF_MEMORY:
        return "out of memory"
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


def _unloadable(found: Mapping[str, Any], head: Mapping[str, Any]) -> WorkflowError:
    """Return the error of code that cannot be loaded; paths are as the workflow wrote them."""
    place = Place(head["shown"] if found["file"] in (head["file"], "") else found["file"], found["line"])
    hint = ""
    if found["missing"]:
        hint = f"install {found['missing']!r} beside DataFlare, or put its folder beside the workflow file"
    return WorkflowError(found["what"], hint=hint, place=place)
