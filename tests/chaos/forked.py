"""Processes that are forked from one which has imported the libraries already: each begins half a second sooner.

What runs in them is what `python -m` would run, in processes that are killed, stopped and waited for like others.
The one that they come from, a fork server of the standard library, imports and does nothing else. Whoever tests how a
process begins starts an interpreter instead.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import weakref
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

PRELOADED = [
    "sqlite3", "yaml", "pydantic", "pytest", "duckdb", "psycopg", "asyncpg", "pymysql", "pyarrow.acero",
    "pyarrow.compute", "pyarrow.csv", "pyarrow.json", "pyarrow.parquet", "dataflare.cli.assembly",
    "dataflare.cli.running", "dataflare.connectors.file.destination", "dataflare.connectors.file.source",
    "dataflare.connectors.generator.source", "dataflare.connectors.mariadb.changes.following",
    "dataflare.connectors.postgres.changes.following", "dataflare.executor.local", "dataflare.processors.aggregate",
    "dataflare.state.sqlite", "dataflare.testing.chaos", "dataflare.workflow",
]  # fmt: skip
"""Nothing that starts threads of its own: the driver of PostgreSQL that speaks Arrow is left to who needs it."""

STREAMS = ("stdout", "stderr")
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(PRELOADED)


class Forked:
    """A process that calls a function without arguments: `module:name`; it has the manners of `subprocess.Popen`.

    The function finds `arguments` in `sys.argv` and ends the process or returns its exit code. The process leads a
    group of its own. `environ` is the whole environment, by default that of this process.
    """

    def __init__(
        self, function: str, *arguments: str, cwd: Path | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        self.args = [function, *arguments]
        self._said = Path(tempfile.mkdtemp(prefix="forked-"))
        weakref.finalize(self, shutil.rmtree, self._said, ignore_errors=True)
        told = (function, arguments, str(cwd or Path.cwd()), dict(environ or os.environ), str(self._said))
        self._process = SERVER.Process(target=_live, args=told, daemon=True)
        self._process.start()
        self.pid: int = self._process.pid or 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.send_signal(signal.SIGKILL)
        self._process.join()

    @property
    def returncode(self) -> int | None:
        """The exit code, negative after a signal; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; return what it wrote to stdout and stderr."""
        self.wait(timeout)
        out, err = ((self._said / name).read_text() if (self._said / name).exists() else "" for name in STREAMS)
        return out, err

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self._process.exitcode is None:
            os.kill(self.pid, number)

    def completed(self, timeout: float) -> subprocess.CompletedProcess[str]:
        """Wait for its end and tell how it was; kill it if that takes too long."""
        with self:
            out, err = self.communicate(timeout)
        return subprocess.CompletedProcess(self.args, self.wait(), out, err)


def _live(function: str, arguments: tuple[str, ...], cwd: str, environ: dict[str, str], folder: str) -> None:
    """Be the process."""
    os.setsid()
    for number, name in enumerate(STREAMS, 1):
        file = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, number)
        os.close(file)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environ)
    module, _, name = function.partition(":")
    sys.argv = [module, *arguments]
    sys.path.insert(0, cwd)
    sys.exit(getattr(import_module(module), name)())
