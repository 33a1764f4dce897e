"""`dataflare plugin test`: runs the tests of a plugin, and shows how what comes out differs from what is expected."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from dataflare.cli.console import DIM, GREEN, RED, painted, say_warning, table, write, write_json
from dataflare.clock import SystemClock
from dataflare.errors import Finding, Place, UnavailableError
from dataflare.plugin.loaded import require_wasmtime
from dataflare.plugin.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dataflare.testing.plugin_cases import Case, Difference, Ran

FAILED = 1
SHOWN_MAX = 20
"""So many differences of a test are shown."""
TIMED_MIN = 1000
"""The speed of fewer rows is that of the first call."""


def test_command(folder: Path, only: str, *, written: bool, as_json: bool) -> int:
    """Run the tests; return the exit code."""
    from dataflare.testing.plugin_cases import compared, read_cases, run_case, write_expected

    require_wasmtime()
    manifest = Manifest.read(folder)
    _look_at_entry(folder, manifest, as_json=as_json)
    failed = passed = 0
    for case in read_cases(folder, only):
        ran = run_case(folder, manifest, case, SystemClock())
        if written:
            _tell_written(case, write_expected(case, ran), as_json=as_json)
            continue
        differences = compared(case, ran)
        failed, passed = failed + bool(differences), passed + (not differences)
        _tell(case, ran, differences, as_json=as_json)
    if written:
        return 0
    if as_json:
        write_json({"tests": passed + failed, "passed": passed, "failed": failed})
    else:
        words = [f"{passed} passed", *([f"{failed} failed"] if failed else [])]
        write(painted(", ".join(words), RED if failed else GREEN, sys.stdout))
    return FAILED if failed else 0


def _look_at_entry(folder: Path, manifest: Manifest, *, as_json: bool) -> None:
    """Say what is wrong with what runs: it is not built, or older than its source."""
    entry, source = folder / manifest.entry, folder / manifest.source
    if not entry.is_file():
        hint = f"build it: dataflare plugin build {folder}" if manifest.source else "`entry` in plugin.toml names it"
        raise UnavailableError(f"{manifest.entry} is not there", hint=hint, place=Place(str(entry)))
    if manifest.source and source.is_file() and source.stat().st_mtime_ns > entry.stat().st_mtime_ns:
        what = f"{manifest.source} is newer than {manifest.entry}: the tests run what was built before"
        say_warning(Finding("warning", "plugin.test", what, "", Place(str(entry))), as_json=as_json)


def _tell(case: Case, ran: Ran, differences: Sequence[Difference], *, as_json: bool) -> None:
    share = ran.guest_seconds / ran.seconds if ran.seconds else 0.0
    rate = ran.rows_in / ran.seconds if ran.seconds else 0.0
    if as_json:
        told: dict[str, Any] = {"test": case.name, "status": "failed" if differences else "passed"}
        told |= {"rows_in": ran.rows_in, "rows_out": ran.rows_out, "rows_failed": len(ran.errors)}
        told |= {"seconds": round(ran.seconds, 6), "rows_per_second": round(rate), "guest_share": round(share, 3)}
        write_json({**told, "differences": [d.as_json() for d in differences], "said": ran.said})
        return
    word = painted("FAIL", RED, sys.stdout) if differences else painted("ok  ", GREEN, sys.stdout)
    counts = f"{ran.rows_in} in, {ran.rows_out} out" + (f", {len(ran.errors)} failed" if ran.errors else "")
    speed = f"  {rate:,.0f} rows/s, {share:.0%} of the time in the plugin" if ran.rows_in >= TIMED_MIN else ""
    write(f"{word}  {case.name}  {counts}{painted(speed, DIM, sys.stdout)}")
    if differences:
        _show(differences)
        for text in ran.said:
            write(f"  {painted('it said:', DIM, sys.stdout)} {text}")


def _show(differences: Sequence[Difference]) -> None:
    whole = [d for d in differences if not d.row]
    for one in whole:
        write(f"  {one.file}: {one.got}" if one.file else f"  {one.got}")
    rows = [(d.file, str(d.row), d.column, d.expected, d.got) for d in differences if d.row][:SHOWN_MAX]
    if rows:
        text = table(("file", "row", "column", "expected", "got"), rows, right=[1])
        write("\n".join(f"  {line}" for line in text.splitlines()))
    more = len(differences) - len(whole) - len(rows)
    if more:
        write(f"  and {more} more")


def _tell_written(case: Case, names: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        write_json({"test": case.name, "written": list(names)})
    elif names:
        write(f"{painted('wrote', GREEN, sys.stdout)} {case.folder}: {', '.join(names)}")


__all__ = ["test_command"]
