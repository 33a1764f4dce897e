"""Keeps the rows that meet a condition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.component import Config, Field, processor
from dataflare.errors import WorkflowError
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

    On an upsert edge it keeps a row by its newest state; what was written of it before it stopped to match stays.
    Changes (rows with `_op`) are refused for that reason: a filter over them would have to make deletes.
    """

    def step(self, inputs: Sequence[Schema]) -> Step:
        """Return the condition."""
        refuse_changes(inputs[0], "filter")
        return Step(self.context.node, condition=self.config.condition)


def refuse_changes(schema: Schema, what: str) -> None:
    """Raise WorkflowError for rows that are changes."""
    if "_op" in schema:
        raise WorkflowError(
            f"a {what} over changes is not there yet: a row that stops to match would have to become a delete",
            hint=f"read the table without changes (mode: full or incremental), or {what} behind the destination",
        )


__all__ = ["Filter", "FilterConfig", "refuse_changes"]
