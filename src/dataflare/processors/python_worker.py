"""The process that runs a user's function: `python -m dataflare.processors.python_worker SOCKET PROGRESS`.

It takes one frame that says what to load, then frames of rows, and answers each. It imports pyarrow and nothing else
that is heavy. It ends when the engine closes the socket, or is gone; signals of a terminal do not end it.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import inspect
import io
import linecache
import mmap
import os
import resource
import select
import signal
import socket
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.processors.python_frames import OUT_OF_MEMORY, ROW_COLUMN, frame, read_frame
from dataflare.processors.python_modes import MODES, Answer, Mode, Rejected, ShapeError, line_of, reason_of
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataflare.processors.python_lines import LineFeeder


class LoadError(Exception):
    """The user's code cannot be loaded: what, and the line of its own file."""

    def __init__(self, what: str, file: str = "", line: int = 0, missing: str = "") -> None:
        """`missing` is the package that could not be imported."""
        super().__init__(what)
        self.head = {"what": what, "file": file, "line": line, "missing": missing}


class Worker:
    """Answers frames, one at a time."""

    def __init__(self, channel: socket.socket, progress: memoryview) -> None:
        """Load nothing yet."""
        self._channel, self._progress = channel, progress
        self._mode: Mode | None = None
        self._feeder: LineFeeder | None = None
        self._file = ""

    def run(self) -> None:
        """Serve until the engine closes its end."""
        while True:
            try:
                head, rows = read_frame(self._read)
            except EOFError:
                return
            parts = self._parts(head, rows)
            _flush()
            for part in parts:
                self._channel.sendall(part)

    def _parts(self, head: dict[str, Any], body: pa.Table | bytearray | None) -> list[bytes | pa.Buffer]:
        if isinstance(body, bytearray):
            assert self._feeder is not None
            fed = self._feeder.run(body)
            return frame({"untaken": True}) if fed is None else frame({"count": fed[0]}, fed[1])
        assert body is not None
        return self._load(head, body.schema) if self._mode is None else self._answer(self._mode, head, body)

    def _load(self, head: dict[str, Any], output: pa.Schema) -> list[bytes | pa.Buffer]:
        try:
            function, self._file = load(head)
        except LoadError as error:
            return frame({"unloadable": error.head})
        self._mode = MODES[head["mode"]](function, output, self._progress)
        if head["given"]:
            from dataflare.processors.python_lines import LineFeeder

            self._feeder = LineFeeder(function, Schema.of(head["given"]).to_arrow(), output)
        # What has been loaded stays: leave it out of every later collection, and collect less often than every
        # 700 dicts. Reference counts free the records.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        return frame({})

    def _answer(self, mode: Mode, head: dict[str, Any], rows: pa.Table) -> list[bytes | pa.Buffer]:
        rejected = Rejected(self._file, first_only=head["first_only"])
        try:
            answer = mode.run(rows, rejected)
            table = answer.rows
            if head["sources"]:
                table = table.append_column(ROW_COLUMN, [_row_numbers(answer)])
        except ShapeError as error:
            return frame({"misshapen": str(error)})
        return frame({"rejected": [[row, *why] for row, why in sorted(rejected.rows.items())]}, table)

    def _read(self, size: int) -> bytearray:
        data = bytearray(size)
        view, got = memoryview(data), 0
        while got < size:
            count = self._channel.recv_into(view[got:])
            if not count:
                raise EOFError
            got += count
        return data


def _row_numbers(answer: Answer) -> pa.Array:
    if len(answer.sources) != answer.rows.num_rows:
        raise ShapeError("the function returned another number of rows, so other columns cannot pass it by")
    return pa.array(answer.sources, pa.int32())


