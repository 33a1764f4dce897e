"""The command lines of the peers that are programs: sling, ingestr, psql."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import venvs

if TYPE_CHECKING:
    from pathlib import Path


def sling(source: str, stream: str, target: str, table: str = "", *options: str) -> tuple[str, ...]:
    """Return a run of sling from a stream of a source (a file stands alone) to a table of a target."""
    package = venvs.folder("sling") / "lib"
    found = sorted(package.glob("python*/site-packages/sling_linux_amd64/bin/sling-linux-amd64"))
    program = str(found[0] if found else package / "sling-linux-amd64")
    read = ("--src-conn", source, "--src-stream", stream) if stream else ("--src-stream", source)
    write = ("--tgt-conn", target, "--tgt-object", table) if table else ("--tgt-object", target)
    return (program, "run", *read, *write, *options)


def sling_variables(home: Path) -> dict[str, str]:
    """Return variables that keep sling's own files in a contender's folder."""
    return {"SLING_HOME_DIR": str(home / "home"), "SLING_TEMP_DIR": str(home / "temporary")}


def ingestr(source: str, stream: str, target: str, table: str, *options: str) -> tuple[str, ...]:
    """Return a run of ingestr from a table of a source to a table of a target."""
    program = str(venvs.folder("ingestr") / "bin" / "ingestr")
    read = ("--source-uri", source, "--source-table", stream)
    write = ("--dest-uri", target, "--dest-table", table)
    return (program, "ingest", *read, *write, "--yes", "--progress", "log", *options)


def psql(address: str, *statements: str) -> tuple[str, ...]:
    """Return a run of psql that stops at the first error."""
    run = (part for statement in statements for part in ("-c", statement))
    return ("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", address, *run)


def psql_pipe(address: str, read: str, write: str) -> tuple[str, ...]:
    """Return two runs of psql, what one reads going to the other; fails when either does."""
    client = 'psql -X -q -v ON_ERROR_STOP=1 "$0" -c'
    return ("bash", "-c", f'set -o pipefail; {client} "$1" | {client} "$2"', address, read, write)
