"""A pytest plugin that plants one mutation of the list before anything is collected."""

from __future__ import annotations

import os

from tests.mutations.named import NAMED


def pytest_configure() -> None:
    """Plant what the environment names."""
    planted = NAMED[os.environ["DATAFLARE_MUTATION"]].plant()
    for each in planted if isinstance(planted, tuple) else (planted,):
        each.start()
