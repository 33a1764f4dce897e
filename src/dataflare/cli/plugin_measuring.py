"""`dataflare plugin bench`: says how fast a plugin is, how it starts and how much memory it takes."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from dataflare.cli.console import table, write, write_json
from dataflare.cli.plugin_building import size_text
from dataflare.cli.plugin_running import loaded, settings_of_text
from dataflare.errors import DataError
from dataflare.plugin.limits import Limits
from dataflare.plugin.manifest import MANIFEST, Manifest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dataflare.testing.plugin_cases.measuring import Measured, Way


def bench_command(what: Path, count: int, given: Path | None, settings: str, *, as_json: bool) -> int:
    """Measure, and show a table."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # so that what is compiled for it is taken away
    from dataflare.plugin.loaded import require_wasmtime
    from dataflare.testing.plugin_cases.cases import rows_of, settings_of
    from dataflare.testing.plugin_cases.measuring import Bench, repeated

    require_wasmtime()
    from dataflare.testing.examples.rows import guessed, typed

    folder = what.parent if what.name == MANIFEST else what
    if folder.is_dir():
        manifest = Manifest.read(folder)
        usual = Limits()
        limits = Limits(manifest.memory_bytes_max or usual.memory_bytes_max, manifest.seconds_max or usual.seconds_max)
        file, values = folder / manifest.entry, settings_of(folder)
    else:
        file, values, limits = what, {}, Limits()
    values = settings_of_text(settings) if settings else values
    path, rows = rows_of(given, folder)
    good = _good(file, values, rows)
    if not good:
        raise DataError(
            "every row fails, so there is nothing to measure", hint=f"look at {path}, or name others: --input"
        )
    schema = guessed(good, {})
    many = typed(good, schema).take([n % len(good) for n in range(count)])
    found = Bench(file, values, limits, list(repeated(good, count)), many, schema).measured()
    if as_json:
        write_json(
            {"file": str(file), "rows_file": str(path), "rows_left_out": len(rows) - len(good), **found.as_json()}
        )
        return 0
    left = len(rows) - len(good)
    write(f"{file}: {count:,} rows like those of {path}" + (f", without {left} that fail" if left else "") + "\n")
    write(table(("rows pass", "rows/s", "MB/s", "us/row"), [_line(way) for way in found.ways], right=[1, 2, 3]))
    write(f"\n{_beside(found)}")
    return 0


def _good(file: Path, settings: Mapping[str, Any], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows that do not fail: one that does takes many times as long."""
    with loaded(file, dict(settings)) as plugin:
        if plugin.told.buffers:
            return rows
        failed = plugin.process_rows(rows, on_error="skip").rejected
    return [row for number, row in enumerate(rows) if number not in failed]


def _line(way: Way) -> tuple[str, str, str, str]:
    if way.failed or not way.seconds:
        return (way.name, "-", "-", "-")
    rate, mega = way.rows / way.seconds, way.size_bytes / way.seconds / 1e6
    return (way.name, f"{rate:,.0f}", f"{mega:,.1f}", f"{1e6 / rate:,.2f}")


def _beside(found: Measured) -> str:
    lines = [
        (
            "compile",
            f"{found.cold_seconds * 1000:,.1f} ms the first time, {found.cached_seconds * 1000:,.1f} ms from then on",
        ),
        ("an instance", f"{found.instance_seconds * 1000:,.2f} ms to start"),
    ]
    if found.instance_bytes is not None:
        lines.append(("", f"{size_text(found.instance_bytes)} of memory"))
    if found.fuel_factor is not None:
        lines.append(("fuel", f"{found.fuel_factor:.2f} times the time where instructions are counted"))
    lines += [(f"{way.name}:", way.failed) for way in found.ways if way.failed]
    wide = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:{wide}}  {text}" for name, text in lines)


__all__ = ["bench_command"]
