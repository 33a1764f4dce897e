"""Tells whoever listens that a plugin is compiled, which takes some seconds once: nobody should think that it hangs."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECONDS = 1.0
"""What takes no longer is not told."""
LISTENER: ContextVar[Callable[[str], None] | None] = ContextVar("listener", default=None)
"""Called in a thread of its own, with a line without its end; None: nobody listens."""


@contextmanager
def told(text: str, seconds: float | None = None) -> Iterator[None]:
    """Tell the listener of this context a text if what is done in here takes longer than so many seconds (SECONDS)."""
    listener = LISTENER.get()
    if listener is None:
        yield
        return
    done = threading.Event()

    def wait() -> None:
        if not done.wait(SECONDS if seconds is None else seconds):
            listener(text)

    waiting = threading.Thread(target=wait, name="patience", daemon=True)
    waiting.start()
    try:
        yield
    finally:
        done.set()
        waiting.join()


__all__ = ["LISTENER", "SECONDS", "told"]
