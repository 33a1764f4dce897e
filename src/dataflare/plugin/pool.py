"""Instances of one program that threads share: each is used by one thread at a time, and there are at most so many."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dataflare.errors import DataFlareError, Place, UnavailableError, WorkflowError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dataflare.plugin.guarded import GuardedInstance


class InstancePool:
    """Starts instances as they are needed, and hands out the one that was used last. Close it.

    `make` opens an instance. `replaceable`: one that cannot go on is dropped, and another one started; instances with
    state are not.
    """

    def __init__(
        self, make: Callable[[], GuardedInstance], file: str, *, instances_max: int, replaceable: bool = True
    ) -> None:
        """Start nothing yet; `file` is what errors call the plugin."""
        self._make, self._file, self._max, self._replaceable = make, file, instances_max, replaceable
        self._idle: list[GuardedInstance] = []
        self._count = 0
        self._closed = False
        self._broken = ""
        self._changed = threading.Condition()
        self._process = os.getpid()

    @contextmanager
    def borrowed(self, wait_seconds: float) -> Iterator[GuardedInstance]:
        """Give an instance to this thread, till the end of the block.

        Raises UnavailableError where all are in use for so long, WorkflowError where the pool is closed, its only
        instance has ended, or it is of another process.
        """
        instance = self._taken(wait_seconds)
        ended: DataFlareError | None = None
        try:
            yield instance
        except DataFlareError as error:  # what a plugin itself says is none: it can be called again
            ended = error
            raise
        finally:
            if ended is None:
                self._give_back(instance)
            else:
                self._drop(instance, ended)

    def close(self) -> None:
        """Close the instances: those that are in use when they come back."""
        with self._changed:
            self._closed = True
            idle, self._idle = self._idle, []
            self._count -= len(idle)
            self._changed.notify_all()
        for instance in idle:
            instance.close()

    def _taken(self, wait_seconds: float) -> GuardedInstance:
        if os.getpid() != self._process:  # no thread of it is here that would stop a call
            hint = "load it in the process that calls it"
            raise WorkflowError("the plugin was loaded before a fork", hint=hint, place=Place(self._file))
        with self._changed:
            there = self._changed.wait_for(
                lambda: self._closed or self._broken or self._idle or self._count < self._max, wait_seconds
            )
            place = Place(self._file)
            if self._closed:
                raise WorkflowError("the plugin is closed", hint="load it again", place=place)
            if self._broken:
                raise WorkflowError(
                    f"the plugin's only instance has ended, and its state with it: {self._broken}",
                    hint="load it again",
                    place=place,
                )
            if not there:
                raise UnavailableError(
                    f"all {self._max} instances of the plugin are in use for {wait_seconds:g} s",
                    hint="allow more of them, or wait longer",
                    place=place,
                )
            if self._idle:
                return self._idle.pop()
            self._count += 1
        made: GuardedInstance | None = None
        try:
            made = self._make()
        finally:
            if made is None:
                self._left()
        return made

    def _give_back(self, instance: GuardedInstance) -> None:
        with self._changed:
            kept = not self._closed
            if kept:
                self._idle.append(instance)
                self._changed.notify()
        if not kept:
            self._left()
            instance.close()

    def _drop(self, instance: GuardedInstance, why: DataFlareError) -> None:
        if not self._replaceable:
            with self._changed:
                self._broken = why.what
        self._left()
        instance.close()

    def _left(self) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()


__all__ = ["InstancePool"]
