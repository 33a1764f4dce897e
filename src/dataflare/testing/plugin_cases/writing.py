"""Writes what came of a test as what is expected of it from now on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dataflare.errors import Place, UnavailableError
from dataflare.plugin.failures import placed
from dataflare.testing.plugin_cases.cases import ERRORS, OUT

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dataflare.testing.plugin_cases.cases import Case, Row
    from dataflare.testing.plugin_cases.running import Ran


def write_expected(case: Case, ran: Ran) -> list[str]:
    """Write the files of a test, and take those away that are empty now; return the names of those that changed.

    Raises what ended the plugin, and UnavailableError where the folder cannot be written.
    """
    if ran.failed is not None:
        raise ran.failed
    wanted = {f"out.{output}.jsonl" if output else OUT: rows for output, rows in ran.rows.items() if rows or not output}
    if ran.errors:
        wanted[ERRORS] = [{**one, "error": placed(one["error"], "")[0]} for one in ran.errors]
    old = {p.name for p in case.folder.glob("out*.jsonl")} | {ERRORS}
    return [name for name in sorted({*wanted, *old}) if _put(case.folder / name, wanted.get(name))]


def _put(path: Path, rows: Iterable[Row] | None) -> bool:
    """Write a file, or take it away; tell whether anything is different now."""
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else None
        if rows is None:
            path.unlink(missing_ok=True)
            return before is not None
        text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
        if text == before:
            return False
        new = path.with_name(f".{path.name}.new")
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        raise UnavailableError(f"the file cannot be written: {error.strerror}", place=Place(str(path))) from error
    return True


__all__ = ["write_expected"]
