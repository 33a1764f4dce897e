"""What the private servers of the tests have in common: their folder, account, port and processes."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import socket
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).resolve().parents[1]
PORT_BASE = int(os.environ.get("DATAFLARE_SERVICES_PORT_BASE", "35400"))
PORTS_MAX = 50
APT = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300")
SBIN = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/sbin"


class ServiceError(Exception):
    """What could not be done, and why."""


def account(*names: str) -> pwd.struct_passwd | None:
    """Return the account that runs a server where we are root: the first of these that there is."""
    if os.geteuid() != 0:
        return None
    for name in names:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ServiceError(f"root may not run the server, and there is no account {' or '.join(names)}")


def folder(name: str, account: pwd.struct_passwd | None = None) -> Path:
    """Return the folder of a server, where its account can reach it."""
    told = os.environ.get("DATAFLARE_SERVICES_DIR")
    found = Path(told).resolve() if told else TOP / ".cache" / "services"
    if account is not None and not reaches(account, found):
        salt = hashlib.sha256(str(TOP).encode()).hexdigest()[:8]
        found = Path(tempfile.gettempdir(), f"dataflare-services-{salt}")
    return found / name


def reaches(account: pwd.struct_passwd, folder: Path) -> bool:
    """Tell whether an account may walk down to a folder, as far as it exists."""
    for facts in (p.stat() for p in folder.parents if p.exists()):
        bit = 0o100 if facts.st_uid == account.pw_uid else 0o010 if facts.st_gid == account.pw_gid else 0o001
        if not facts.st_mode & bit:
            return False
    return True


def write_private(path: Path, text: str, owner: pwd.struct_passwd | None) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    new = path.with_name(f"{path.name}.new")
    new.touch(mode=0o600)
    new.write_text(text)
    if owner is not None:
        os.chown(new, owner.pw_uid, owner.pw_gid)
    new.replace(path)


def works_in(process: Path, folder: Path) -> bool:
    """Tell whether a process lives and has its working directory there, as all of a server's have."""
    try:
        state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        return state not in "ZX" and (process / "cwd").readlink() == folder.resolve()
    except OSError:
        return False


def is_stopped(process: int) -> bool:
    """Tell whether a process is frozen."""
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "T"


def free_port(wish: int | None) -> int:
    """Return a port that nobody listens on: the wish, else the first one."""
    ports = range(PORT_BASE + 32, PORT_BASE + 32 + PORTS_MAX)
    for port in (wish or ports[0], *ports):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(port)
    raise ServiceError(f"no free port from {PORT_BASE + 32} on: set DATAFLARE_SERVICES_PORT_BASE")


def shown(path: Path) -> str:
    """Return a path as it is told: inside the checkout relative to it."""
    return str(path.relative_to(TOP)) if path.is_relative_to(TOP) else str(path)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let one command run at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
