"""The command `doctor`: looks whether this machine, a folder of state and a workflow's surroundings are well."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import stat
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflare import __version__
from dataflare.cli.console import GREEN, RED, YELLOW, painted, table, write, write_json
from dataflare.errors import DataFlareError, UnavailableError
from dataflare.executor.surroundings import TENANT, StateOf

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OK, WARNING, ERROR = "ok", "warning", "error"
STYLES = {OK: GREEN, WARNING: YELLOW, ERROR: RED}
PYTHONS = ((3, 11), (3, 14))
"""The first that is tested, and the first that is not."""
FREE_BYTES_MIN = 1 << 30
FILES_MIN = 1024
SOCKET_PATH_MAX = 107
OTHERS = stat.S_IRWXG | stat.S_IRWXO
NETWORKS = ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "afs", "ceph", "glusterfs")
ZONE = "Europe/Oslo"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: how it is, and what helps where it is not well."""

    name: str
    status: str
    message: str
    hint: str = ""


def doctor_command(file: Path | None, state: Path | None, *, as_json: bool) -> int:
    """Print what was looked at; return 3 where something is not well that keeps workflows from running."""
    found = [*_machine(), *_packages()]
    where = StateOf.folder_of(state)
    if file is not None:
        checks, known = _workflow(file)
        found += checks
        where = known if known is not None and state is None else where
    found += _state(where)
    if as_json:
        for check in found:
            write_json({"check": check.name, "status": check.status, "message": check.message, "hint": check.hint})
    else:
        rows = []
        for check in found:
            rows.append((check.name, painted(check.status, STYLES[check.status], sys.stdout), check.message))
            if check.hint:
                rows.append(("", "", f"hint: {check.hint}"))
        write(table(("check", "status", ""), rows))
    return UnavailableError.exit_code if any(check.status == ERROR for check in found) else 0


def _machine() -> Iterator[Check]:
    version = platform.python_version()
    tested = PYTHONS[0] <= sys.version_info[:2] < PYTHONS[1]
    hint = "" if tested else "use Python 3.11, 3.12 or 3.13: others are not tested"
    yield Check("python", OK if tested else WARNING, f"{version}, DataFlare {__version__}", hint)
    system = f"{platform.system()} on {platform.machine()}"
    known = platform.system() == "Linux"
    yield Check("system", OK if known else WARNING, system, "" if known else "Linux is what is tested")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = hard == resource.RLIM_INFINITY or hard >= FILES_MIN
    hint = "" if enough else f"let a process have {FILES_MIN:,} files at least: ulimit -Hn"
    yield Check("open files", OK if enough else WARNING, f"{soft:,}, at most {hard:,}", hint)
    yield _zones()


def _zones() -> Check:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        ZoneInfo(ZONE)
    except (ZoneInfoNotFoundError, OSError):
        hint = "install the package tzdata, of the system or of Python"
        return Check("time zones", WARNING, f"there is no {ZONE}", hint)
    return Check("time zones", OK, "known")


def _packages() -> Iterator[Check]:
    """Look for the packages that are needed, then for those of each extra."""
    from importlib.metadata import PackageNotFoundError, distribution, version

    try:
        wanted = distribution("dataflare").requires or []
    except PackageNotFoundError:
        yield Check("packages", ERROR, "DataFlare itself is not installed", "pip install dataflare")
        return
    groups: dict[str, list[str]] = {}
    for line in wanted:
        text, _, marker = line.partition(";")
        extra = marker.partition("extra ==")[2].strip().strip("'\"")
        name = text.split("[")[0].rstrip().split(" ")[0]
        for sign in "<>=!~(":
            name = name.partition(sign)[0]
        groups.setdefault(extra, []).append(name)
    for extra, names in sorted(groups.items()):
        missing = []
        for name in names:
            try:
                version(name)
            except PackageNotFoundError:
                missing.append(name)
        if not extra:
            hint = "install it anew: pip install --force-reinstall dataflare" if missing else ""
            told = f"missing: {', '.join(missing)}" if missing else f"{len(names)} are there"
            yield Check("packages", ERROR if missing else OK, told, hint)
        else:
            told = f"not installed: {', '.join(missing)}" if missing else "installed"
            yield Check(f"extra {extra}", OK, told, f"to use it: pip install 'dataflare[{extra}]'" if missing else "")


