"""The operators of a task: each takes a batch, yields batches by node and output, counts every row (invariant 5)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from dataflare.component import Processor
from dataflare.state.ledger import METRIC

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dataflare.batch import Batch
    from dataflare.component import DestinationConnector
    from dataflare.executor.edge_sums import EdgeSums
    from dataflare.executor.lines import Lines
    from dataflare.expression.chain import Chain, ChainResult
    from dataflare.state.ledger import Counts, Ends


Emitted = tuple[str, str, "Batch"]
"""A node, one of its outputs, and a batch that leaves by it."""


class Tally:
    """Row counts by node and kind since they were last taken.

    `flowed` are rows in and out by node, `entered` rows in by operator and input, both since the beginning. `sums` are
    those of both ends of each edge; None: nobody wants them.
    """

    def __init__(self, skips: frozenset[str] = frozenset()) -> None:
        """Start at nothing; what is dead in the nodes of `skips` counts as skipped."""
        self._skips = skips
        self.counts: Counts = {}
        self.edges: dict[str, int] = {}
        self.sums: EdgeSums | None = None
        self.fresh: dict[str, tuple[int, int]] = {}
        self.flowed: dict[str, tuple[int, int]] = {}
        self.entered: dict[tuple[str, int], int] = {}
        self.rejected: dict[str, tuple[int, str]] = {}

    def add(self, node: str, **rows: int) -> None:
        """Count rows of a node."""
        came, went = self.fresh.get(node, (0, 0))
        self.fresh[node] = (came + rows.get("in", 0), went + rows.get("out", 0))
        came, went = self.flowed.get(node, (0, 0))
        self.flowed[node] = (came + rows.get("in", 0), went + rows.get("out", 0))
        kinds = self.counts.setdefault(node, {})
        for word, number in rows.items():
            kind = "skipped" if word == "dead" and node in self._skips else word
            kinds[kind] = kinds.get(kind, 0) + number

    def reject(self, node: str, rows: int, reason: str) -> None:
        """Note rows that a node could not handle, with the reason of the first; they are counted apart."""
        before, first = self.rejected.get(node, (0, reason))
        self.rejected[node] = (before + rows, first)

    def enter(self, operator: str, port: int, rows: int) -> None:
        """Count rows by the input of an operator."""
        self.entered[operator, port] = self.entered.get((operator, port), 0) + rows

    def edge(self, name: str, rows: int) -> None:
        """Count rows over an edge."""
        self.edges[name] = self.edges.get(name, 0) + rows

    def left(self, name: str, batch: Batch, copies: int = 1) -> None:
        """Have the rows that leave by an edge hashed, where that is wanted."""
        if self.sums is not None:
            self.sums.left(name, batch, copies)

    def came(self, name: str, batch: Batch) -> None:
        """Have the rows that come by an edge hashed, where that is wanted."""
        if self.sums is not None:
            self.sums.came(name, batch)

    def take(self) -> tuple[Counts, dict[str, int], Ends]:
        """Return the counts, and the sums at both ends of each edge; start again at nothing."""
        sums = self.sums.take() if self.sums is not None else {}
        taken, self.counts, self.edges = (self.counts, self.edges, sums), {}, {}
        return taken


class RunningOperator(ABC):
    """An operator at work; called in a worker thread, one call at a time."""

    id: str
    passes_on = False
    """Rows matter only to those that get them from here: nothing is held, told or done with them besides."""
    nodes: tuple[str, ...] = ()
    """The nodes that have yielded all their rows once all inputs of the operator have ended; none: not before `finish`.
    """
    eases = False
    """Whether it may let rows go later than they came."""

    @abstractmethod
    def process(self, batch: Batch, port: int, tally: Tally) -> Iterator[Emitted]:
        """Take a batch in by `port`."""

    def take(self, batch: Batch, tally: Tally) -> tuple[int, list[Emitted]] | None:
        """Take bytes that nobody has judged in; return how many rows they are, and what is yielded.

        None, with nothing done, where the source must decode them.
        """
        del batch, tally
        return None

    def flush(self, tally: Tally) -> Iterator[Emitted]:
        """Yield what is held only for speed: a barrier has come."""
        del tally
        return iter(())

    def wait(self, seconds: float) -> float | None:
        """Return for how many seconds rows have to wait; None: none do. `seconds` is the time."""
        del seconds
        return None

    def release(self, seconds: float, tally: Tally) -> Iterator[Emitted]:
        """Yield the rows that may go by this time."""
        del seconds, tally
        return iter(())

    def end(self, port: int, tally: Tally) -> Iterator[Emitted]:
        """Yield what was held until input `port` ended."""
        del port, tally
        return iter(())

    def finish(self, tally: Tally) -> Iterator[Emitted]:
        """Yield what is still held: all input has ended."""
        del tally
        return iter(())

    def snapshot(self) -> Mapping[int, bytes]:
        """Return the state by key group."""
        return {}

    def segments(self) -> Sequence[str]:
        """Return the segments that the last snapshot refers to."""
        return ()

    def sated(self) -> bool:
        """Tell whether no row that may still come changes anything."""
        return False

    def restore(self, state: Mapping[int, bytes]) -> None:
        """Take the state of these key groups."""
        del state


class ChainOperator(RunningOperator):
    """Fused row-wise nodes: one prepared statement for each run of them."""

    passes_on = True

    def __init__(
        self,
        identity: str,
        nodes: tuple[str, ...],
        chain: Chain,
        *,
        keeps_errors: frozenset[str],
        lines: Lines | None = None,
    ) -> None:
        """`keeps_errors` are the nodes whose rejected rows go to an `errors` output; others skip them."""
        self.id, self.nodes, self._chain, self._keeps, self._lines = identity, nodes, chain, keeps_errors, lines

    def process(self, batch: Batch, port: int, tally: Tally) -> Iterator[Emitted]:
        """Run the chain."""
        del port
        yield from self._settle(batch, self._chain.run(batch.rows), tally)

    def take(self, batch: Batch, tally: Tally) -> tuple[int, list[Emitted]] | None:
        """Read the rows and run the chain in one statement."""
        read = self._lines.reading(batch) if self._lines is not None else None
        taken = self._chain.take(read) if read is not None else None
        return (taken[0], list(self._settle(batch, taken[1], tally))) if taken is not None else None

    def _settle(self, batch: Batch, result: ChainResult, tally: Tally) -> Iterator[Emitted]:
        for node, count in zip(self.nodes, result.counts, strict=True):
            dead = "dead" if node in self._keeps else "skipped"
            filtered = count.rows_in - count.rows_out - count.rejected
            tally.add(node, **{"in": count.rows_in, "out": count.rows_out, "filtered": filtered, dead: count.rejected})
        for rejected in result.rejected:
            if rejected.node in self._keeps:
                yield rejected.node, "errors", batch.replace(rejected.as_errors(), "errors")
            else:
                tally.reject(rejected.node, rejected.rows.num_rows, str(rejected.reasons[0]))
        yield self.nodes[-1], "", batch.replace(result.rows, "")


class ProcessorOperator(RunningOperator):
    """One processor; rows that it does not yield are counted as its spec declares."""

    def __init__(self, node: str, processor: Processor[Any]) -> None:
        """Wrap an open processor."""
        self.id, self._processor = node, processor
        self.nodes = () if processor.holds() else (node,)
        self.eases = type(processor).release is not Processor.release
        self._counts = type(processor).spec.traits.counts if hasattr(type(processor), "spec") else ()

    def process(self, batch: Batch, port: int, tally: Tally) -> Iterator[Emitted]:
        """Process, and settle what became of the rows."""
        yield from self._settle(self._processor.process(batch, port), batch.num_rows, tally)

    def take(self, batch: Batch, tally: Tally) -> tuple[int, list[Emitted]] | None:
        """Have the processor read the rows itself."""
        taken = self._processor.take(batch)
        return (taken[0], list(self._settle(taken[1], taken[0], tally))) if taken is not None else None

    def flush(self, tally: Tally) -> Iterator[Emitted]:
        """Pass on what the processor held for speed."""
        yield from self._settle(self._processor.flush(), 0, tally)

    def wait(self, seconds: float) -> float | None:
        """Ask the processor."""
        return self._processor.wait(seconds)

    def release(self, seconds: float, tally: Tally) -> Iterator[Emitted]:
        """Pass on what the processor lets go."""
        yield from self._settle(self._processor.release(seconds), 0, tally)

    def end(self, port: int, tally: Tally) -> Iterator[Emitted]:
        """Pass on what the processor held until this input ended."""
        yield from self._settle(self._processor.end(port), 0, tally)

    def finish(self, tally: Tally) -> Iterator[Emitted]:
        """Pass on what the processor held."""
        yield from self._settle(self._processor.finish(), 0, tally)

    def snapshot(self) -> Mapping[int, bytes]:
        """Return the processor's state."""
        return self._processor.snapshot()

    def sated(self) -> bool:
        """Ask the processor."""
        return self._processor.sated()

    def segments(self) -> Sequence[str]:
        """Return what the processor's state refers to."""
        return self._processor.segments()

    def restore(self, state: Mapping[int, bytes]) -> None:
        """Give the processor its state back."""
        self._processor.restore(state)

    def _settle(self, batches: Iterable[Batch], came: int, tally: Tally) -> Iterator[Emitted]:
        out = dead = 0
        for batch in batches:
            if batch.stream == "errors":
                dead += batch.num_rows
            else:
                out += batch.num_rows
            yield self.id, batch.stream, batch
        noted = {f"{METRIC}{name}": value for name, value in self._processor.noted().items()}
        if (fates := self._processor.fates()) is not None:
            tally.add(self.id, **{"in": came, "out": out, "dead": dead, **fates, **noted})
            return
        gathers = "absorbed" in self._counts and "expanded" in self._counts
        lost = came if gathers else max(0, came - out - dead)
        word = next((k for k in ("absorbed", "filtered", "skipped") if k in self._counts), "filtered")
        expanded = out + dead - (came - lost)
        tally.add(self.id, **{"in": came, "out": out, "dead": dead, word: lost, "expanded": expanded, **noted})


