"""Every change of the mutation list turns its test red; without the change the test is green."""

from __future__ import annotations

import os

import pytest

from tests.chaos.forked import Forked
from tests.mutations.named import NAMED

FAILED = 1


def _pytest(*arguments: str, mutation: str = "") -> int:
    given = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *arguments]
    environ = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return (
        Forked("pytest:console_main", *given, environ={**environ, "DATAFLARE_MUTATION": mutation})
        .completed(timeout=100)
        .returncode
    )


@pytest.mark.parametrize("name", NAMED)
def test_the_named_test_is_red_with_the_change(name: str) -> None:
    assert _pytest("-p", "tests.mutations.plugin", NAMED[name].test, mutation=name) == FAILED


def test_the_named_tests_are_green_without_the_changes() -> None:
    assert _pytest(*sorted({n.test for n in NAMED.values()})) == 0
