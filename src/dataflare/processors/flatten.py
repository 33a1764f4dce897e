"""Turns the fields of structs into columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from dataflare.batch import RESERVED
from dataflare.changes import BEFORE
from dataflare.component import Config, Field, processor
from dataflare.errors import WorkflowError
from dataflare.expression.session import quoted
from dataflare.expression.step import RowProcessor, Step
from dataflare.plan_words import EdgeKind
from dataflare.processors.columns import known
from dataflare.schema import arrow_type

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from dataflare.schema import Schema


class FlattenConfig(Config):
    """Which structs are opened, how deep, and what their fields are called."""

    columns: list[str] = Field([], description="The columns to flatten; empty: all structs.")
    depth: int = Field(0, ge=0, description="How many levels of structs to open; 0: all.")
    separator: str = Field("_", description="What stands between the names of a path: `user_address_city`.")
    names: Literal["path", "leaf"] = Field(
        "path", description="A column is called by its whole path, or by the name of its field alone."
    )
    lists: Literal["keep", "json"] = Field(
        "keep", description="Whether lists and maps stay as they are or become JSON text."
    )


@processor(
    "flatten",
    accepts=(EdgeKind.APPEND, EdgeKind.UPSERT, EdgeKind.RETRACT),
    counts=("skipped", "dead"),
    examples=[{"columns": ["user"], "separator": "."}, {"depth": 1, "lists": "json"}],
)
class Flatten(RowProcessor[FlattenConfig]):
    """Turns the fields of structs into columns.

    The columns stand where the struct stood, in the order of its fields. The fields of a struct that is null are null.
    Two columns of one name are an error. Structs inside lists stay: `explode` the list first.
    Of changes `_before`, the former row, goes.
    """

    def step(self, inputs: Sequence[Schema]) -> Step:
        """Return the select list."""
        schema, config = inputs[0], self.config
        known(config.columns, schema.names, "columns")
        made: dict[str, str] = {}
        for column in schema:
            wanted = column.name not in RESERVED and (not config.columns or column.name in config.columns)
            kind = arrow_type(column.type) if wanted else None
            for path, sql in self._leaves(kind, (column.name,), quoted(column.name)):
                leaf = config.names == "leaf" and len(path) > 1
                name = path[-1] if leaf else config.separator.join(path)
                if name in made:
                    raise WorkflowError(
                        f"two columns would be called {name!r}",
                        hint="choose another separator, or rename one of them in a mapping before",
                    )
                made[name] = sql
        if any(sql != quoted(name) for name, sql in made.items()):  # the former row is not flattened
            made.pop(BEFORE, None)
        return Step(self.context.node, tuple(made.items()))

    def _leaves(
        self, kind: pa.DataType | None, path: tuple[str, ...], sql: str
    ) -> Iterator[tuple[tuple[str, ...], str]]:
        """Yield the paths to what is not opened any further, and the SQL of each; None: nothing is."""
        import pyarrow as pa

        deep = self.config.depth and len(path) > self.config.depth
        if kind is not None and pa.types.is_struct(kind) and not deep:
            for field in kind:
                yield from self._leaves(field.type, (*path, field.name), f"{sql}.{quoted(field.name)}")
        elif kind is not None and self.config.lists == "json" and pa.types.is_nested(kind):
            if pa.types.is_struct(kind):
                yield path, sql
            else:
                yield path, f"case when {sql} is not null then cast(to_json({sql}) as varchar) end"
        else:
            yield path, sql


__all__ = ["Flatten", "FlattenConfig"]