def _state(where: StateOf) -> Iterator[Check]:
    folder = where.folder
    if folder is None:
        yield Check("state", OK, "is in no folder: nothing of it stays")
        return
    present = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    if not os.access(present, os.W_OK | os.X_OK):
        yield Check("state", ERROR, f"{present} may not be written", "let this user write there, or name another path")
        return
    free = shutil.disk_usage(present).free
    hint = "" if free >= FREE_BYTES_MIN else "make room: a full disk ends runs (what was committed is safe)"
    told = f"{free / (1 << 30):,.1f} GiB free at {present}"
    yield Check("disk", OK if free >= FREE_BYTES_MIN else WARNING, told, hint)
    kind = _filesystem(present)
    if kind in NETWORKS:
        cure = "file locks do not hold over a network: let runtime.state.path be on a local disk"
        yield Check("state", ERROR, f"{present} is on {kind}", cure)
    length = len(os.fsencode(folder.absolute() / f"{where.workflow or 'workflow'}.sock"))
    if length > SOCKET_PATH_MAX:
        cure = f"a socket's path has at most {SOCKET_PATH_MAX} bytes: let the folder's be shorter"
        yield Check("control socket", WARNING, f"its path has {length} bytes", cure)
    if not folder.is_dir():
        yield Check("state", OK, f"{folder} is not there yet: the first run makes it")
        return
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & OTHERS:
        yield Check("state", WARNING, f"{folder} is open to others (mode {mode:o})", f"chmod 700 {folder}")
    yield from _opened(where)


def _opened(where: StateOf) -> Iterator[Check]:
    """Open the state, which looks through it, and compare its times with the clock."""
    from dataflare.clock import SystemClock
    from dataflare.component import Registry
    from dataflare.executor.runtime import LocalRuntime
    from dataflare.security.codec import Codec
    from dataflare.state.checkpoint import CheckpointManager

    try:
        with where.existing_store(Registry.installed(), LocalRuntime()) as store:
            names = sorted({key.split("/")[1] for key in store.keys(f"{TENANT}/") if "/committed/" in key})
            latest = 0
            for name in names:
                manager = CheckpointManager(store, Codec(), name, tenant=TENANT)
                damaged = manager.damaged()
                for error in damaged.values():
                    yield Check(f"state of {name}", ERROR, str(error), f"see: dataflare checkpoint list {name}")
                manager.pass_over(damaged)
                latest = max([latest, *(p.epoch_time for p in manager.proposals())])
    except DataFlareError as error:
        there = where.folder is not None and (where.folder / "state.db").exists()
        yield Check("state", ERROR if there else OK, error.what, error.hint)
        return
    yield Check("state", OK, f"{where.folder} is whole; {len(names)} workflows have committed something")
    behind = (latest - SystemClock().now()) / 1e6
    if behind > 1:
        told = f"the clock is {behind:,.0f} s behind the newest epoch"
        yield Check("clock", WARNING, told, "set the clock: schedules wait until it has caught up")
    else:
        yield Check("clock", OK, "has not gone back")


def _workflow(file: Path) -> tuple[list[Check], StateOf | None]:
    """Look at everything that a workflow names: files, servers, tables, permissions."""
    from dataflare.component import Registry
    from dataflare.workflow import load

    loaded = load(file, registry=Registry.installed(), environ=os.environ, level="connect", check=True)
    problems = [f for f in loaded.findings if f.severity in (ERROR, WARNING)]
    told = [f"{f.place}: {f.message}" if str(f.place) else f.message for f in problems]
    checks = [Check("workflow", f.severity, text, f.hint) for f, text in zip(problems, told, strict=True)]
    if not any(f.severity == ERROR for f in problems):
        checks.append(Check("workflow", OK, f"{file} is valid, and all that it names can be reached"))
    plan = loaded.plan
    return checks, StateOf.of_plan(plan) if plan is not None else None


def _filesystem(path: Path) -> str:
    """Return the kind of file system that a path is on; empty where the system does not tell."""
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="replace") as mounts:  # noqa: PTH123 - no file
            entries = [line.split(" ") for line in mounts]
    except OSError:
        return ""
    text = str(path.resolve())
    fitting = [(len(e[1]), e[2]) for e in entries if text == e[1] or text.startswith(e[1].rstrip("/") + "/")]
    return max(fitting)[1] if fitting else ""


__all__ = ["Check", "doctor_command"]
