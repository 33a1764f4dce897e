"""The contract of sources: splits, positions, exact replay."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from dataflare.batch import Batch, DataRecord, Position
from dataflare.component.contract import C, Component, MaybeAsync
from dataflare.errors import DataFlareError, WorkflowError
from dataflare.plan_words import EdgeKind
from dataflare.schema import Column, Schema

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from dataflare.component.lag import Lag
    from dataflare.component.spec import Replay


@dataclass(frozen=True, slots=True)
class Split:
    """A part of a source that one task reads alone.

    `id` is unique within the source and stable over restarts. `data` and `resume` are JSON values of the connector:
    what it needs to read the split, and where enumeration goes on after it (None: the engine counts splits).
    `bytes_estimate` feeds progress. `before` names a split that comes behind this one and others: it is handed out when
    they have been read, and after a barrier, so that none of their rows comes later than one of its own. Read for the
    first time, its `since` is {"splits": their last positions by id}.
    """

    id: str
    data: Mapping[str, Any] = field(default_factory=dict)
    resume: Position | None = None
    bytes_estimate: int = 0
    before: str = ""


@dataclass(frozen=True, slots=True)
class Stream:
    """One output of a source: the schema of its batches, what its rows mean, and their key.

    `codecs`: those of the spec in which all of its rows can be had as bytes that mean exactly this schema; `unjudged`:
    formats in which they can be had as bytes that nobody has looked at (`SourceConnector.decode`). `marks`: by column,
    what the source tells it by whatever its name is ("": nothing); with it, changes of columns are followed
    (`component.evolution`). None: each run takes the columns as they are.
    """

    schema: Schema
    kind: EdgeKind = EdgeKind.APPEND
    key: tuple[str, ...] = ()
    codecs: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()
    marks: Mapping[str, str] | None = None


class SourceConnector(Component[C]):
    """Where rows come from.

    Order: batches of a split are in order; splits are handed to tasks in order of enumeration. A position never goes
    back within a split (invariant 2). `read` stops when the split is exhausted; an endless source never stops.
    `waits` is True where the next batch may have to wait for data to arrive: the engine then answers barriers while
    a read is pending, and passes each batch on alone; of other sources it reads small batches on for a moment, and runs
    them as one. `tells_keys`: its streams may have keys that the settings do not name, as tables have primary keys.
    `bytes_read` is a running total for progress.
    """

    waits: bool = False
    tells_keys: ClassVar[bool] = False
    bytes_read: int = 0

    def declared(self) -> Mapping[str, Stream] | None:
        """Return the streams by output name if the settings alone tell them; touch nothing. None: ask `streams`."""
        return None

    def streams(self) -> MaybeAsync[Mapping[str, Stream]]:
        """Return the streams by output name; may open files and connections (called without `open`)."""
        declared = self.declared()
        return self._sampled() if declared is None else declared

    def observed(self) -> MaybeAsync[Mapping[str, Stream] | None]:
        """Return the streams as they really are where the settings declare others; for `validate --level sample`.

        None: `streams` tells what is there anyway, or nobody can look.
        """
        return None

    def replays(self) -> Replay:
        """Return what the same position gives again with these settings; asked while planning, touches nothing."""
        replay: Replay = type(self).spec.traits.replay
        return replay

    def compares(self, stream: str, column: Column, sign: str) -> bool:
        """Tell whether the source can compare a column with values exactly as the engine does; asked after `streams`.

        `sign` is one of `= <> < <= > >= in between like null` (`expression.predicate`). Only where the spec has
        `pushdown` of `predicate` may the hint of that name come, and then only with such comparisons.
        """
        del stream, column, sign
        return False

    def keeps_open(self) -> bool:
        """Tell whether a split that was read to its end goes on there in the next run, from its last position."""
        return False

    def finds_streams(self) -> bool:
        """Tell whether its settings name streams by a pattern, so that some may come and go; touches nothing."""
        return False

    def unfit_streams(self) -> Mapping[str, DataFlareError]:
        """Return why streams that a pattern of the settings means cannot be had, once `streams` has looked.

        They are left out of a workflow that has gone on without them; one that begins refuses those that are not among
        its streams.
        """
        return {}

    def comes_again(self) -> bool:
        """Tell whether rows come in more runs than one though nothing about them changed; asked while planning."""
        return False

    def remembers(self, key: Sequence[str]) -> Sequence[str] | None:
        """Return the columns whose values positions hold; None: any may be among them. Asked while planning.

        `key` tells the rows of a stream apart. Where such a column is tagged, nobody is shown a position (invariant 7).
        """
        del key
        return None

    def splits(self, since: Position | None) -> Iterable[Split] | AsyncIterator[Split]:
        """Yield the splits after `since`, the `resume` of the last one handed out (None: from the start).

        A source that sets no `resume` yields all splits in a stable order; the engine skips those handed out.
        """
        del since
        return [Split("all")]

    @abstractmethod
    def read(
        self, split: Split, since: Position | None, until: Position | None
    ) -> Iterator[Batch] | AsyncIterator[Batch]:
        """Yield the batches of a split after `since` (None: all), up to and including `until` (None: to the end).

        Every batch carries the position after it. Raises SchemaChangedError where what comes next has other columns
        than planned: what was yielded is committed, the workflow is planned anew, and reading goes on from there.
        """

    def decode(self, batch: Batch) -> Iterable[Batch]:
        """Return the rows of a batch that was yielded as bytes nobody has judged, the bad ones as errors.

        Called with the last batch that was yielded (by `hints.unjudged`), where what comes next cannot read all of
        them: in a worker thread, or, a few rows of a source that `waits`, on the event loop.
        """
        raise TypeError(f"{type(self).__name__} yields no such bytes as these: {batch.stream}")

    def ends(self) -> MaybeAsync[Mapping[str, Position]]:
        """Return where an endless source ends at this moment: the last position of each split, by split id.

        A run that catches up (`--until now`) asks once, after `open`, reads every split up to there, and goes on from
        there the next time. Splits that are not named end by themselves, as all of a bounded source do (the default).
        Raises WorkflowError where an endless source cannot tell.
        """
        return {}

    def lag(self) -> Lag | None:
        """Return how far reading is behind what feeds the source, as it knew last; None: it cannot tell.

        Asked about once a second, from any thread, between `open` and `close`: it must not wait for anything.
        """
        return None

    def _sampled(self) -> Mapping[str, Stream]:
        """Return the one stream that the first batch shows; for sources whose `read` needs no `open`."""
        splits = self.splits(None)
        for split in splits if isinstance(splits, Iterable) else ():
            read = self.read(split, None, None)
            for batch in read if isinstance(read, Iterable) else ():
                return {batch.stream: Stream(Schema.from_arrow(batch.rows.schema))}
        raise WorkflowError(
            f"{type(self).__name__} does not tell its columns, and has no first batch that shows them",
            hint="let it override `declared` or `streams`",
        )

    def settled_place(self) -> MaybeAsync[str | None]:
        """Return a place in the log, as `_tx` tells it: what reading from now on does not see is committed behind it.

        May wait for transactions of others; called after `open`. None: the source has no log. For `dataflare refresh`.
        Raises ExternalError where others take too long.
        """
        return None

    def kept(self, position: Position) -> Position:
        """Return the position that a checkpoint keeps of the split that is open; asked at a barrier, between two reads.

        What a source has to remember of its rows beyond a position it leaves in `context.segments`, here and between
        batches: an entry `segment` anywhere in a position or a split names one, which is kept as long as it is named.
        """
        return position

    def acknowledge(self, positions: Mapping[str, Position]) -> MaybeAsync[None]:
        """Learn that everything up to these positions (by split id) is committed everywhere (invariant 1)."""


@dataclass(frozen=True, slots=True)
class Reread:
    """What is asked of a source that follows changes: to read a table again, while its changes go on.

    `id` tells requests apart; `stream` is an output; `low` and `high` are keys, both included (None: from the first,
    to the last), as JSON values of the connector; of a key of several columns each may be its first ones alone. `where`
    is the form of a condition (`sql.predicate`), None: all rows of that range.
    """

    id: str
    stream: str
    low: list[Any] | None = None
    high: list[Any] | None = None
    where: list[Any] | None = None


@runtime_checkable
class Rereads(Protocol):
    """What a source can that reads tables again beside their changes (`dataflare cdc resnapshot`).

    Rows come as `_op` `read`, behind all changes that they hold and before all that they do not hold, so that no row
    goes back in time. A request may come more than once, also after it was done.
    """

    def reread(self, table: str, bounds: tuple[str | None, str | None], where: str = "") -> Reread:
        """Return the request, without an id, for a table, texts of the first and the last key, and a condition.

        Called as those of `Administers`; raises WorkflowError where there is no such table, or where it cannot be.
        """
        ...

    def ask(self, requests: Sequence[Reread]) -> None:
        """Take in all requests that are not done, on each instance that is open; those that are known go on."""
        ...

    def answered(self) -> Sequence[str]:
        """Return the ids of requests that are read and committed; called after `acknowledge`. They are removed then."""
        ...


@runtime_checkable
class Administers(Protocol):
    """What a source can that keeps something on its server between runs, such as the slot of a log (`dataflare cdc`).

    Called as `check` is: without `open`, with a context, and with secrets in the settings; the workflow may run
    meanwhile. Blocking. It is asked of nodes of mode `cdc` and `hybrid` alone.
    """

    def standing(self, opened: Sequence[tuple[Split, Position | None]]) -> Mapping[str, Any]:
        """Return how that stands, as JSON values by name, in the order in which they are shown; changes nothing.

        `opened` are the splits that are open in the newest epoch, and where each stands. Names that end with `_bytes`
        are sizes. Every source tells `tables` (a list), `behind_bytes` (what is not read yet; null: not known) and
        `reader` (who reads now; null: nobody).
        """
        ...

    def leftovers(self) -> Sequence[str]:
        """Return in words what runs of this workflow made on the server and is there still; changes nothing.

        Raises WorkflowError where what is there was not made by this workflow, UnavailableError where it is read now.
        """
        ...

    def drop(self) -> Sequence[str]:
        """Remove all of it, and return the same words; raises what `leftovers` raises, and nothing is gone then."""
        ...


@dataclass(frozen=True, slots=True)
class TableStanding:
    """How a table stands to the settings of a source, and to the state of its workflow.

    `table` is its whole name, `stream` the output by which the settings name it (None: they do not). `followed`: the
    state follows it. `is_there`: there is such a table. `lines`: what to write into the settings so that they name it,
    or no more. `statement`: what the owner of a publication runs once it is followed no more; empty where there is
    nothing to do.
    """

    table: str
    stream: str | None
    followed: bool
    is_there: bool
    lines: str
    statement: str = ""


@runtime_checkable
class TakesTables(Protocol):
    """What a source can that takes in tables and leaves others when its workflow is planned anew, where it stands.

    Called as those of `Administers` (`dataflare cdc add-table`, `remove-table`); tables that stay are not read again.
    """

    def table_standing(self, table: str, opened: Sequence[tuple[Split, Position | None]]) -> TableStanding:
        """Tell how a table stands; changes nothing. `opened` is that of `Administers.standing`."""
        ...

    def admit(self, table: str) -> None:
        """Look whether changes of a table can be followed, and let the server tell them where this user may say so.

        Raises WorkflowError or UnavailableError with the cure where it cannot be followed, or where somebody else has
        to let the server tell of it.
        """
        ...


class RecordSource(SourceConnector[C]):
    """For authors who think in records: one split, one generator of (record, position after it)."""

    batch_rows_max = 1000

    @abstractmethod
    def records(self, since: Position | None) -> Iterator[tuple[DataRecord, Position]]:
        """Yield records with the position after each."""

    def streams(self) -> MaybeAsync[Mapping[str, Stream]]:
        """Infer the schema from the first records."""
        import itertools

        import pyarrow as pa

        sample = [r for r, _ in itertools.islice(self.records(None), self.batch_rows_max)]
        return {"": Stream(Schema.from_arrow(pa.Table.from_pylist(sample).schema))}

    def read(self, split: Split, since: Position | None, until: Position | None) -> Iterator[Batch]:
        """Gather records into batches."""
        del split, until
        schema = self.context.schemas[""].to_arrow()
        rows: list[DataRecord] = []
        position = since
        for record, position in self.records(since):
            rows.append(record)
            if len(rows) >= self.batch_rows_max:
                yield Batch.of(rows, schema=schema, position=position)
                rows = []
        if rows:
            yield Batch.of(rows, schema=schema, position=position)