class PartialOperator(RunningOperator):
    """The first half of a two-phase processor: takes rows in, yields partial states that count as nothing."""

    def __init__(self, identity: str, node: str, processor: Processor[Any]) -> None:
        """Wrap an open first half."""
        self.id, self._node, self._processor = identity, node, processor

    def process(self, batch: Batch, port: int, tally: Tally) -> Iterator[Emitted]:
        """Absorb the rows of a batch; those that come out as errors, perhaps of earlier batches, are dead."""
        yield from self._settle(self._processor.process(batch.replace(batch.rows, ""), port), batch.num_rows, tally)

    def flush(self, tally: Tally) -> Iterator[Emitted]:
        """Send the partial states on."""
        yield from self._settle(self._processor.flush(), 0, tally)

    def finish(self, tally: Tally) -> Iterator[Emitted]:
        """Send the rest on."""
        yield from self._settle(self._processor.finish(), 0, tally)

    def _settle(self, batches: Iterable[Batch], came: int, tally: Tally) -> Iterator[Emitted]:
        dead = 0
        for out in batches:
            if out.stream == "errors":
                dead += out.num_rows
                yield self._node, "errors", out
            else:
                yield self._node, "/partial", out
        tally.add(self._node, **{"in": came, "absorbed": came - dead, "dead": dead})


