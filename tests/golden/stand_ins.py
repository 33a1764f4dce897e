"""Small components with the settings and outputs that workflows name; they move no rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from dataflare.component import (
    Config,
    DestinationConnector,
    Duration,
    Field,
    Processor,
    Registry,
    Size,
    SourceConnector,
    Stream,
    destination,
    processor,
    source,
    state_store,
)
from dataflare.component.store import StateStore
from dataflare.errors import WorkflowError
from dataflare.expression.step import RowProcessor, Step
from dataflare.plan_words import EdgeKind, Mechanism
from dataflare.schema import Column, Schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dataflare.batch import Batch

TABLES = {
    "orders": Schema.of(
        {
            "id": "int64",
            "email": "string",
            "status": "string",
            "amount": "string",
            "customer_id": "int64",
            "internal_note": "string",
        }
    ),
    "customers": Schema.of({"id": "int64", "segment": "string"}),
}


class CdcConfig(Config):
    slot_name: str = "dataflare"
    publication_name: str = "dataflare"
    heartbeat: Duration = 10.0
    max_wal: Size = 1 << 30


class IncrementalConfig(Config):
    cursor_field: str
    cursor_value: Any = None


class PostgresSourceConfig(Config):
    url: str = ""
    host: str = "localhost"
    port: int = Field(5432, ge=1, le=65535)
    database: str = ""
    user: str = ""
    password: str = ""
    table: str = ""
    tables: list[str] = Field([], description="The tables, as schema.table.")
    cdc: CdcConfig | None = None
    incremental: IncrementalConfig | None = None


@source("postgres", replay="exact", modes=("full", "incremental", "cdc", "hybrid"))
class PostgresSource(SourceConnector[PostgresSourceConfig]):
    """Reads tables."""

    def declared(self) -> Mapping[str, Stream] | None:
        tables = self.config.tables or [self.config.table]
        kind = EdgeKind.UPSERT if self.context.mode in ("cdc", "hybrid") else EdgeKind.APPEND
        found = {}
        for table in tables:
            name = table.rpartition(".")[2]
            if name not in TABLES:
                return None
            found[name] = Stream(TABLES[name], kind, ("id",))
        return found

    def read(self, split: Any, since: Any, until: Any) -> Iterator[Batch]:
        raise NotImplementedError


class FileSourceConfig(Config):
    path: str = Field(description="A path or a pattern.")
    format: Literal["csv", "json", "jsonl", "parquet"] = "csv"
    columns: dict[str, str] = Field({}, description="Types by column.")
    delimiter: str = ","
    header: bool = True


@source("file", replay="exact", modes=("full", "incremental"), pushdown=("columns",))
class FileSource(SourceConnector[FileSourceConfig]):
    """Reads files; without columns it must be asked."""

    asked = 0

    def declared(self) -> Mapping[str, Stream] | None:
        return {"": Stream(Schema.of(self.config.columns))} if self.config.columns else None

    def streams(self) -> Mapping[str, Stream]:
        path = self.context.path(self.config.path)
        if not path.exists():
            raise WorkflowError(f"there is no file {path.name}", hint="check the path")
        names = path.read_text().splitlines()[0].split(self.config.delimiter)
        return {"": Stream(Schema.of(dict.fromkeys(names, "string")))}

    def read(self, split: Any, since: Any, until: Any) -> Iterator[Batch]:
        raise NotImplementedError


@source("queue", replay="redelivers", modes=("streaming",))
class Queue(SourceConnector[Config]):
    """Sends lines again until they are acknowledged."""

    async def streams(self) -> Mapping[str, Stream]:
        return {"": Stream(Schema.of({"line": "string"}))}

    def read(self, split: Any, since: Any, until: Any) -> Iterator[Batch]:
        raise NotImplementedError


class MappingConfig(Config):
    set: dict[str, str] = Field({})
    drop: list[str] = Field([])
    keep: list[str] | None = None
    mappings: list[dict[str, str]] = Field([])


@processor("mapping", accepts=(EdgeKind.APPEND, EdgeKind.UPSERT))
class Mapping_(RowProcessor[MappingConfig]):  # noqa: N801
    """Sets and drops columns."""

    def step(self, inputs: Sequence[Schema]) -> Step:
        names = [n for n in (self.config.keep or inputs[0].names) if n not in self.config.drop]
        for name in self.config.drop:
            if name not in inputs[0]:
                raise WorkflowError(f"there is no column {name!r} to drop")
        columns = dict.fromkeys(names, "")
        columns = {n: f'"{n}"' for n in columns} | self.config.set
        columns |= {m["destination"]: f"lower({m['source']})" for m in self.config.mappings}
        return Step(self.context.node, tuple(columns.items()))


class FilterConfig(Config):
    condition: str


@processor("filter", accepts=(EdgeKind.APPEND, EdgeKind.UPSERT))
class Filter(RowProcessor[FilterConfig]):
    """Keeps rows."""

    def step(self, inputs: Sequence[Schema]) -> Step:
        return Step(self.context.node, None, self.config.condition)


class _Passing(Processor[Any]):
    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        yield batch


class RouteConfig(Config):
    routes: dict[str, str]
    match: Literal["first", "all"] = "first"


@processor("route", accepts=(EdgeKind.APPEND, EdgeKind.UPSERT))
class Route(_Passing, Processor[RouteConfig]):
    """Sends rows to named outputs."""

    def outputs(self, inputs: Sequence[Schema]) -> Mapping[str, Schema]:
        return dict.fromkeys(self.config.routes, inputs[0])


class EnrichmentConfig(Config):
    keys: dict[str, str]
    take: list[str]
    miss: Literal["keep", "drop", "fail"] = "keep"


@processor("enrichment", accepts=(EdgeKind.APPEND, EdgeKind.UPSERT))
class Enrichment(_Passing, Processor[EnrichmentConfig]):
    """Adds columns of a second input."""

    def outputs(self, inputs: Sequence[Schema]) -> Mapping[str, Schema]:
        return {"": Schema((*inputs[0], *(inputs[1][n] for n in self.config.take)))}


class MaskConfig(Config):
    rules: dict[str, dict[str, str]]


@processor("mask", accepts=(EdgeKind.APPEND, EdgeKind.UPSERT))
class Mask(_Passing, Processor[MaskConfig]):
    """Masks tagged columns."""

    masks = True

    def outputs(self, inputs: Sequence[Schema]) -> Mapping[str, Schema]:
        kept = (
            Column(c.name, c.type, c.nullable, tuple(t for t in c.tags if t not in self.config.rules))
            for c in inputs[0]
        )
        return {"": Schema(tuple(kept))}


class WindowConfig(Config):
    type: Literal["tumbling"]
    size: Duration
    lateness: Duration = 0.0


class AggregateConfig(Config):
    group_by: list[str] = Field([])
    window: WindowConfig | None = None
    aggregations: dict[str, str] | list[dict[str, str]]


@processor("aggregate", counts=("absorbed",))
class Aggregate(_Passing, Processor[AggregateConfig]):
    """Counts by key."""

    def keys(self) -> tuple[str, ...]:
        return tuple(self.config.group_by)

    def outputs(self, inputs: Sequence[Schema]) -> Mapping[str, Schema]:
        groups = [inputs[0][n] for n in self.config.group_by]
        wanted = self.config.aggregations
        names = [w["destination"] for w in wanted] if isinstance(wanted, list) else list(wanted)
        made = {"": Schema((*groups, *(Column(n, "int64") for n in names)))}
        return made | ({"late": inputs[0]} if self.config.window else {})


@processor("union")
class Union(_Passing, Processor[Config]):
    """Brings inputs of the same columns together."""

    def outputs(self, inputs: Sequence[Schema]) -> Mapping[str, Schema]:
        if any(i.names != inputs[0].names for i in inputs):
            raise WorkflowError("the inputs have different columns", hint="map them to the same columns first")
        return {"": inputs[0]}


class TableConfig(Config):
    url: str = ""
    host: str = "localhost"
    database: str = ""
    user: str = ""
    password: str = ""
    table: str
    key: list[str] = Field([])


@destination(
    "postgres",
    mechanisms=(Mechanism.DIRECT, Mechanism.STAGED),
    write_modes=("append", "overwrite", "merge", "insert_only"),
)
class Table(DestinationConnector[TableConfig]):
    """Writes a table."""

    def write(self, batch: Batch) -> None:
        raise NotImplementedError


class FileDestinationConfig(Config):
    path: str
    format: Literal["csv", "jsonl", "parquet"] = "jsonl"
    delimiter: str = ","
    header: bool = True


@destination("file", mechanisms=(Mechanism.TWO_PHASE,), write_modes=("append", "overwrite"), parallel=True)
class Files(DestinationConnector[FileDestinationConfig]):
    """Writes files."""

    def write(self, batch: Batch) -> None:
        raise NotImplementedError


@destination("stdout")
class Stdout(DestinationConnector[Config]):
    """Shows rows."""

    def write(self, batch: Batch) -> None:
        raise NotImplementedError


class StateConfig(Config):
    path: str = "./.dataflare"


@state_store("sqlite")
class State(StateStore[StateConfig]):
    """Keeps nothing."""

    def create(self, key: str, value: bytes) -> bool:
        raise NotImplementedError

    put = get = keys = delete = lease = create  # type: ignore[assignment]


REGISTRY = Registry.of(
    *(PostgresSource, FileSource, Queue),
    *(Mapping_, Filter, Route, Enrichment, Mask, Aggregate, Union),
    *(Table, Files, Stdout, State),
)
