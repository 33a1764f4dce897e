"""Sends rows to named outputs by conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from dataflare.changes import OP
from dataflare.component import Config, Field, Processor, processor
from dataflare.errors import WorkflowError
from dataflare.expression.chain import Chain
from dataflare.expression.deletes import IS_GONE, Changes
from dataflare.expression.session import quoted
from dataflare.expression.setting import Sql  # noqa: TC001 - pydantic reads it
from dataflare.expression.step import Step
from dataflare.expression.typed import typed
from dataflare.plan_words import EdgeKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa

    from dataflare.batch import Batch
    from dataflare.schema import Schema

_ERRORS = "errors"


class RouteConfig(Config):
    """The outputs and their conditions, in order."""

    routes: dict[str, Sql] = Field(min_length=1, description="Names of outputs and the SQL conditions of their rows.")
    match: Literal["first", "all"] = Field(
        "first", description="Whether a row goes to the first output whose condition it meets, or to all of them."
    )


@processor(
    "route",
    accepts=(EdgeKind.APPEND, EdgeKind.UPSERT, EdgeKind.RETRACT),
    counts=("filtered", "expanded", "skipped", "dead"),
    examples=[{"routes": {"big": "amount > 1000", "normal": "true"}}],
)
class Route(Processor[RouteConfig]):
    """Sends rows to named outputs by conditions.

    Output `big` of node `split` is `split.big`. A row that meets no condition is filtered out; end with a route
    `true` to have them all. Conditions are evaluated in one statement; with `match: first`, a condition is not
    evaluated for rows that an earlier one took.

    Of changes (rows with `_op`) an update goes to its route, and to all others as a delete, as the row may have been
    there before. Deletes and truncations go everywhere.
    """

    knows_unchanged = True

    _chain: Chain | None = None

    def outputs(self, inputs: Sequence[Schema]) -> Mapping[str, Schema]:
        """Return the input's schema for each route."""
        schema = inputs[0]
        for name, condition in self.config.routes.items():
            if not name or "." in name or name == _ERRORS:
                raise WorkflowError(f"an output cannot be called {name!r}", hint="use a plain word, not `errors`")
            _, problems = typed([Step(self.context.node, condition=condition)], schema)
            if problems:
                raise problems[0].error
        return dict.fromkeys(self.config.routes, schema)

    def keeps_rows(self) -> bool:
        """Tell whether a row goes to one output at most."""
        return self.config.match == "first"

    def open(self) -> None:
        """Prepare the statement."""
        schema = self.context.schemas["0"]
        self.outputs([schema])
        passing = tuple((n, quoted(n)) for n in schema.names)
        made = self._columns(schema)
        self._names = [name for name, _ in made]
        self._chain = Chain(
            [Step(self.context.node, (*passing, *made), aside=tuple(self._names))],
            schema,
            policies=[self.context.on_error],
            budget=self.context.budget,
            epoch_time=self.context.epoch_time,
        )

    def _columns(self, schema: Schema) -> list[tuple[str, str]]:
        """Return the columns that say where rows go: the number of the route, or a yes or no for each.

        No condition is asked of a change that leaves no row.
        """
        conditions = [f"(\n{c}\n)" for c in self.config.routes.values()]
        asks_all, changes = self.config.match == "all", OP in schema
        gone = f"when {IS_GONE} then {'false' if asks_all else -1} " if changes else ""
        name = "__route"
        while any(n.lower().startswith(name) for n in schema.names):
            name += "_"
        if asks_all:
            plain = [(f"{name}{n}", f"coalesce({c}, false)") for n, c in enumerate(conditions)]
            return [(n, f"case {gone}else {c} end") for n, c in plain] if changes else plain
        cases = " ".join(f"when {c} then {n}" for n, c in enumerate(conditions))
        return [(name, f"case {gone}{cases} else -1 end")]

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        """Yield the rows of each route, in the order of the routes."""
        del port
        assert self._chain is not None
        result = self._chain.run(batch.rows)
        if self.context.on_error == "dead_letter":
            for rejected in result.rejected:
                yield batch.replace(rejected.as_errors(), _ERRORS)
        rows = result.rows.drop_columns(self._names)
        changes = Changes(rows) if OP in rows.schema.names else None
        for name, mask in zip(self.config.routes, self._masks(result.rows), strict=True):
            part = changes.where(mask) if changes is not None else rows.filter(mask)
            if part.num_rows:
                yield batch.replace(part, name)

    def _masks(self, rows: pa.Table) -> Iterator[pa.ChunkedArray]:
        import pyarrow.compute as pc

        if self.config.match == "all":
            yield from (rows.column(name) for name in self._names)
        else:
            number = rows.column(self._names[0])
            yield from (pc.equal(number, n) for n in range(len(self.config.routes)))

    def close(self) -> None:
        """Free the plan."""
        if self._chain is not None:
            self._chain.close()


__all__ = ["Route", "RouteConfig"]