class FinalOperator(RunningOperator):
    """The second half: gathers partial states; what it yields are new rows."""

    def __init__(self, node: str, processor: Processor[Any]) -> None:
        """Wrap an open second half."""
        self.id, self._processor = node, processor

    def process(self, batch: Batch, port: int, tally: Tally) -> Iterator[Emitted]:
        """Gather."""
        yield from self._count(self._processor.process(batch, port), tally)

    def finish(self, tally: Tally) -> Iterator[Emitted]:
        """Yield the results."""
        yield from self._count(self._processor.finish(), tally)

    def snapshot(self) -> Mapping[int, bytes]:
        """Return what was gathered."""
        return self._processor.snapshot()

    def segments(self) -> Sequence[str]:
        """Return what that refers to."""
        return self._processor.segments()

    def restore(self, state: Mapping[int, bytes]) -> None:
        """Take back what was gathered."""
        self._processor.restore(state)

    def _count(self, batches: Iterable[Batch], tally: Tally) -> Iterator[Emitted]:
        for out in batches:
            tally.add(self.id, out=out.num_rows, expanded=out.num_rows)
            yield self.id, out.stream, out


class WriteOperator(RunningOperator):
    """Writes into a destination whose `write` is a plain function."""

    def __init__(self, node: str, connector: DestinationConnector[Any]) -> None:
        """Wrap an open destination."""
        self.id, self.connector = node, connector

    def process(self, batch: Batch, port: int, tally: Tally) -> Iterator[Emitted]:
        """Write; nothing comes out."""
        del port
        if batch.num_rows:
            self.connector.write(batch)
        tally.add(self.id, **{"in": batch.num_rows, "out": batch.num_rows})
        return iter(())


class LaterWriteOperator(RunningOperator):
    """Hands batches to a destination whose `write` is a coroutine: the task awaits it on the loop."""

    def __init__(self, node: str, connector: DestinationConnector[Any], later: list[tuple[str, Batch]]) -> None:
        """Put batches into `later`."""
        self.id, self.connector, self._later = node, connector, later

    def process(self, batch: Batch, port: int, tally: Tally) -> Iterator[Emitted]:
        """Keep the batch for the loop."""
        del port
        if batch.num_rows:
            self._later.append((self.id, batch))
        tally.add(self.id, **{"in": batch.num_rows, "out": batch.num_rows})
        return iter(())
