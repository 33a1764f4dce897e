"""Keeps the rows that meet a condition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.component import Config, Field, processor
from dataflare.expression.setting import Sql  # noqa: TC001 - pydantic reads it
from dataflare.expression.step import RowProcessor, Step
from dataflare.plan_words import EdgeKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.schema import Schema


class FilterConfig(Config):
    """Which rows stay."""

    condition: Sql = Field(description="An SQL condition over the input's columns; rows where it is null go, too.")


@processor(
    "filter",
    accepts=(EdgeKind.APPEND, EdgeKind.UPSERT, EdgeKind.RETRACT),
    counts=("filtered", "skipped", "dead"),
    examples=[{"condition": "status = 'paid' and amount > 0"}],
)
class Filter(RowProcessor[FilterConfig]):
    """Keeps the rows that meet a condition.

    Of changes (rows with `_op`) an update that does not meet it goes on as a delete, as the row may have met it before;
    deletes and truncations always go on. On an upsert edge without `_op` it keeps a row by its newest state: what was
    written of it before it stopped to match stays.
    """

    def keeps_rows(self) -> bool:
        """Return that rows pass as they are."""
        return True

    def step(self, inputs: Sequence[Schema]) -> Step:
        """Return the condition."""
        del inputs
        return Step(self.context.node, condition=self.config.condition)


__all__ = ["Filter", "FilterConfig"]
