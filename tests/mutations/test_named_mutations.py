"""Every change of the mutation list turns its test red; without the change the test is green."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.mutations.named import NAMED

FAILED = 1


def _pytest(test: str, *plugins: str, mutation: str = "") -> int:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *plugins, test]
    env = {**os.environ, "DATAFLARE_MUTATION": mutation}
    env = {k: v for k, v in env.items() if not k.startswith("PYTEST_")}
    return subprocess.run(command, env=env, capture_output=True, check=False, timeout=100).returncode


@pytest.mark.parametrize("name", NAMED)
def test_the_named_test_is_red_with_the_change(name: str) -> None:
    assert _pytest(NAMED[name].test, "-p", "tests.mutations.plugin", mutation=name) == FAILED


def test_the_named_tests_are_green_without_the_changes() -> None:
    for test in sorted({n.test for n in NAMED.values()}):
        assert _pytest(test) == 0, test
