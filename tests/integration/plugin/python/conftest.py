"""Plugins in Python of a few lines, opened; their runtime is built once."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.unit.plugin.conftest import counting_engine, engine, host, opened

TOP = Path(__file__).parents[4]


@pytest.fixture(scope="session", autouse=True)
def runtime():
    """Build what is kept for as long as its sources stay."""
    subprocess.run([TOP / "scripts" / "python-runtime.sh"], check=True, stdin=subprocess.DEVNULL)


@pytest.fixture
def python(opened):
    """Return what writes a source to rules.py and opens it."""

    def open_(source, **given):
        return opened(source, "rules.py", **given)

    return open_


__all__ = ["counting_engine", "engine", "host", "opened", "python", "runtime"]
