"""Lets blocking work be called where an event loop is running, such as in a notebook."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def outside_loop(work: Callable[[], T]) -> T:
    """Do the work here, or in a thread of its own where this one runs an event loop; wait for it either way."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    with ThreadPoolExecutor(1, thread_name_prefix="dataflare-call") as pool:
        return pool.submit(work).result()


__all__ = ["outside_loop"]
