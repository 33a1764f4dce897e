"""What a row-wise node says to the expression engine: new columns, and a condition on rows."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflare.component import Processor
from dataflare.component.contract import C

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dataflare.batch import Batch
    from dataflare.errors import WorkflowError
    from dataflare.schema import Schema


@dataclass(frozen=True, slots=True)
class Step:
    """One row-wise node: first `condition` on its input, else the whole select list of its output.

    `columns` are (name, SQL expression) in output order; None passes every column through. A step has either
    columns or a condition, or neither (it passes rows on). Expressions are in DuckDB's dialect as the user wrote
    them, not yet checked. `nulls`: a value that fails becomes null (on_error: null). `problems` are mistakes in other
    settings: the columns are what they would be without those. `aside` are columns ("": the condition) that say
    something of the row and are no values of it: what they make of unchanged values is the affair of the node.
    """

    node: str
    columns: tuple[tuple[str, str], ...] | None = None
    condition: str | None = None
    nulls: bool = False
    problems: tuple[WorkflowError, ...] = ()
    aside: tuple[str, ...] = ()


class RowProcessor(Processor[C]):
    """A processor that is a step: the engine fuses neighbours into one prepared statement."""

    @abstractmethod
    def step(self, inputs: Sequence[Schema]) -> Step:
        """Return the step for these input schemas; raise WorkflowError where impossible."""

    def unjudged(self, schema: Schema) -> Sequence[str]:
        """Read JSON lines: the engine hands the bytes to the statement, not to `take`."""
        del schema
        return ("jsonl",)

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        """Run alone, unfused; the engine does not call this."""
        del batch, port
        raise TypeError("row steps run inside a chain")


__all__ = ["RowProcessor", "Step"]
