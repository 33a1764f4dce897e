"""The private MariaDB of the tests: Debian's mariadb-server-core on loopback, with a binary log of whole rows."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

from plain_server import PlainServer
from server_surroundings import APT, SBIN, ServiceError, account, shown, write_private

USER = "dataflare"
PACKAGES = ("mariadb-server-core", "libeatmydata1")
"""Programs alone: `mariadb-server` would set up a server for the whole machine. The library ends syncing."""
_SHARE = Path("/usr/share/mariadb")
_TABLES = ("system_tables", "performance_tables", "system_tables_data")


class MariaServer(PlainServer):
    """One server; its folder also holds `data`, and `users.sql`, which each start runs."""

    title = "MariaDB"

    def __init__(self) -> None:
        """Find the account and the folder; change nothing."""
        super().__init__("mariadb", account("mysql", "nobody"))
        self.data, self.users = self.folder / "data", self.folder / "users.sql"

    def install(self) -> str:
        """See to it that there are programs; without them the tests of MariaDB are skipped, and all else goes on."""
        if not (self._program("mariadbd") and _unsynced()):
            if os.geteuid() != 0 or not shutil.which("apt-get"):
                return f"{self.title} is not there, and apt-get install {PACKAGES[0]} needs root and Debian: tests skip"
            subprocess.run([*APT, "update"], capture_output=True, check=False)
            wanted = [*APT, "-y", "--no-install-recommends", "install", *PACKAGES]
            done = subprocess.run(wanted, capture_output=True, text=True, check=False)
            if done.returncode and not self._program("mariadbd"):
                return f"{self.title} is not there: {(done.stderr or done.stdout).strip()[-300:]}: tests skip"
        return f"{self.title} in {self._program('mariadbd')}"

    def start(self) -> str:
        """Start it unless it runs, making its data the first time."""
        if not self._program("mariadbd"):
            return f"{self.title} is not installed: its tests will be skipped"
        return super().start()

    def env(self) -> str:
        """Return the lines that tell the tests where it is; a comment where there is none."""
        return super().env() if self._program("mariadbd") else f"# {self.title} is not installed"

    def status(self) -> str:
        """Tell whether it answers; raise ServiceError if not."""
        return super().status() if self._program("mariadbd") else f"{self.title} is not installed"

    def made(self) -> dict[str, str]:
        """Make the data, once, and the user."""
        password = self.noted().get("password") or secrets.token_urlsafe(18)
        if not (self.folder / "made").exists():
            shutil.rmtree(self.data, ignore_errors=True)
            self.own(self.data)
            told = [f"--datadir={self.data}", f"--tmpdir={self.folder}", "--skip-networking", "--log-bin=OFF"]
            tables = "".join((_SHARE / f"mariadb_{name}.sql").read_text() for name in _TABLES)
            done = subprocess.run(
                [str(self._program("mariadbd")), "--no-defaults", "--bootstrap", "--skip-name-resolve", *told],
                **{k: v for k, v in self.surroundings().items() if k != "stdin"},
                input=f"create database mysql;\nuse mysql;\n{tables}",
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise ServiceError(f"mariadbd --bootstrap: {(done.stderr or done.stdout).strip()[-600:]}")
            (self.folder / "made").touch()
        users = (
            f"create or replace user '{USER}'@'127.0.0.1' identified by '{password}';\n"
            f"grant all on *.* to '{USER}'@'127.0.0.1' with grant option;\n"
        )
        write_private(self.users, users, self.account)
        return {"password": password}

    def command(self, port: int) -> list[str]:
        """Return the command; without --no-defaults the files of the machine's own server would leak in."""
        settings = [
            *("--no-defaults", f"--datadir={self.data}", f"--init-file={self.users}", f"--tmpdir={self.folder}"),
            *(f"--port={port}", "--bind-address=127.0.0.1", f"--socket={self.folder / 'socket'}"),
            *(f"--pid-file={self.folder / 'pid'}", "--skip-name-resolve", "--character-set-server=utf8mb4"),
            *("--server-id=1", "--log-bin=binlog", "--binlog-format=ROW", "--binlog-row-image=FULL"),
            *("--binlog-row-metadata=FULL", "--gtid-strict-mode=ON", "--expire-logs-days=1", "--local-infile=1"),
            *("--innodb-buffer-pool-size=64M", "--innodb-log-file-size=48M", "--max-connections=200"),
            *("--innodb-flush-log-at-trx-commit=2", "--sync-binlog=0"),
        ]
        return [str(self._program("mariadbd")), *settings]

    def surroundings(self) -> dict[str, Any]:
        """Making and dropping tables syncs a dozen times, which no setting stops; here nobody cuts the power."""
        return {**super().surroundings(), "env": {"PATH": SBIN, "HOME": str(self.folder), **_unsynced()}}

    def answers_on(self, port: int) -> bool:
        """Wait for the greeting, which holds the server's version."""
        try:
            with socket.create_connection(("127.0.0.1", port), 2) as connection:
                return b"MariaDB" in connection.recv(200)
        except OSError:
            return False

    def url(self, note: dict[str, str]) -> str:
        """Return where it is."""
        return f"DATAFLARE_TEST_MARIADB=mysql://{USER}:{note['password']}@127.0.0.1:{note['port']}"

    def works(self) -> Path:
        """Return the data: the server goes there."""
        return self.data

    def wipe(self) -> str:
        """Stop it and remove its data; programs stay."""
        self.stop()
        shutil.rmtree(self.data, ignore_errors=True)
        for file in (self.log, self.note, self.users, self.folder / "made"):
            file.unlink(missing_ok=True)
        return f"{self.title}'s data removed from {shown(self.folder)}"

    @staticmethod
    def _program(name: str) -> str | None:
        return shutil.which(name, path=SBIN)


def _unsynced() -> dict[str, str]:
    """Return the surroundings in which nothing is synced; nothing where the library is not installed."""
    found = next(Path("/usr/lib").glob("*/libeatmydata.so"), None)
    return {"LD_PRELOAD": str(found)} if found else {}


__all__ = ["MariaServer"]
