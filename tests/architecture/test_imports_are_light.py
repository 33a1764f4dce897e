"""Starting costs little: the package and `dataflare --help` import no data library."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {"pyarrow", "duckdb", "pydantic", "numpy", "yaml", "asyncpg", "psycopg", "adbc_driver_postgresql", "ray"}


def imported_by(code: str) -> set[str]:
    """Run code in a process of its own; return the top-level modules that are loaded afterwards."""
    ending = "import json, sys; print('\\n' + json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
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


def test_the_probe_sees_an_import() -> None:
    assert "duckdb" in imported_by("import duckdb")
