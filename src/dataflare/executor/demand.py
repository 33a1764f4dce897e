"""Tells when no more rows are wanted: behind a limit that is reached, so that sources need not read on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.executor.exchange import Outlet
    from dataflare.executor.pipeline import Pipeline
    from dataflare.executor.reader import SourceReader


class Demand:
    """What the operators of one task, and those that its outlets lead to, still want.

    A receiver says so with the credit that it gives back. Only a source that begins anew in the next run may stop: the
    rows that it did not read are not asked for again.
    """

    def __init__(self, outlets: Sequence[Outlet], *, stops: bool) -> None:
        """`stops`: the task's source may."""
        self._outlets, self._stops = outlets, stops

    def ends_at(self, pipeline: Pipeline, operator: str) -> bool:
        """Tell whether an operator wants no more rows."""
        return pipeline.sated(operator, self._sated())

    def look(self, pipeline: Pipeline, reader: SourceReader) -> None:
        """Let the source stop if nobody wants more of its rows."""
        if self._stops and pipeline.sated_behind([reader.node], self._sated()):
            reader.stop()

    def _sated(self) -> frozenset[int]:
        return frozenset(number for number, outlet in enumerate(self._outlets) if outlet.sated)


__all__ = ["Demand"]
