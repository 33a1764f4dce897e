"""Lets the first rows through."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dataflare.component import Config, Field, Processor, processor
from dataflare.plan_words import EdgeKind
from dataflare.processors.columns import same_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from dataflare.batch import Batch
    from dataflare.schema import Schema


class LimitConfig(Config):
    """How many rows pass."""

    rows: int = Field(ge=0, description="So many rows pass, in all.")
    offset: int = Field(0, ge=0, description="So many rows before them do not.")


@processor(
    "limit",
    status="beta",
    accepts=(EdgeKind.APPEND,),
    yields=EdgeKind.APPEND,
    counts=("absorbed",),
    parallel=False,
    deterministic=False,
    examples=[{"rows": 100}, {"rows": 20, "offset": 40}],
)
class Limit(Processor[LimitConfig]):
    """Lets the first rows through.

    These are the first that come; behind a `sort` they are the first in its order. How many have passed is in the
    checkpoint: a run that was killed goes on counting. A new run counts anew.

    When the last one has passed, sources of mode `full` stop to read, if all of their rows lead here, through mappings
    and filters at most.
    """

    tells_tags = True

    def __init__(self, config: LimitConfig) -> None:
        """Nothing has come yet."""
        super().__init__(config)
        self._came = 0

    def outputs(self, inputs: Sequence[Schema]) -> Mapping[str, Schema]:
        """Return the columns as they come."""
        return {"": same_columns(inputs)}

    def reads(self, inputs: Sequence[Schema], wanted: AbstractSet[str] | None) -> Sequence[AbstractSet[str] | None]:
        """Return what is wanted."""
        return [wanted] * len(inputs)

    def keeps_rows(self) -> bool:
        """Return that rows pass as they are."""
        return True

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        """Cut the batch where the limit is."""
        del port
        first = max(0, self.config.offset - self._came)
        last = max(0, self.config.offset + self.config.rows - self._came)
        self._came += batch.num_rows
        yield batch.replace(batch.rows.slice(first, max(0, last - first)))

    def sated(self) -> bool:
        """Tell whether the last row has passed."""
        return self._came >= self.config.offset + self.config.rows

    def snapshot(self) -> Mapping[int, bytes]:
        """Return how many rows have come."""
        return {self.context.key_group: json.dumps({"came": self._came}).encode()}

    def restore(self, state: Mapping[int, bytes]) -> None:
        """Take it back."""
        self._came = sum(json.loads(value)["came"] for value in state.values())


__all__ = ["Limit", "LimitConfig"]
