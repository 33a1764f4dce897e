"""Groups all rows of a bounded input: keys, and values over the rows of each key."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar

from dataflare.batch import Batch
from dataflare.component import Config, Field, Processor, processor
from dataflare.component.processor import TwoPhaseProcessor
from dataflare.errors import WorkflowError
from dataflare.expression.aggregate import AggregatePlan
from dataflare.expression.bounds import VALUES_MAX
from dataflare.expression.session import quoted
from dataflare.expression.setting import Sql  # noqa: TC001 - pydantic reads it
from dataflare.plan_words import EdgeKind
from dataflare.processors.aggregate_groups import HeldGroups

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dataflare.schema import Schema

ROWS_HELD_MAX = 524288
BATCHES_HELD_MAX = 64
BYTES_HELD_MAX = 32 << 20
_FUNCTIONS = {
    "count_distinct": "count(distinct {})",
    "distinct_count": "count(distinct {})",
    "average": "avg({})",
    "mean": "avg({})",
    "collect": "list({})",
    "approx_distinct": "approx_count_distinct({})",
    "quantile": "quantile_cont({}, {argument})",
}
_BY = {"first": "arg_min_null({}, {by})", "last": "arg_max_null({}, {by})"}


class AggregationMapping(Config):
    """One line of the older form: a function of a column."""

    destination: str = Field(description="The name of the result.")
    function: str = Field(description="Such as sum, avg, min, max, count, count_distinct, median, first, last.")
    source: str = Field("*", description="The column; `*` counts rows.")
    by: str | None = Field(None, description="The column that says which row is the first or the last one.")
    argument: int | float | None = Field(
        None, description="What else the function takes: 0.95 for a quantile, how many for min, max, approx_top_k."
    )

    def sql(self) -> str:
        """Return the expression; raise WorkflowError where `by` or `argument` do not go with the function."""
        source, by = (name if name in ("*", "") else _path(name) for name in (self.source, self.by or ""))
        word = self.function.lower()
        if by:
            if word not in _BY:
                raise WorkflowError(f"{self.function} takes no `by`", hint="use it with first or last")
            return _BY[word].format(source, by=by)
        text = _FUNCTIONS.get(word, f"{self.function}({{}}{'' if self.argument is None else ', {argument}'})")
        if ("{argument}" in text) != (self.argument is not None):
            needs = "needs an `argument`, such as 0.95" if self.argument is None else "takes no `argument`"
            raise WorkflowError(f"{self.function} {needs}", hint="see the page of aggregate")
        return text.format(source, argument=self.argument)


def _path(name: str) -> str:
    return ".".join(quoted(part) for part in name.split("."))


class GroupedConfig(Config):
    """Settings that mean an aggregate."""

    @abstractmethod
    def as_aggregate(self, schema: Schema) -> AggregateConfig:
        """Return the aggregate over rows of this schema; raise WorkflowError where there is none."""

    @abstractmethod
    def key_expressions(self) -> list[tuple[str, str | None]]:
        """Return names and expressions of the keys; None where the name is that of a column."""


class AggregateConfig(GroupedConfig):
    """What the groups are, and what is computed of each."""

    group_by: list[str | dict[str, Sql]] | dict[str, Sql] = Field(
        [], description="Key columns; an expression gets a name: {day: \"date_trunc('day', ts)\"}. Empty: one group."
    )
    aggregations: dict[str, Sql] | list[AggregationMapping] = Field(
        description='Results by name and the SQL expressions of aggregates that make them: {total: "sum(amount)"}.'
    )
    values_max: int = Field(
        VALUES_MAX,
        ge=1,
        description="The most values that one group may gather for one result: lists, distinct values, those behind "
        "exact medians, quantiles and modes; of joined texts the bytes. More of them end the run.",
    )
    window: Any = Field(None, description="Not yet.")

    def as_aggregate(self, schema: Schema) -> AggregateConfig:
        """Return itself."""
        del schema
        return self

    def key_expressions(self) -> list[tuple[str, str | None]]:
        """Return the keys of `group_by`."""
        if isinstance(self.group_by, dict):
            return list(self.group_by.items())
        pairs: list[tuple[str, str | None]] = []
        for key in self.group_by:
            pairs += [(key, None)] if isinstance(key, str) else list(key.items())
        return pairs

    def results(self) -> list[tuple[str, str]]:
        """Return names and expressions of the results."""
        if isinstance(self.aggregations, dict):
            return list(self.aggregations.items())
        return [(line.destination, line.sql()) for line in self.aggregations]


def plan_of(grouped: GroupedConfig, schema: Schema, context: Any = None) -> AggregatePlan:
    """Return the plan of an aggregate over rows of this schema; raise WorkflowError."""
    config = grouped.as_aggregate(schema)
    if config.window is not None:
        raise WorkflowError(
            "windows are not there yet: this version groups a bounded input as a whole",
            hint="leave `window` out and group by a time, such as {day: \"date_trunc('day', ts)\"}",
        )
    keys = []
    for name, text in config.key_expressions():
        if text is None and name not in schema:
            near = f"columns: {', '.join(schema.names)}; an expression needs a name: {{day: \"date_trunc('day', ts)\"}}"
            raise WorkflowError(f"group_by: there is no column {name!r}", hint=near)
        keys.append((name, quoted(name) if text is None else text))
    if context is None:
        return AggregatePlan(keys, config.results(), schema)
    surroundings = {"budget": context.budget, "epoch_time": context.epoch_time}
    return AggregatePlan(keys, config.results(), schema, values_max=config.values_max, **surroundings)


G = TypeVar("G", bound=GroupedConfig)


class PartialAggregate(Processor[GroupedConfig]):
    """The first half: turns batches into partial rows. It gathers batches for a while, as fewer groups come of many."""

    def __init__(self, config: GroupedConfig) -> None:
        """Hold nothing yet."""
        super().__init__(config)
        self._held: list[Batch] = []
        self._rows_held = self._bytes_held = 0
        self._bytes_held_max = BYTES_HELD_MAX
        self._plan: AggregatePlan | None = None

    def open(self) -> None:
        """Prepare the statements."""
        self._plan = plan_of(self.config, self.context.schemas["0"], self.context)
        share = 16 if self._plan.lists else 4  # the values of all of them become one list
        self._bytes_held_max = min(BYTES_HELD_MAX, self.context.budget.memory_bytes_max // share)

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        """Take a batch in; now and then yield partial rows, and as errors the rows that an expression fails for."""
        del port
        self._held.append(batch)
        self._rows_held += batch.num_rows
        self._bytes_held += batch.rows.nbytes
        full = self._rows_held >= ROWS_HELD_MAX or self._bytes_held >= self._bytes_held_max
        return self.flush() if full or len(self._held) >= BATCHES_HELD_MAX else ()

    def flush(self) -> Iterable[Batch]:
        """Absorb what is held."""
        import pyarrow as pa

        assert self._plan is not None
        held, self._held, self._rows_held, self._bytes_held = self._held, [], 0, 0
        if not held:
            return
        rows = pa.concat_tables([b.rows for b in held])
        partial, rejected = self._plan.partial(rows, self.context.node, self.context.on_error)
        if self.context.on_error == "dead_letter":
            for each in rejected:
                yield held[-1].replace(each.as_errors(), "errors")
        if partial.num_rows:
            yield Batch(partial)

    def finish(self) -> Iterable[Batch]:
        """Absorb what is held."""
        return self.flush()

    def close(self) -> None:
        """Free the plans."""
        if self._plan is not None:
            self._plan.close()


class FinalAggregate(Processor[GroupedConfig]):
    """The second half: gathers partial rows, and yields results at the end.

    What it holds is bounded by the number of groups, and of different values for distinct, and goes to disk; what it
    needs of memory is bounded by the largest group; without keys, different values are on disk, too.
    """

    def __init__(self, config: GroupedConfig) -> None:
        """Hold nothing yet."""
        super().__init__(config)
        self._groups: HeldGroups | None = None

    def keys(self) -> tuple[str, ...]:
        """Return the key columns."""
        return tuple(name for name, _ in self.config.key_expressions())

    def open(self) -> None:
        """Prepare the statements."""
        self._groups = HeldGroups(plan_of(self.config, self.context.schemas["0"], self.context), self.context)

    @property
    def held(self) -> HeldGroups:
        """The partial rows."""
        assert self._groups is not None, "it is not open"
        return self._groups

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        """Gather partial rows."""
        del port
        self.held.add(batch.rows)
        return ()

    def finish(self) -> Iterable[Batch]:
        """Yield the results, sorted by key; nothing is held after that."""
        for table in self.held.results():
            yield Batch(table)

    def snapshot(self) -> Mapping[int, bytes]:
        """Return the partial rows."""
        return self.held.state()

    def segments(self) -> Sequence[str]:
        """Return where they are."""
        return self.held.segments()

    def restore(self, state: Mapping[int, bytes]) -> None:
        """Take over partial rows."""
        self.held.restore(state)

    def close(self) -> None:
        """Free the plans."""
        if self._groups is not None:
            self._groups.close()


class Grouped(TwoPhaseProcessor[G]):
    """A processor that is an aggregate."""

    def outputs(self, inputs: Sequence[Schema]) -> Mapping[str, Schema]:
        """Return the keys and the results."""
        plan = plan_of(self.config, inputs[0])
        plan.close()
        return {"": plan.output}

    def keys(self) -> tuple[str, ...]:
        """Return the key columns."""
        return tuple(name for name, _ in self.config.key_expressions())

    def partial(self) -> Processor[Any]:
        """Return the first half."""
        return PartialAggregate(self.config)

    def final(self) -> Processor[Any]:
        """Return the second half."""
        return FinalAggregate(self.config)


@processor(
    "aggregate",
    accepts=(EdgeKind.APPEND,),
    yields=EdgeKind.APPEND,
    counts=("absorbed", "expanded", "skipped", "dead"),
    examples=[
        {"group_by": ["url"], "aggregations": {"visits": "count(*)", "visitors": "count(distinct user_id)"}},
        {"group_by": ["user_id"], "aggregations": [{"source": "amount", "destination": "total", "function": "sum"}]},
    ],
)
class Aggregate(Grouped[AggregateConfig]):
    """Groups all rows of a bounded input: keys, and values over the rows of each key.

    Results come when the input has ended, sorted by key; nulls are keys like others. Without `group_by` there is one
    result, also of no rows. Sums of integers are int64 and fail when they do not fit. A row whose expression fails is
    skipped under `on_error: null`, too. The first half runs beside each source and only partial results travel; what
    is kept of a group, and saved in checkpoints, is the state below.

    | aggregates | result | kept of a group |
    |---|---|---|
    | `count`, `sum`, `avg`, `min`, `max`, `bool_and`, `stddev`, `variance`, `corr` ... | exact | a few numbers |
    | `first`, `last`, `any_value` | by arrival | one value |
    | `first(v order by t)`, `last(v order by t)`, `arg_min(v, t)`, `arg_max(v, t)` | exact | one value |
    | `min(v, 10)`, `max(v, 10)`, `arg_max(v, t, 10)` | exact | as many values as are asked for |
    | `count(distinct v)`, `sum(distinct v)`, `list(distinct v)` | exact | each different value |
    | `approx_count_distinct(v)` | within 3 % as a rule, 10 % at most | 1 KiB |
    | `median(v)`, `quantile_cont(v, 0.95)`, `mode(v)`, `histogram(v)` | exact | all values |
    | `approx_quantile(v, 0.95)`, `approx_top_k(v, 5)` | approximate | some KiB |
    | `list(v)`, `list(v order by t)`, `string_agg(v, ',')`, `map_from_entries(list((k, v)))` | exact | all values |

    All values are `values_max` at most. Lists and texts without ORDER BY follow the order of arrival.
    """


__all__ = ["Aggregate", "AggregateConfig", "FinalAggregate", "Grouped", "GroupedConfig", "PartialAggregate"]
