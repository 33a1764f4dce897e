"""Asks a lookup that may be down: again after a while, a bounded number of times, and says so once."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from dataflare.clock import wait_blocking
from dataflare.errors import DataFlareError, ExternalError, UnavailableError, WorkflowError
from dataflare.monitoring.events import Noticed

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataflare.component import Lookup, StageContext
    from dataflare.processors.enrichment_settings import EnrichmentConfig, LookupRetry

T = TypeVar("T")


def lookup_of(config: EnrichmentConfig, context: StageContext) -> Lookup[Any]:
    """Return the lookup that `from` names, with its context, not open; raise WorkflowError."""
    from dataclasses import replace

    from pydantic import ValidationError

    assert config.origin is not None
    if context.lookups is None:
        raise WorkflowError("from needs the components that are installed", hint="give `rows` instead")
    settings = dict(config.origin)
    cls = context.lookups(settings.pop("type"))
    try:
        found: Lookup[Any] = cls(cls.spec.config.model_validate(settings))
    except ValidationError as error:  # its text shows the values, which may come from the environment
        told = [
            f"{'.'.join(['from', *map(str, e['loc'])])}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors(include_url=False)
        ]
        known = ", ".join(cls.spec.config.model_fields)
        raise WorkflowError("; ".join(told), hint=f"settings of {cls.spec.name}: {known}") from None
    found.context = replace(context, schemas={}, outputs={})
    return found


class Patience:
    """One lookup, open or not, and whether it answered the last time."""

    def __init__(self, lookup: Lookup[Any], retry: LookupRetry, context: StageContext) -> None:
        """Open nothing yet."""
        self.lookup, self._retry, self._context = lookup, retry, context
        self._open = False
        self._down: DataFlareError | None = None
        self._rests_until = 0.0

    def ask(self, question: Callable[[Lookup[Any]], T]) -> T:
        """Return the answer; raise the last error where there is none.

        While it is known to be down, it is asked once, and then not before some time has passed.
        """
        clock = self._context.runtime.clock
        if self._down is not None and clock.monotonic() < self._rests_until:
            raise self._down
        attempts, seconds = (1 if self._down is not None else self._retry.attempts), self._retry.initial
        for number in range(attempts):
            if number:
                wait_blocking(min(seconds, self._retry.max) * self._context.runtime.random.uniform(0.5, 1.0))
                seconds *= 2
            try:
                if not self._open:
                    self._open = True
                    self.lookup.open()
                answer = question(self.lookup)
            except (ExternalError, UnavailableError) as error:
                self.close()
                last: DataFlareError = error
            else:
                self._tell_back()
                return answer
        self._tell_down(last)
        self._rests_until = clock.monotonic() + self._retry.max
        raise last

    def close(self) -> None:
        """Close the lookup; it is opened again when it is asked."""
        if self._open:
            self._open = False
            with suppress(ExternalError, UnavailableError):  # it is gone already
                self.lookup.close()

    def _tell_down(self, error: DataFlareError) -> None:
        if self._down is None:
            self._notice("lookup.down", f"the lookup does not answer: {error.what}")
        self._down = error

    def _tell_back(self) -> None:
        if self._down is not None:
            self._down = None
            self._notice("lookup.back", "the lookup answers again")

    def _notice(self, code: str, message: str) -> None:
        self._context.emit(Noticed(self._context.workflow, code, message, self._context.node))


__all__ = ["Patience", "lookup_of"]
