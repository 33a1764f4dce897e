"""The command `preview`: the first rows that come out of a node, as a run would make them, shown and not written."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dataflare.cli.console import say_warning, table, write
from dataflare.cli.surroundings import plan_of
from dataflare.errors import DataError, InvalidWorkflowError

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from dataflare.plan import Plan

FAILING = ("data.", "component.")
"""How the codes of what fails a run begin."""
CELLS_MAX = 40
"""A value that is longer is cut in a table."""


def preview_command(file: Path, node: str, rows: int, *, as_json: bool) -> int:
    """Pass the first rows of each source through the plan up to a node, and print what comes out; return 0.

    No destination is opened and no state is kept. Tagged values are hidden. What goes wrong is told, and ends the
    command where a node fails.
    """
    from dataflare.component import Registry
    from dataflare.executor.previewing import preview_rows
    from dataflare.executor.surroundings import Secrets

    registry = Registry.installed()
    plan = plan_of(file, registry)
    secrets = Secrets(plan)
    preview = preview_rows(plan, registry, [node], rows, secrets)
    findings = [replace(f, message=secrets.hide(f.message), hint=secrets.hide(f.hint)) for f in preview.findings]
    if errors := [f for f in findings if f.severity == "error"]:
        error = InvalidWorkflowError(findings)
        if any(f.code.startswith(FAILING) for f in errors):
            error.exit_code = DataError.exit_code
        raise error
    for finding in findings:
        say_warning(finding, as_json=as_json)
    found = preview.rows[node]
    if as_json:
        write_rows(found, _json_columns(plan, node))
    elif found.num_rows:
        write(rows_text(found))
    else:
        write(f"no row comes out of {node}")
    return 0


def write_rows(rows: pa.Table, json_columns: frozenset[str] = frozenset()) -> None:
    """Write each row to stdout as one JSON object; columns of JSON text as what they hold."""
    from dataflare.formats.encoder import text_bytes
    from dataflare.formats.jsonl.encode import JsonTexts

    texts = JsonTexts()
    try:
        for part in text_bytes(texts.lines(rows, json_columns & set(rows.column_names))):
            sys.stdout.write(bytes(part).decode())
    finally:
        texts.close()
    sys.stdout.flush()


def rows_text(rows: pa.Table) -> str:
    """Return the table of rows; numbers at the right, long values cut, nulls empty."""
    import pyarrow as pa

    t = pa.types
    right = [i for i, f in enumerate(rows.schema) if t.is_integer(f.type) or t.is_floating(f.type) or _decimal(f.type)]
    return table(rows.column_names, [[_cell(v) for v in row.values()] for row in rows.to_pylist()], right=right)


def _decimal(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_decimal(kind))


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    text = "".join(c if c.isprintable() else "�" if c not in "\n\t" else " " for c in text)
    return text if len(text) <= CELLS_MAX else text[: CELLS_MAX - 1] + "…"


def _json_columns(plan: Plan, name: str) -> frozenset[str]:
    owner = plan.node(name.partition(".")[0])
    outputs = owner.outputs or tuple(plan.input_outputs(owner.id))
    return frozenset(c.name for o in outputs for c in o.schema if c.type == "json")


__all__ = ["preview_command", "rows_text", "write_rows"]
