"""The contract of processors: batches in, batches out, no I/O and no clock."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dataflare.batch import Batch, DataRecord
from dataflare.component.contract import C, Component

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from dataflare.plan_words import EdgeKind
    from dataflare.schema import Schema


EVERYWHERE = -1
"""The key group of state that is the same in all instances: the first one saves it, all get it back."""

SEGMENTED = -2
"""The key group of what an instance says of its segments, a JSON value: each one gets a JSON list of what all said."""


MILLION = 1_000_000
"""What is counted in `noted` is a whole number of millionths, so that sums are exact in any order."""


@dataclass(frozen=True, slots=True)
class Port:
    """How rows come in by one input.

    `keys`: rows that are equal in these columns meet in one instance. `everywhere`: each instance gets all the rows.
    `first`: its rows are wanted before those of inputs that are not: sources that feed only those wait, where they
    can, until the sources behind this one have ended. Rows may come early all the same. `together`: one instance gets
    all rows. `eased`: the processor may let rows go later than they came (`wait`), so nothing is fused with it.
    """

    keys: tuple[str, ...] = ()
    everywhere: bool = False
    first: bool = False
    together: bool = False
    eased: bool = False


class Processor(Component[C]):
    """What happens to rows on the way. Always called in a worker thread, one call at a time per instance.

    Outputs beside the default one are named by `Batch.stream`; rejected rows leave by the stream `errors`.

    `tells_tags`: `outputs` puts on each column the tags that its values may carry; a column keeps those of input
    columns of its name besides. Of other processors, every new column has the tags of all columns that come in.
    `masks`: `outputs` tells all tags, and what it leaves out is masked (invariant 7).
    `knows_unchanged`: it never takes for a value what stands in the place of one that a change left out (invariant 6);
    to others no such changes come.
    """

    tells_tags: ClassVar[bool] = False
    masks: ClassVar[bool] = False
    knows_unchanged: ClassVar[bool] = False

    def declared(self) -> bool:
        """Tell whether `outputs` needs only settings and inputs; else `look` comes before it, or nobody asks."""
        return True

    def look(self) -> None:
        """Find out what `outputs` needs besides; may open files and connections (called without `open`)."""

    def code(self) -> str:
        """Return what tells the code apart that its file holds now, where a run is to take another one in on its way.

        "": it stays. Once `look` was called, it is what that has found. Asked while planning, and between epochs of
        another instance, which has settings and a context; a task is told by its context which one was planned.
        """
        return ""

    def varies(self) -> str:
        """Say what else than its input the output depends on, such as a table that others change; "": on nothing."""
        return ""

    def granted(self) -> Sequence[str]:
        """Return in words what code of others that it runs in a sandbox may use outside of it; `plan` shows that."""
        return ()

    def yields(self, kind: EdgeKind) -> EdgeKind:
        """Return what its rows mean where those that come in mean `kind`; the default is what the spec says."""
        declared: EdgeKind | None = type(self).spec.traits.yields
        return declared or kind

    def outputs(self, inputs: Sequence[Schema]) -> Mapping[str, Schema]:
        """Return the schema of each output for these input schemas (by port); raise WorkflowError where impossible.

        Touches no file and no socket. The default passes the first input through.
        """
        return {"": inputs[0]}

    def remarks(self, inputs: Sequence[Schema]) -> Iterable[str]:
        """Yield what is right but may not be meant, for these input schemas: `validate` warns of it."""
        del inputs
        return ()

    def keeps_rows(self) -> bool:
        """Tell whether each row that it yields is one that came, as it was, and yielded once; asked while planning.

        It may leave rows out that it counts as such; in an epoch without such rows `ledger: hash` compares the others.
        """
        return False

    def keys(self) -> tuple[str, ...]:
        """Return the columns by which rows must meet in one task; empty: any split of the rows will do."""
        return ()

    def ports(self, count: int) -> Sequence[Port]:
        """Return how rows come in by each of `count` inputs (a lookup is the last); asked while planning."""
        return [Port(self.keys())] * count

    def reads(
        self, inputs: Sequence[Schema], wanted: AbstractSet[str] | None
    ) -> Sequence[AbstractSet[str] | None] | None:
        """Return the columns that it looks at, for each input, where only `wanted` of the default output are.

        None stands for all columns, and for all inputs; what is in doubt is all. Asked while planning, so that sources
        need not read the others; `outputs` is asked again with what is left, and has to give `wanted` as before.
        """
        del inputs, wanted
        return None

    @abstractmethod
    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        """Return zero or more batches for one that came in by input `port`."""

    def unjudged(self, schema: Schema) -> Sequence[str]:
        """Return the formats of bytes that it may `take` in the place of rows of this schema; asked while planning."""
        del schema
        return ()

    def take(self, batch: Batch) -> tuple[int, Iterable[Batch]] | None:
        """Return how many rows there are in bytes that nobody has judged, and what `process` would yield for them.

        None, with nothing done, where a row of them is bad or cannot be read exactly as the source would read it.
        """
        del batch
        return None

    def end(self, port: int) -> Iterable[Batch]:
        """Learn that no more rows come by input `port`, and return what was held for that.

        Called once for each input, before `finish`: as soon as the nodes before it have ended, or just before `finish`
        where they end only then. A resume calls it again, after `restore`, for inputs that had ended before.
        """
        del port
        return ()

    def sated(self) -> bool:
        """Tell whether no row that may still come changes anything; asked between calls of `process`.

        Sources that feed only such nodes, through mappings and filters at most, stop to read where they can.
        """
        return False

    def flush(self) -> Iterable[Batch]:
        """Return what is held only for speed; called at every barrier, before `snapshot`."""
        return ()

    def wait(self, seconds: float) -> float | None:
        """Return for how many seconds the rows that it holds back have to wait; None: it holds none back.

        Asked where a port is `eased`, after rows went in or out. `seconds` is the time, which never goes back. As long
        as rows wait, the task takes no others in; no thread waits for that, and those that wait at a barrier are state.
        """
        del seconds
        return None

    def release(self, seconds: float) -> Iterable[Batch]:
        """Return what may go on at this time; called when `wait` has said so, or earlier."""
        del seconds
        return ()

    def finish(self) -> Iterable[Batch]:
        """All inputs have ended: return what is still held."""
        return ()

    def holds(self) -> bool:
        """Tell whether rows may come out at `finish`; if not, its output has ended once all of its inputs have."""
        return type(self).finish is not Processor.finish

    def fates(self) -> Mapping[str, int] | None:
        """Return how rows were lost or made since the last call, by kinds of count; None: the engine can tell.

        The engine can, where rows are lost in one way only. Others tell `absorbed`, `filtered`, `skipped`, `expanded`.
        A kind `rule.NAME` is counted beside them: rows that a rule of that name is about.
        """
        return None

    def noted(self) -> Mapping[str, int]:
        """Return what else was counted since the last call, beside the rows: millionths, by name."""
        return {}

    def verdict(self, totals: Mapping[str, int]) -> None:
        """Look at the counts of the node over the whole run, and raise where the run must not succeed with them.

        Called once, without `open`, on an instance that has settings and a context, when all input has ended, before
        the last epoch is sealed. `totals` has the kinds of count, `in`, `out`, `dead` and so on.
        """

    def snapshot(self) -> Mapping[int, bytes]:
        """Return the state by key group (0..255, or EVERYWHERE); called at a barrier, between batches.

        What belongs to no key goes under `context.key_group`, one that this instance owns. What is large and does not
        change any more goes into `context.segments`, once, and its names under SEGMENTED.
        """
        return {}

    def segments(self) -> Sequence[str]:
        """Return the names of all segments that the last snapshot refers to: the checkpoint keeps them."""
        return ()

    def restore(self, state: Mapping[int, bytes]) -> None:
        """Take over the state of these key groups; called after `open`, before the first batch."""


class TwoPhaseProcessor(Processor[C]):
    """A processor whose first half may run beside each source and whose second half gathers by `keys`.

    Running `partial` on every part of the rows and `final` on all that they yield equals running it whole, which is
    what its own methods do.
    """

    _halves: tuple[Processor[Any], Processor[Any]] | None = None

    @abstractmethod
    def partial(self) -> Processor[Any]:
        """Return the first half; it holds no state over a barrier (see `flush`)."""

    @abstractmethod
    def final(self) -> Processor[Any]:
        """Return the second half, whose input is the output of `partial`."""

    def open(self) -> None:
        """Open both halves."""
        self._halves = self.partial(), self.final()
        for half in self._halves:
            half.context = self.context
            half.open()

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        """Let the first half take rows in."""
        return self._gathered(self._half(0).process(batch, port))

    def flush(self) -> Iterable[Batch]:
        """Let the second half have what the first one holds."""
        return self._gathered(self._half(0).flush())

    def finish(self) -> Iterable[Batch]:
        """Yield the results."""
        yield from self._gathered(self._half(0).finish())
        yield from self._half(1).finish()

    def snapshot(self) -> Mapping[int, bytes]:
        """Return the state; nothing is held by the first half after `flush`."""
        return self._half(1).snapshot()

    def segments(self) -> Sequence[str]:
        """Return what the state refers to."""
        return self._half(1).segments()

    def restore(self, state: Mapping[int, bytes]) -> None:
        """Take over the state."""
        self._half(1).restore(state)

    def close(self) -> None:
        """Close both halves."""
        for half in self._halves or ():
            half.close()

    def _half(self, number: int) -> Processor[Any]:
        assert self._halves is not None, "it is not open"
        return self._halves[number]

    def _gathered(self, out: Iterable[Batch]) -> Iterable[Batch]:
        """Give the second half what comes out of the first one; yield the rest."""
        for batch in out:
            if batch.stream:
                yield batch
            else:
                yield from self._half(1).process(batch)


class RecordProcessor(Processor[C]):
    """For authors who think in records: one record in; none, one or many out."""

    @abstractmethod
    def process_record(self, record: DataRecord) -> DataRecord | Iterable[DataRecord] | None:
        """Return the record, several, or None to drop it."""

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        """Apply `process_record` to each row."""
        del port
        rows: list[DataRecord] = []
        for record in batch.rows.to_pylist():
            result = self.process_record(record)
            if isinstance(result, dict):
                rows.append(result)
            elif result is not None:
                rows.extend(result)
        schema = self.outputs([self.context.schemas["0"]])[""].to_arrow()
        yield batch.replace(Batch.of(rows, schema=schema).rows)