def load(head: dict[str, Any]) -> tuple[Callable[[Any], Any], str]:
    """Return the user's function and the name that tracebacks give its file; raise LoadError."""
    sys.path.insert(0, head["directory"])
    file = head["file"] or head["shown"]
    try:
        if head["code"] is not None:
            module = _from_code(head["code"], file)
        elif head["file"]:
            sys.path.insert(0, str(Path(file).parent))
            module = _from_file(file)
        else:
            module = importlib.import_module(head["package"])
    except SyntaxError as error:
        what = f"SyntaxError: {error.msg}"
        raise LoadError(what, error.filename or file, error.lineno or 0) from error
    except (MemoryError, LoadError):
        raise
    except Exception as error:  # the user's module may raise anything while it is imported
        missing = error.name or "" if isinstance(error, ModuleNotFoundError) else ""
        own, line = _place(error, file)
        raise LoadError(reason_of(error), own, line, missing) from error
    file = getattr(module, "__file__", None) or file
    return _function(module, head["name"], file), file


def _from_code(code: str, file: str) -> ModuleType:
    module = ModuleType("dataflare_code")
    sys.modules[module.__name__] = module
    linecache.cache[file] = (len(code), None, code.splitlines(keepends=True), file)
    exec(compile(code, file, "exec"), module.__dict__)  # noqa: S102 - running the user's code is the task
    return module


def _from_file(file: str) -> ModuleType:
    if not Path(file).is_file():
        raise LoadError("there is no such file", file)
    spec = importlib.util.spec_from_file_location(f"dataflare_code_{Path(file).stem}", file)
    if spec is None or spec.loader is None:
        raise LoadError("it is no Python file: its name must end with .py", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _function(module: ModuleType, name: str, file: str) -> Callable[[Any], Any]:
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        own = [n for n, v in vars(module).items() if inspect.isfunction(v) and not n.startswith("_")]
        there = f"; it has {', '.join(sorted(own))}" if own else ""
        raise LoadError(f"there is no function {name!r} in it{there}", file)
    if inspect.iscoroutinefunction(found):
        raise LoadError(f"function {name!r} is a coroutine; write it with `def`", file)
    function: Callable[[Any], Any] = found
    return function


def _place(error: BaseException, file: str) -> tuple[str, int]:
    """Return the user's own file and line in a traceback, or the last ones of all."""
    if line := line_of(error.__traceback__, file):
        return file, line
    steps = [s for s in traceback.extract_tb(error.__traceback__) if "importlib" not in s.filename]
    steps = [s for s in steps if s.filename != __file__]
    return (steps[-1].filename, steps[-1].lineno or 0) if steps else (file, 0)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # the user's code may have closed or replaced it
            stream.flush()


def _limit_memory(limit: int) -> None:
    """Bound the private memory of this process, where the system can."""
    with suppress(OSError, ValueError):  # best effort: a system without this limit has none
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _end_with(channel: socket.socket) -> None:
    """End this process when the engine is gone, whatever the user's function is doing."""
    poll = select.poll()
    poll.register(channel, select.POLLHUP)
    poll.poll()
    os._exit(0)


def main() -> None:
    """Serve on the descriptors that the command line names."""
    socket_number, progress_number, memory_bytes_max = map(int, sys.argv[1:4])
    sys.argv[1:] = []
    for number in (socket_number, progress_number):
        os.set_inheritable(number, False)  # noqa: FBT003 - positional only
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        # A handler, not SIG_IGN, which programs that the user's code starts would inherit.
        signal.signal(signal_number, lambda *_: None)
    for stream in (sys.stdout, sys.stderr):
        assert isinstance(stream, io.TextIOWrapper)
        stream.reconfigure(line_buffering=True, errors="backslashreplace")
    channel = socket.socket(fileno=socket_number)
    progress = memoryview(mmap.mmap(progress_number, 8)).cast("Q")
    threading.Thread(target=_end_with, args=(channel,), daemon=True).start()
    _limit_memory(memory_bytes_max)
    try:
        Worker(channel, progress).run()
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except OSError:
        os._exit(0)  # the engine is gone
    os._exit(0)


if __name__ == "__main__":
    main()
