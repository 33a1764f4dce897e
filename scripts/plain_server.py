"""A private server that is one process: started, found again by its working directory, and ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server_surroundings import ServiceError, folder, free_port, shown, works_in, write_private

if TYPE_CHECKING:
    import pwd

START_SECONDS_MAX = 60


class PlainServer(ABC):
    """One server; its folder holds `log` and `service.json` with port and process."""

    title: str
    """What it is called."""

    def __init__(self, name: str, account: pwd.struct_passwd | None = None) -> None:
        """Find the folder; change nothing. `account` runs the server where we are root and it may not be."""
        self.account = account
        self.folder = folder(name, account)
        self.log, self.note = self.folder / "log", self.folder / "service.json"

    @abstractmethod
    def command(self, port: int) -> list[str]:
        """Return the command that runs the server."""

    @abstractmethod
    def answers_on(self, port: int) -> bool:
        """Tell whether it is the server that answers there."""

    @abstractmethod
    def url(self, note: dict[str, str]) -> str:
        """Return the line that tells the tests where it is, behind `export `."""

    def made(self) -> dict[str, str]:
        """Make what the server needs before it starts; return what else is to be noted."""
        return {}

    def start(self) -> str:
        """Start it unless it runs."""
        note = self.noted()
        if self._answers(note):
            return f"{self.title} runs already on 127.0.0.1:{note['port']}"
        self.own(self.folder)
        made = self.made()
        port = free_port(int(note["port"]) if note.get("port") else None)
        command = self.command(port)
        with self.log.open("wb") as log:
            process = subprocess.Popen(command, **self.surroundings(), stdout=log, stderr=log, start_new_session=True)
        note = {**made, "port": str(port), "process": str(process.pid)}
        write_private(self.note, json.dumps(note), self.account)
        end = time.monotonic() + START_SECONDS_MAX
        while not self._answers(note):
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                raise ServiceError(f"the {self.title} does not start\n{self.log.read_text(errors='replace')[-600:]}")
            time.sleep(0.05)
        return f"{self.title} started on 127.0.0.1:{port}, log in {shown(self.log)}"

    def stop(self) -> str:
        """End it in order, or by force where that takes too long."""
        if (process := self.process(self.noted())) is None:
            return f"{self.title} does not run"
        os.kill(process, signal.SIGTERM)
        end = time.monotonic() + START_SECONDS_MAX / 6
        while self.process(self.noted()) is not None and time.monotonic() < end:
            time.sleep(0.05)
        if self.process(self.noted()) is not None:
            os.kill(process, signal.SIGKILL)
        return f"{self.title} stopped"

    def status(self) -> str:
        """Tell whether it answers; raise ServiceError if not."""
        note = self.noted()
        if not self._answers(note):
            raise ServiceError(f"the {self.title} does not run: python scripts/services.py start")
        return f"{self.title} runs on 127.0.0.1:{note['port']}, log in {shown(self.log)}"

    def env(self) -> str:
        """Return the lines that tell the tests where it is."""
        self.status()
        return f"export {self.url(self.noted())}"

    def surroundings(self) -> dict[str, Any]:
        """Return how processes of the server are run."""
        found: dict[str, Any] = {"cwd": self.folder, "stdin": subprocess.DEVNULL}
        if self.account is not None:
            found |= {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []}
        return found

    def own(self, path: Path) -> None:
        """Make a folder that the server's account may write into."""
        path.mkdir(parents=True, exist_ok=True)
        if self.account is not None:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)

    def noted(self) -> dict[str, str]:
        """Return what was noted at the start; nothing where it never was started."""
        try:
            note: dict[str, str] = json.loads(self.note.read_text())
        except (OSError, ValueError):
            return {}
        return note

    def process(self, note: dict[str, str]) -> int | None:
        """Return the process, if it lives and is ours."""
        number = note.get("process", "")
        return int(number) if number and works_in(Path(f"/proc/{number}"), self.works()) else None

    def works(self) -> Path:
        """Return the working directory of the server."""
        return self.folder

    def _answers(self, note: dict[str, str]) -> bool:
        return self.process(note) is not None and self.answers_on(int(note["port"]))


__all__ = ["PlainServer"]
