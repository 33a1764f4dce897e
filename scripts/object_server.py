"""The private S3 server of the tests: moto on loopback, which keeps objects in memory and forgets them when it ends."""

from __future__ import annotations

import http
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from server_surroundings import ServiceError, folder, free_port, shown, works_in

START_SECONDS_MAX = 60


class ObjectServer:
    """One server; its folder holds `log` and `service.json` with port and process."""

    def __init__(self) -> None:
        """Find the folder; change nothing."""
        self.folder = folder("objects")
        self.log, self.note = self.folder / "log", self.folder / "service.json"

    def install(self) -> str:
        """See to it that there is a program."""
        done = subprocess.run([sys.executable, "-c", "import moto.server"], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServiceError(f"moto is not installed: {done.stderr.strip()[-300:]}")
        return "S3 server: moto"

    def start(self) -> str:
        """Start it unless it runs."""
        note = self._noted()
        if self._answers(note):
            return f"S3 server runs already on 127.0.0.1:{note['port']}"
        self.folder.mkdir(parents=True, exist_ok=True)
        port = free_port(int(note["port"]) if note else None)
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        made = {"port": str(port), "process": str(process.pid)}
        self.note.touch(mode=0o600)
        self.note.write_text(json.dumps(made))
        end = time.monotonic() + START_SECONDS_MAX
        while not self._answers(made):
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                raise ServiceError(f"the S3 server does not start\n{self.log.read_text(errors='replace')[-600:]}")
            time.sleep(0.1)
        return f"S3 server started on 127.0.0.1:{port}, log in {shown(self.log)}"

    def stop(self) -> str:
        """End it."""
        if (process := self._process(self._noted())) is None:
            return "S3 server does not run"
        os.kill(process, signal.SIGTERM)
        end = time.monotonic() + START_SECONDS_MAX / 6
        while self._process(self._noted()) is not None and time.monotonic() < end:
            time.sleep(0.05)
        if self._process(self._noted()) is not None:
            os.kill(process, signal.SIGKILL)
        return "S3 server stopped"

    def status(self) -> str:
        """Tell whether it answers; raise ServiceError if not."""
        note = self._noted()
        if not self._answers(note):
            raise ServiceError("the S3 server does not run: python scripts/services.py start")
        return f"S3 server runs on 127.0.0.1:{note['port']}, log in {shown(self.log)}"

    def env(self) -> str:
        """Return the lines that tell the tests where it is."""
        self.status()
        return f"export DATAFLARE_TEST_S3=http://127.0.0.1:{self._noted()['port']}"

    def wipe(self) -> str:
        """Stop it, and with it all objects are gone."""
        self.stop()
        for file in (self.log, self.note):
            file.unlink(missing_ok=True)
        return "S3 server's objects removed"

    def _answers(self, note: dict[str, str]) -> bool:
        if self._process(note) is None:
            return False
        connection = http.client.HTTPConnection("127.0.0.1", int(note["port"]), timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()

    def _process(self, note: dict[str, str]) -> int | None:
        number = note.get("process", "")
        return int(number) if number and works_in(Path(f"/proc/{number}"), self.folder) else None

    def _noted(self) -> dict[str, str]:
        try:
            note: dict[str, str] = json.loads(self.note.read_text())
        except (OSError, ValueError):
            return {}
        return note
