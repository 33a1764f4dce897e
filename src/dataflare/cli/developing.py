"""The command `run --dev`: shows what a workflow would write, anew after each change, and writes nothing."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataflare.cli.console import (
    BOLD,
    DIM,
    GREEN,
    RED,
    findings_text,
    in_language,
    painted,
    say_error,
    table,
    write,
    write_json,
)
from dataflare.cli.watching import Watch
from dataflare.clock import wait_blocking
from dataflare.errors import DataFlareError, Finding
from dataflare.plan_words import NodeKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pyarrow as pa

    from dataflare.component import Registry
    from dataflare.plan import Plan
    from dataflare.workflow import Loaded

ROWS = 5
"""So many rows of each destination are shown."""

CELL_CHARACTERS = 40
LOOK_SECONDS = 0.25
"""How often the files are looked at: two hundred of them cost a third of a hundredth of a core."""


def dev_command(file: Path, *, as_json: bool, wait: Callable[[float], None] = wait_blocking) -> int:
    """Show the workflow and wait for changes, until Ctrl-C ends it; `wait` is called between two looks."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # so that what is open is closed
    watch = Watch(file)
    reason: list[str] = []
    while True:
        _Round(file, as_json=as_json).show(reason, watch)
        if not as_json:
            write(painted("\nwaiting for changes; Ctrl-C ends it", DIM, sys.stdout))
        sys.stdout.flush()
        reason = watch.changed()
        while not reason:
            wait(LOOK_SECONDS)
            reason = watch.changed()
        while more := _settled(watch, wait):
            reason = sorted({*reason, *more})


def _settled(watch: Watch, wait: Callable[[float], None]) -> list[str]:
    """Let an editor or a checkout finish; return what has changed meanwhile."""
    wait(LOOK_SECONDS / 2)
    return watch.changed()


class _Round:
    """One look at the workflow."""

    def __init__(self, file: Path, *, as_json: bool) -> None:
        from dataflare.component import Registry

        self._file, self._as_json = file, as_json
        self._registry: Registry = Registry.installed()

    def show(self, reason: list[str], watch: Watch) -> None:
        if reason and not self._as_json:
            names = ", ".join(Path(name).name for name in reason[:3]) + (", ..." if reason[3:] else "")
            write(painted(f"\n{names} changed", BOLD, sys.stdout))
        _forget_modules(self._file.parent)
        try:
            self._look(watch)
        except DataFlareError as error:
            say_error(error, as_json=self._as_json)

    def _look(self, watch: Watch) -> None:
        from dataflare.executor.previewing import Preview, preview_rows
        from dataflare.executor.surroundings import Secrets
        from dataflare.workflow import load

        loaded = load(self._file, registry=self._registry, environ=os.environ, level="sample")
        preview = Preview()
        plan = loaded.plan
        if plan is not None:
            watch.know(plan)
            secrets = Secrets(plan)
            names = [node.id for node in plan.of_kind(NodeKind.DESTINATION)]
            preview = preview_rows(plan, self._registry, names, ROWS, secrets)
            hidden = [replace(f, message=secrets.hide(f.message), hint=secrets.hide(f.hint)) for f in preview.findings]
            loaded = replace(loaded, findings=[*loaded.findings, *hidden])
        failed = any(f.severity == "error" for f in loaded.findings)
        if self._as_json:
            self._tell_json(loaded, preview.rows, valid=not failed)
            return
        if loaded.findings:
            write(findings_text(_unique(loaded.findings), sys.stdout))
        if plan is not None:
            self._tell_rows(plan, preview.rows, preview.left_out)
            self._test(loaded)
        mark = painted("has errors", RED, sys.stdout) if failed else painted("is valid", GREEN, sys.stdout)
        write(f"\n{self._file} {mark}")

    def _tell_rows(self, plan: Plan, rows: Mapping[str, pa.Table], left_out: list[str]) -> None:
        for name, found in rows.items():
            write(f"\n{painted(name, BOLD, sys.stdout)} {painted(plan.node(name).type, DIM, sys.stdout)}")
            if found.num_rows:
                body = [[_cell(v) for v in row.values()] for row in found.to_pylist()]
                write(table(found.schema.names, body))
            else:
                write(painted("no rows come here from the first of each source", DIM, sys.stdout))
        if left_out:
            write(f"\nnot looked into, for that would take rows away or wait for them: {', '.join(left_out)}")

    def _tell_json(self, loaded: Loaded, rows: Mapping[str, pa.Table], *, valid: bool) -> None:
        findings = [in_language(f).as_json() for f in _unique(loaded.findings)]
        write_json({"valid": valid, "findings": findings, "rows": {n: t.to_pylist() for n, t in rows.items()}})

    def _test(self, loaded: Loaded) -> None:
        """Run the tests of the file, where it has any."""
        if loaded.tests:
            from dataflare.cli.testing import test_command

            write()
            test_command(self._file, "", as_json=False)


def _unique(findings: list[Finding]) -> list[Finding]:
    return sorted(dict.fromkeys(findings), key=lambda f: (f.place.line, f.place.column))


def _cell(value: Any) -> str:
    text = "" if value is None else str(value).replace("\n", " ")
    return text if len(text) <= CELL_CHARACTERS else f"{text[: CELL_CHARACTERS - 1]}…"


def _forget_modules(folder: Path) -> None:
    """Let code beside the workflow be imported anew."""
    top = str(folder.resolve()) + os.sep
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or ""
        if file.startswith(top) and "site-packages" not in file:
            del sys.modules[name]


__all__ = ["dev_command"]
