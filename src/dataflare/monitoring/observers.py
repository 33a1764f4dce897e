"""Tells every observer of a run what happens, and drops the one that fails rather than the run."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from dataflare.monitoring.events import Noticed

if TYPE_CHECKING:
    from dataflare.monitoring.events import Event, Observer


class Observers:
    """An observer that tells others, in their order, one event at a time; itself never raises.

    An observer that raises is dropped; those that remain are told so, once, by a `Noticed` event.
    """

    def __init__(self, *observers: Observer) -> None:
        """Tell these."""
        self._observers = list(observers)
        self._lock = threading.RLock()

    def __call__(self, event: Event) -> None:
        """Tell all. May be called from any thread; an event that an observer causes is told after its cause."""
        with self._lock:
            for observer in list(self._observers):
                self._tell(observer, event)

    def _tell(self, observer: Observer, event: Event) -> None:
        try:
            observer(event)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run does not depend on being watched
            if observer in self._observers:
                self._observers.remove(observer)
                name = getattr(observer, "__qualname__", type(observer).__qualname__)
                what = f"the observer {name} failed and is told nothing more: {type(error).__name__}: {error}"
                self(Noticed(event.workflow, "observer.dropped", what))
