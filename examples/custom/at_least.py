"""A processor in fifteen lines: vectorised, no I/O, no clock."""

from collections.abc import Iterable

import pyarrow.compute as pc

from dataflare import Batch, Config, Field, Processor, processor


class AtLeastConfig(Config):
    """Settings of `at_least`."""

    field: str = Field(description="Column to look at.")
    at_least: float = Field(description="Rows with a smaller value are left out.")


@processor("at_least", examples=[{"field": "value", "at_least": 4}])
class AtLeast(Processor[AtLeastConfig]):
    """Keeps the rows whose column is at least a bound."""

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        kept = pc.greater_equal(batch.rows[self.config.field], self.config.at_least)
        yield batch.replace(batch.rows.filter(kept))
