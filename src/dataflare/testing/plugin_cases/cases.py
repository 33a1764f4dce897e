"""What stands in the folders `tests/NAME` of a plugin: rows, what comes of them, settings and types of columns."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dataflare.errors import Finding, InvalidWorkflowError, Place, WorkflowError
from dataflare.testing.examples.rows import RowError, guessed, typed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pyarrow as pa

    from dataflare.schema import Schema

TESTS, IN, OUT, ERRORS = "tests", "in.jsonl", "out.jsonl", "errors.jsonl"
SETTINGS, COLUMNS, NODE = "settings.json", "columns.json", "node.json"
CODE = "plugin.test"
_OUTPUT = re.compile(r"out(?:\.(?P<output>.+))?\.jsonl")

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """One test. `expected` are rows by output, "" the default one; `errors` what is told of rows that fail.

    `node` is what a workflow would set besides module and settings: `key`, `grants`, `columns`, `output`, limits.
    """

    name: str
    folder: Path
    rows: pa.Table
    schema: Schema
    settings: Mapping[str, Any] = field(default_factory=dict)
    node: Mapping[str, Any] = field(default_factory=dict)
    expected: Mapping[str, list[Row]] = field(default_factory=dict)
    errors: tuple[Row, ...] = ()


def read_cases(folder: Path, only: str = "") -> list[Case]:
    """Return the tests of a plugin by name; `only` those whose name holds this.

    Raises WorkflowError where there are none, InvalidWorkflowError with all that is wrong in their files.
    """
    tests = folder / TESTS
    names = sorted(p.name for p in tests.iterdir() if p.is_dir()) if tests.is_dir() else []
    if not names:
        raise WorkflowError(
            f"there are no tests in {tests}", hint=f"write {TESTS}/first/{IN}; dataflare plugin test --write adds {OUT}"
        )
    names = [name for name in names if only in name]
    if not names:
        raise WorkflowError(f"no test in {tests} has {only!r} in its name")
    reading = _Reading()
    found = [reading.case(tests / name) for name in names]
    if reading.findings:
        raise InvalidWorkflowError(reading.findings)
    return [case for case in found if case is not None]


def settings_of(folder: Path) -> Mapping[str, Any]:
    """Return the settings of the first test that has some: those with which a plugin can be opened to look at it."""
    for path in sorted((folder / TESTS).glob(f"*/{SETTINGS}")):
        reading = _Reading()
        found = reading.mapping(path)
        if reading.findings:
            raise InvalidWorkflowError(reading.findings)
        return found
    return {}


def rows_of(path: Path | None, folder: Path) -> tuple[Path, list[Row]]:
    """Return the rows of a file, or those of the first test of a plugin that has some, and where they stand.

    Raises WorkflowError where there are none, InvalidWorkflowError with all that is wrong in them.
    """
    for one in [path] if path is not None else sorted((folder / TESTS).glob(f"*/{IN}")):
        reading = _Reading()
        rows = reading.rows(one)
        if reading.findings:
            raise InvalidWorkflowError(reading.findings)
        if rows:
            return one, rows
    raise WorkflowError("there are no rows", hint="name a file with some, as JSON lines: --input rows.jsonl")


class _Reading:
    """Reads files of tests, and collects what is wrong."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def case(self, folder: Path) -> Case | None:
        before = len(self.findings)
        given = self.rows(folder / IN)
        outputs = [(_OUTPUT.fullmatch(path.name), path) for path in sorted(folder.glob("out*.jsonl"))]
        expected = {found["output"] or "": self.rows(path) for found, path in outputs if found}
        errors = self.rows(folder / ERRORS) if (folder / ERRORS).exists() else []
        files = [folder / name for name in (SETTINGS, NODE, COLUMNS)]
        settings, node, told = (self.mapping(path) if path.exists() else {} for path in files)
        if len(self.findings) > before:
            return None
        if not given and not told:
            self.say("there are no rows", folder / IN, hint=f"write some, or their columns with types into {COLUMNS}")
            return None
        try:
            schema = guessed(given, {name: str(kind) for name, kind in told.items()})
            rows = typed(given, schema)
        except RowError as error:
            self.say(error.what, folder / IN, error.index + 1, error.hint)
            return None
        except WorkflowError as error:
            self.say(error.what, folder / COLUMNS, hint=error.hint)
            return None
        return Case(folder.name, folder, rows, schema, settings, node, expected, tuple(errors))

    def rows(self, path: Path) -> list[Row]:
        """Return the objects of a file of JSON lines; blank lines are none."""
        found: list[Row] = []
        for number, line in enumerate(self.text(path).splitlines(), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                self.say(f"this is no JSON: {error}", path, number)
                continue
            if isinstance(row, dict):
                found.append(row)
            else:
                self.say("a row is an object: {...}", path, number)
        return found

    def mapping(self, path: Path) -> dict[str, Any]:
        """Return the object of a file of JSON."""
        text = self.text(path)
        try:
            found = json.loads(text or "{}")
        except json.JSONDecodeError as error:
            self.say(f"this is no JSON: {error.msg}", path, error.lineno)
            return {}
        if isinstance(found, dict):
            return found
        self.say("this is no object: {...}", path, 1)
        return {}

    def text(self, path: Path) -> str:
        try:
            return path.read_text(encoding="utf-8")
        except OSError as error:
            self.say(f"the file cannot be read: {error.strerror}", path)
        except UnicodeDecodeError as error:
            self.say(f"byte {error.start} is no UTF-8", path)
        return ""

    def say(self, what: str, path: Path, line: int = 0, hint: str = "") -> None:
        self.findings.append(Finding("error", CODE, what, hint, Place(str(path), line)))


__all__ = ["ERRORS", "IN", "NODE", "OUT", "SETTINGS", "TESTS", "Case", "Row", "read_cases", "rows_of", "settings_of"]
