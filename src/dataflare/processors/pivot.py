"""Turns rows of names and values into columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.component import Field, processor
from dataflare.errors import WorkflowError
from dataflare.expression.bounds import VALUES_MAX
from dataflare.expression.check import Checker
from dataflare.expression.filtering import filtered
from dataflare.expression.session import quoted
from dataflare.expression.setting import Sql  # noqa: TC001 - pydantic reads it
from dataflare.expression.step import Step
from dataflare.expression.typed import typed
from dataflare.plan_words import EdgeKind
from dataflare.processors.aggregate import AggregateConfig, Grouped, GroupedConfig
from dataflare.processors.columns import Names, known
from dataflare.sql.quoting import literal

if TYPE_CHECKING:
    from dataflare.schema import Schema

COLUMNS_MAX = 1000


class PivotConfig(GroupedConfig):
    """Which rows become one, and which columns they get."""

    group_by: Names = Field([], description="Rows that are equal in these columns become one; none: all of them do.")
    column: str = Field(description="The column whose values become columns.")
    values: list[bool | int | str] | dict[str, str] = Field(
        min_length=1, description="Its values, in order; or values and the names of their columns: {Q1: first_quarter}."
    )
    value: Sql | dict[str, Sql] = Field(
        description="What stands in the columns: an SQL aggregate, such as sum(amount) or last(amount order by ts), or "
        "several by name, which make columns such as Q1_total."
    )
    values_max: int = Field(VALUES_MAX, ge=1, description="As in `aggregate`.")

    def as_aggregate(self, schema: Schema) -> AggregateConfig:
        """Return the aggregate that makes the columns; raise WorkflowError."""
        known([*self.group_by, self.column], schema.names, "group_by" if self.column in schema else "column")
        listed = self.values if isinstance(self.values, dict) else {value: str(value) for value in self.values}
        several = self.value if isinstance(self.value, dict) else {"": self.value}
        if len(listed) * len(several) > COLUMNS_MAX:
            raise WorkflowError(f"more than {COLUMNS_MAX:,} columns would be made", hint="list fewer values")
        made: dict[str, str] = {}
        checker = Checker()
        for value, name in listed.items():
            condition = f"{quoted(self.column)} = {self._written(value, schema)}"
            _, problems = typed([Step("values", condition=condition)], schema)
            if problems:
                raise problems[0].error
            for suffix, text in several.items():
                new = f"{name}_{suffix}" if suffix else name
                if new in made:
                    raise WorkflowError(f"column {new!r} is made twice", hint="give one of the values another name")
                made[new] = filtered(text, schema.names, condition, checker)
        return AggregateConfig(group_by=list(self.group_by), aggregations=made, values_max=self.values_max)

    def key_expressions(self) -> list[tuple[str, str | None]]:
        """Return the columns of `group_by`."""
        return [(name, None) for name in self.group_by]

    def _written(self, value: bool | int | str, schema: Schema) -> str:  # noqa: FBT001 - a value, no switch
        """Return a value as SQL of the column's type."""
        text = str(value).lower() if isinstance(value, bool) else str(value)
        return literal(text) if isinstance(value, str) or schema[self.column].type == "string" else text


@processor(
    "pivot",
    accepts=(EdgeKind.APPEND,),
    yields=EdgeKind.APPEND,
    counts=("absorbed", "expanded", "skipped", "dead"),
    examples=[
        {"group_by": ["shop"], "column": "quarter", "values": ["Q1", "Q2", "Q3", "Q4"], "value": "sum(sales)"},
        {
            "group_by": "device",
            "column": "sensor",
            "values": {"t": "temperature", "h": "humidity"},
            "value": {"newest": "last(reading order by ts)", "mean": "avg(reading)"},
        },
    ],
)
class Pivot(Grouped[PivotConfig]):
    """Turns rows of names and values into columns.

    Rows that are equal in the columns of `group_by` become one, with a column for each of `values`. It is an
    `aggregate`, each of whose results is of the rows with one value. Columns are typed when the workflow is planned,
    which is why the values are listed: rows with another one add nothing, but their group is there all the same. Where
    no row has a value its column is null, or 0 for counts. Results come when a bounded input has ended, sorted by
    `group_by`.
    """


__all__ = ["Pivot", "PivotConfig"]
