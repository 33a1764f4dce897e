"""What SQL sources share: tables as outputs, ranges of a key and windows of what is new as splits.

A connector says how to connect, what its settings name, how wide a range is, and how rows are read.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

import pyarrow as pa

from dataflare.batch import RESERVED, Batch
from dataflare.component import SourceConnector, Split, Stream
from dataflare.component.bad_rows import converted, with_bad_rows
from dataflare.component.deviations import Contract
from dataflare.component.judging import ERRORS, errors_of
from dataflare.errors import DataError, DataFlareError
from dataflare.schema import Column, Schema, arrow_type
from dataflare.sql.deleting import Deleting, as_stream, unheeded
from dataflare.sql.enumerating import each_table
from dataflare.sql.incremental import Conditions, Deletes, Finding, Incremental, check_incremental, windows
from dataflare.sql.patterns import find_tables
from dataflare.sql.predicate import comparisons
from dataflare.sql.reading import Closes, ReadRelation, completed
from dataflare.sql.settings import SqlSourceConfig
from dataflare.sql.windows import Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dataflare.batch import Position
    from dataflare.sql.hashing import Hashing
    from dataflare.sql.predicate import Form
    from dataflare.sql.reading import Values

SPLITS_MAX = 256
ALL = (1 << 63) - 1  # more rows than there are

Convert = Callable[[Any, str, str], "pa.Array"]
"""Makes an array of values, a type text and a name."""

Range = tuple[int, int, int]
"""The least and the greatest number, and how many of them make a part."""


C = TypeVar("C", bound=SqlSourceConfig)
S = TypeVar("S", bound=Closes)
R = TypeVar("R", bound=ReadRelation)


class SqlSource(SourceConnector[C], Generic[C, S, R]):
    """What SQL sources share."""

    tells_keys: ClassVar[bool] = True
    errors_schema: ClassVar[Schema] = ERRORS
    hashing: ClassVar[Hashing | None] = None
    """How the database computes hashes that others compute as well."""
    _session: S | None = None
    _deleting: Deleting | None = None
    _relations: Mapping[str, R] = MappingProxyType({})

    # ---- what a connector says ----------------------------------------------------------------------------------

    @abstractmethod
    def connected(self) -> S:
        """Return a new connection."""

    @abstractmethod
    def relations(self, session: S) -> Mapping[str, R]:
        """Return what the settings name, by output; raise WorkflowError for what is not there."""

    @abstractmethod
    def numbers(self, relation: R) -> tuple[str, Range] | None:
        """Return the name and the range of the numbers by which a relation is cut; None: it is one split."""

    @abstractmethod
    def rows(self, split: Split, since: Position | None, until: Position | None) -> Iterator[Batch]:
        """Yield the rows of a part after `since` up to `until`, in the order of its key, by `judged`."""

    @abstractmethod
    def asked(self, relation: R, names: Iterable[str], conditions: Conditions, ending: str) -> list[tuple[Any, ...]]:
        """Return values, as JSON, of rows by conditions and an ending; `names` are of the order `by_cursor`."""

    @abstractmethod
    def tables(self, session: S, schema: str) -> Sequence[str]:
        """Return the names of the tables of a schema ("": the usual one), without views and parts of other tables."""

    def shown(self, value: Any) -> Any:
        """Return a value as the database gave it in a form that JSON has, for a row that is put aside."""
        try:
            return value.as_py() if isinstance(value, pa.Scalar) else value
        except (OverflowError, ValueError):  # a year that Python has not
            return str(value.cast(pa.string()))

    @abstractmethod
    def groups(self, rows: pa.Table, keys: Sequence[str]) -> pa.ChunkedArray:
        """Return the key group (0..255) of each row."""

    def codecs(self, relation: R) -> tuple[str, ...]:
        """Return the codecs in which a relation can be had."""
        del relation
        return ()

    # ---- what the engine calls ----------------------------------------------------------------------------------

    def check(self) -> list[DataFlareError]:
        """Connect, and look at each table: whether it is there, has what the mode needs, and may be read."""
        session = self.connected()
        try:
            find_tables(self, session)
            found = [error for part in self._each_table() for error in part._wrong_with(session)]  # noqa: SLF001 - of its kind
            return found or self._wrong_with(session)
        finally:
            session.close()

    def streams(self) -> Mapping[str, Stream]:
        """Ask the database."""
        session = self.connected()
        try:
            find_tables(self, session)
            found = self.relations(session)
            self._check_mode(found)
        finally:
            session.close()
        self._relations = found
        if self._deletes is not None:
            return {name: as_stream(self._wanted(name, r), r.unique) for name, r in found.items()}
        return {name: Stream(self._wanted(name, r), key=r.unique, codecs=self.codecs(r)) for name, r in found.items()}

    def open(self) -> None:
        """Connect."""
        self._session = self.connected()
        find_tables(self, self._session, planned=True)
        self._relations = self.relations(self._session)
        self._check_mode(self._relations)
        self._contract = Contract(self.context, "table")
        if (deletes := self._deletes) is not None:
            keys = {name: relation.unique for name, relation in self._relations.items()}
            self._deleting = Deleting(self, keys, deletes.every)
        followed = self.context.known if self.config.columns is None else {}  # that is, their columns may change
        for name, relation in ((n, r) for n, r in self._relations.items() if n not in followed):
            self._compare(name or self.config.table or "the query", name, relation)

    def read(self, split: Split, since: Position | None, until: Position | None) -> Iterator[Batch]:
        """Yield the rows of a part; those that are not taken follow the others as batches of the stream `errors`."""
        if self._deleting is not None:
            return self._deleting.read(split, since)
        return self.good_rows(split, since, until)

    def good_rows(self, split: Split, since: Position | None, until: Position | None) -> Iterator[Batch]:
        """Yield the rows of a part, and those that are not taken, as `read` does where no deletes are found."""
        wanted = self._of_split(split, self._planned_schema(split.data["stream"]))

        def rows(since: Position | None, until: Position | None) -> Iterator[Batch]:
            left = self.context.hints.limit
            for batch in self.rows(split, since, until):
                yield completed(batch, wanted)
                if left is not None and batch.stream != "errors":
                    left -= batch.num_rows
                    if left <= 0:
                        return

        return with_bad_rows(rows, since, until)

    def kept(self, position: Position) -> Position:
        """Return a position with what is remembered of the rows before it."""
        return position if self._deleting is None else self._deleting.kept(position)

    def compares(self, stream: str, column: Column, sign: str) -> bool:
        """Ask what was found there: settings may declare columns, so that nobody looked yet."""
        relation = self._relations.get(stream)
        return relation is not None and self._compares(relation, column.name, column.type, sign)

    def finds_streams(self) -> bool:
        """Tell whether tables are named by patterns."""
        return self.config.by_pattern

    def comes_again(self) -> bool:
        """Tell whether all of a lag is read again."""
        return self.config.incremental is not None and self.config.incremental.comes_again

    def remembers(self, key: Sequence[str]) -> Sequence[str]:
        """Return the cursor and the key: positions are values of them."""
        cursor = [self.config.incremental.cursor_field] if self.config.incremental is not None else []
        return [*cursor, *key, *self.config.key]

    def splits(self, since: Position | None) -> Iterator[Split]:
        """Yield parts of each table; in mode incremental, a window of each table that has something new."""
        if self.context.mode == "incremental":
            yield from self._windows(since)
            return
        yield from each_table(self._relations, since, self.ranges)

    def close(self) -> None:
        """Disconnect."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    # ---- what connectors use ------------------------------------------------------------------------------------

    @property
    def session(self) -> S:
        """The open connection."""
        assert self._session is not None, "the source is not open"
        return self._session

    def relation(self, stream: str) -> R:
        """Return what a stream reads; the source is open."""
        return self._relations[stream]

    def condition(self, stream: str, form: Form) -> str:
        """Return a condition as the database compares it; "" where it does not compare so as the engine does."""
        relation = self._relations[stream]
        return relation.condition(form) if all(self._compares(relation, *c) for c in comparisons(form)) else ""

    def planned(self, split: Split) -> tuple[R, Schema]:
        """Return what a split reads, and the columns that are wanted of it."""
        name = split.data["stream"]
        relation = self._relations[name]
        schema = self._of_split(split, self._planned_schema(name))
        schema = schema.select(c for c in schema.names if c in relation.schema)
        if relation.order or len(split.data) > 1:  # else a position is a number of rows
            relation = replace(relation, where=self._where(name, relation))
        if "window" in split.data:
            settings = self._incremental()
            return replace(relation.by_cursor(settings.cursor_field), descending=settings.row_order == "desc"), schema
        return relation, schema

    def rows_wanted(self, most: int) -> int:
        """Return how many rows a statement is to read, which may be `most`: no more than will be wanted in all."""
        limit = self.context.hints.limit
        return most if limit is None else max(1, min(most, limit))

    def most_wanted(self, most: int) -> int:
        """Return how many rows of `most` one statement for all of them is to yield.

        All, where some may be put aside: others are wanted in their place.
        """
        sure = not self._contract.puts_aside() and self._contract.data_type != "discard"
        return self.rows_wanted(most) if sure else most

    def within(self, split: Split, relation: R, values: Values) -> list[str]:
        """Return what the rows of a split of mode incremental fulfil, of a relation as `planned` returns it."""
        if "window" in split.data:
            return list(Window.from_json(split.data["window"]).conditions(relation.order, values))
        return [f"{relation.at(self._incremental().cursor_field)} is null"] if "missing" in split.data else []

    def judged(
        self, columns: Sequence[Any], schema: Schema, convert: Convert, stream: str, position: Position
    ) -> Iterator[Batch]:
        """Yield a batch of columns as the database gave them, and before it the rows of it that are not taken.

        `convert` makes an array of (values, type text, name), and raises DataError where one does not fit.
        """
        aside, empty = self._contract.puts_aside(), self._contract.empties()
        arrays: list[Any] = []
        reasons: dict[int, str] = {}
        for values, column in zip(columns, schema, strict=True):
            if not (aside or empty):
                arrays.append(convert(values, column.type, column.name))
                continue
            bad: list[int] = []
            arrays.append(converted(values, arrow_type(column.type), partial(_made, convert, column), bad))
            if empty and column.nullable:
                self._contract.emptied(stream or self.config.table or "the query", column.name, column.type, len(bad))
            else:
                reasons |= {n: f"column {column.name!r} is not {column.type}" for n in bad if n not in reasons}
        rows = pa.table(arrays, names=schema.names)
        if reasons:
            if not aside:
                raise DataError(f"a row of {stream or 'the table'} does not fit: {next(iter(reasons.values()))}")
            lost = [{c.name: self.shown(v[n]) for c, v in zip(schema, columns, strict=True)} for n in reasons]
            yield Batch(errors_of(lost, list(reasons.values()), stream), "errors", position)
            rows = rows.filter(pa.array([n not in reasons for n in range(rows.num_rows)]))
        yield Batch(rows, stream, position)

    # ---- what was planned ---------------------------------------------------------------------------------------

    def _wanted(self, name: str, relation: R) -> Schema:
        """Return the columns to plan: the declared ones, or all."""
        if self.config.columns is None:
            return relation.schema
        declared = Schema.of(self.config.columns)
        Contract(self.context, "table").lacks(declared, relation.schema.names, name)
        return declared

    def _where(self, stream: str, relation: R) -> tuple[str, ...]:
        """Return the conditions that are pushed down; none where a column is not any more what it was."""
        form = self.context.hints.predicate
        told = self.condition(stream, form) if form is not None else ""
        return tuple(c for c in (told, relation.meant(self.hashing, self.context.hints.hashed)) if c)

    @staticmethod
    def _compares(relation: R, name: str, kind: str, sign: str) -> bool:
        same = relation.found.get(name) == kind and name in relation.schema and relation.schema[name].type == kind
        return same and relation.compares(name, sign)

    @staticmethod
    def _of_split(split: Split, schema: Schema) -> Schema:
        """Return the columns that a split is read for: all, or only those that it names."""
        return schema.select(split.data["only"]) if "only" in split.data else schema

    def _planned_schema(self, name: str) -> Schema:
        schema = self.context.schemas[name] if name in self.context.schemas else self._relations[name].schema
        if self._deletes is not None:
            return schema.select(c for c in schema.names if c not in RESERVED)
        hints = self.context.hints.columns
        return schema if hints is None else schema.select(c for c in schema.names if c in hints)

    def _compare(self, shown: str, name: str, relation: R) -> None:
        """Hold a table as it is now to the plan."""
        planned, there = self._planned_schema(name), relation.schema.names
        self._contract.tell_missing(self._contract.lacks(planned, there, shown), shown)
        if self.config.columns is not None or self.context.hints.columns is None:
            known = {*planned.names, *(self.config.columns or ())}
            extra = [c for c in there if c not in known]
            self._contract.has_more(extra, shown, tell=self.config.columns is None)
        held = [c for c in planned.names if c not in self.config.types]
        self._contract.check_types(planned.select(held), Schema.of(relation.found), shown)

    # ---- small things -------------------------------------------------------------------------------------------

    def _each_table(self) -> Iterator[Self]:
        """Yield a source for each of several tables, so that each tells what is wrong with it."""
        tables = self.config.tables
        for table in tables if len(tables) > 1 else ():
            part = type(self)(self.config.model_copy(update={"table": table, "tables": [], "types": {}}))
            part.context = self.context
            yield part

    def _wrong_with(self, session: S) -> list[DataFlareError]:
        try:
            found = self.relations(session)
            self._check_mode(found)
            for relation in found.values():
                names = ", ".join(relation.columns.values())
                session.run(f"select {names or '1'} from {relation.source} limit 0")  # noqa: S608 - quoted by relations
        except DataFlareError as error:
            return [error]
        return []

    def ranges(self, name: str, number: int, since: Position | None) -> Iterator[Split]:
        """Yield the ranges of table `number`; the last one leads to the next table."""
        found, resume = self.numbers(self._relations[name]), {"table": number + 1}
        if found is None:
            yield Split(name, {"stream": name}, resume)
            return
        kind, (low, high, width) = found
        if since is not None:
            low, high, width = since["low"], since["high"], since["width"]
        while low <= high:
            last = min(low + width - 1, high)
            more = {"table": number, "low": last + 1, "high": high, "width": width}
            yield Split(f"{name}:{low}", {"stream": name, kind: [low, last]}, more if last < high else resume)
            low = last + 1

    def _windows(self, since: Position | None) -> Iterator[Split]:
        def finding(name: str) -> Finding:
            relation = self._relations[name]
            shown = name or self.config.table or "the query"
            settings = self._incremental()
            ask = partial(self.asked, relation.by_cursor(settings.cursor_field))
            return Finding(settings, relation, ask, shown, self._contract.notice)

        found = windows(self._relations, since, finding)
        if self._deleting is not None:
            yield from self._deleting.splits(since, found)
            return
        for identity, name, data, resume in found:
            yield Split(identity, {"stream": name, **data}, unheeded(resume, since))

    @property
    def _deletes(self) -> Deletes | None:
        settings = self.config.incremental
        return settings.deletes if self.context.mode == "incremental" and settings is not None else None

    def _incremental(self) -> Incremental:
        assert self.config.incremental is not None
        return self.config.incremental

    def _check_mode(self, found: Mapping[str, R]) -> None:
        for name, relation in found.items() if self.context.mode == "incremental" else ():
            check_incremental(self.config.incremental, name, relation)


def _made(convert: Convert, column: Column, values: Any) -> pa.Array:
    return convert(values, column.type, column.name)


__all__ = ["ALL", "SPLITS_MAX", "SqlSource"]
