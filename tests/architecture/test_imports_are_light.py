"""Starting costs little: the package and `dataflare --help` import no data library."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = {"pyarrow", "duckdb", "pydantic", "numpy", "yaml", "asyncpg", "psycopg", "adbc_driver_postgresql", "ray"}


def imported_by(code: str) -> set[str]:
    """Run code in a process of its own; return the modules that are loaded afterwards."""
    ending = "import json, sys; print('\\n' + json.dumps(sorted(sys.modules)))"
    script = f"try:\n    {code}\nexcept SystemExit as end:\n    assert not end.code, end.code\n{ending}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        "import dataflare",
        "import dataflare.plan",
        "import sys; from dataflare.cli.main import main; sys.exit(main(['--help']))",
        "import sys; from dataflare.cli.main import main; sys.exit(main(['--version']))",
    ],
)
def test_no_data_library_is_imported_before_it_is_needed(code: str) -> None:
    assert not imported_by(code) & HEAVY


def test_sources_of_databases_do_without_numpy_until_they_follow_changes() -> None:
    """The extras `postgres` and `mariadb` do not bring it."""
    names = "dataflare.connectors.postgres.source", "dataflare.connectors.mariadb.source"
    assert {*names} <= imported_by(f"import sys; sys.modules['numpy'] = None; import {', '.join(names)}")


WORKFLOW = """
id: light
sources:
  made: {type: generator, config: {rows: 1, columns: {id: sequence, name: string}}}
  lines: {type: file, config: {path: a.csv, format: csv, columns: {id: int64, name: string}}}
  records: {type: file, config: {path: a.jsonl, columns: {id: int64, name: string}}}
  table: {type: sqlite, config: {path: a.db, table: rows}}
destinations:
  csv: {type: file, inputs: [made], config: {path: out, format: csv}}
  parquet: {type: file, inputs: [lines], config: {path: out, format: parquet}}
  copy: {type: sqlite, inputs: [records], config: {path: b.db, table: rows}}
  shown: {type: stdout, inputs: [table]}
"""


def test_a_workflow_is_validated_without_the_functions_and_formats_of_arrow(tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(WORKFLOW)
    code = f"import sys; from dataflare.cli.main import main; sys.exit(main(['validate', {str(file)!r}]))"
    unneeded = {"pyarrow.compute", "pyarrow.parquet", "pyarrow.dataset", "pyarrow.fs", "duckdb", "ray", "asyncpg"}
    assert not imported_by(code) & unneeded


def test_the_probe_sees_an_import() -> None:
    assert "duckdb" in imported_by("import duckdb")
