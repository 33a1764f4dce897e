"""The fused operators of one task: a batch goes in, runs depth first to its ends, and leaves by outlets.

Plain blocking code: the task calls it in a worker thread, one hop for a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from dataflare.batch import Encoded
from dataflare.executor.faults import located
from dataflare.executor.operators import Tally
from dataflare.executor.rejected import Origin, first_reason

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

    from dataflare.batch import Batch
    from dataflare.executor.operators import Emitted, RunningOperator
    from dataflare.executor.watching import Taps


Left = list[tuple[int, "Batch"]]
"""What left a pipeline: outlets and batches, in order."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the rows of an output go: an operator of this task by a port, or an outlet that makes `copies`."""

    edge: str
    operator: str = ""
    port: int = 0
    outlet: int = -1
    copies: int = 1


def made_step(steps: Iterator[Left]) -> Left | None:
    """Make the next step of a pipeline; None where there is none. Blocking."""
    return next(steps, None)


class Pipeline:
    """Operators in topological order and the routes between them.

    `routes` map (node, output) to targets; an output that leads nowhere is let go, its rows counted all the same.
    """

    def __init__(
        self,
        operators: Sequence[RunningOperator],
        routes: Mapping[tuple[str, str], Sequence[Target]],
        skips: frozenset[str] = frozenset(),
        ports: Mapping[str, frozenset[int]] = MappingProxyType({}),
        source: tuple[Callable[[Batch], Iterable[Batch]] | None, Origin | None] = (None, None),
    ) -> None:
        """Wire the operators up; `skips` are the nodes whose policy for bad rows is to skip them.

        `ports` are the inputs of each operator, by its id; `source` is how that of the task decodes, and what is told
        of rejected rows.
        """
        self.operators = list(operators)
        self._by_id = {o.id: o for o in operators}
        self._routes = routes
        self.tally = Tally(skips)
        self._decode, self._origin = source[0], source[1] or Origin()
        self._homes = {n: o.id for o in operators for n in o.nodes}
        self._entered: dict[str, int] = {}
        self.taps: Taps | None = None
        self._out: Left = []
        self._open = {o.id: set(ports.get(o.id, ())) for o in operators}
        self._ended: list[int] = []
        self._easing = [o for o in operators if o.eases]
        self._finished_ids: set[str] = set()

    def source_batch(self, node: str, batch: Batch) -> Left:
        """Send a batch of the task's source down; return what leaves by outlets, in order."""
        if isinstance(batch.payload, Encoded) and not batch.payload.judged:
            self._unjudged(node, batch)
        else:
            self._sourced(node, batch)
        return self._taken()

    def _sourced(self, node: str, batch: Batch) -> None:
        dead = batch.num_rows if batch.stream == "errors" else 0
        self.tally.add(node, **{"in": batch.num_rows, "out": batch.num_rows - dead, "dead": dead})
        self._send(node, batch.stream, batch)

    def _unjudged(self, node: str, batch: Batch) -> None:
        """Have the operator behind the source read its bytes, or the source where that cannot."""
        targets = self._routes.get((node, batch.stream), ())
        if len(targets) == 1 and targets[0].outlet < 0:
            with located(targets[0].operator):
                taken = self._by_id[targets[0].operator].take(batch, self.tally)
            if taken is not None:
                self.tally.add(node, **{"in": taken[0], "out": taken[0]})
                self._follow(taken[1])
                return
        assert self._decode is not None
        with located(node):
            parts = iter(self._decode(batch))
        while (part := self._next_part(node, parts)) is not None:
            self._sourced(node, part)

    @staticmethod
    def _next_part(node: str, parts: Iterator[Batch]) -> Batch | None:
        with located(node):
            return next(parts, None)

    def incoming(self, operator: str, port: int, edge: str, batch: Batch) -> Left:
        """Take a batch from another stage; return what leaves by outlets, in order."""
        self.tally.edge(edge, -batch.num_rows)
        self._enter(Target(edge, operator, port), batch)
        return self._taken()

    def end_source(self, node: str) -> Iterator[Left]:
        """The task's source has ended: yield what leaves by outlets, in order, in steps; `ends` tells the rest."""
        return self._steps(self._end_node(node))

    def end_port(self, operator: str, port: int) -> Iterator[Left]:
        """An input from another stage has ended: yield what leaves by outlets, in order, in steps."""
        return self._steps(self._end_port(operator, port))

    def wait(self, seconds: float) -> float | None:
        """Return for how many seconds the first of the rows that are held back has to wait; None: there are none."""
        return min((w for o in self._easing if (w := o.wait(seconds)) is not None), default=None)

    def release(self, seconds: float) -> Left:
        """Move on what is held back and may go by this time; return what leaves by outlets, in order."""
        for operator in self._easing:
            with located(operator.id):
                self._follow(operator.release(seconds, self.tally))
        return self._taken()

    def ends(self) -> list[int]:
        """Return the outlets that have ended since the last call."""
        taken, self._ended = self._ended, []
        return taken

    def flush(self) -> Iterator[Left]:
        """Move on all that is held only for speed: a barrier has come. Yields what leaves by outlets, in steps."""
        return self._steps(self._flushed())

    def finish(self) -> Iterator[Left]:
        """Move on all that is held: all input has ended. Yields what leaves by outlets, in steps of a batch or so.

        What is held may be more than memory holds: the next step is made when what left by the one before was sent.
        """
        return self._steps(self._finished())

    def _steps(self, work: Iterator[None]) -> Iterator[Left]:
        for _ in work:
            yield self._taken()
        if self._out:
            yield self._taken()

    def _flushed(self) -> Iterator[None]:
        for operator in self.operators:
            with located(operator.id):
                yield from self._following(operator.flush(self.tally))

    def _finished(self) -> Iterator[None]:
        """Operators end in topological order, each once: an epoch that timed out at its end comes by again."""
        for operator in (o for o in self.operators if o.id not in self._finished_ids):
            for port in sorted(self._open[operator.id]):
                yield from self._end_port(operator.id, port)
            with located(operator.id):
                yield from self._following(operator.finish(self.tally))
            self._finished_ids.add(operator.id)
        self._ended.clear()  # the last barrier says the same to the tasks behind

    def sated(self, operator: str, outlets: Container[int]) -> bool:
        """Tell whether an operator wants no more rows; receivers behind the `outlets` named want none."""
        found = self._by_id[operator]
        return found.sated() or (found.passes_on and self.sated_behind(found.nodes, outlets))

    def sated_behind(self, nodes: Sequence[str], outlets: Container[int]) -> bool:
        """Tell whether nobody who gets rows of these nodes wants more; false where nobody gets any."""
        targets = [t for (node, _), found in self._routes.items() if node in nodes for t in found]
        wants = (t.outlet not in outlets if t.outlet >= 0 else not self.sated(t.operator, outlets) for t in targets)
        return bool(targets) and not any(wants)

    def snapshot(self) -> dict[str, Mapping[int, bytes]]:
        """Return the state of each operator that has any, by its id."""
        found = {}
        for operator in self.operators:
            with located(operator.id):
                if state := operator.snapshot():
                    found[operator.id] = state
        return found

    def segments(self, operator: str) -> Sequence[str]:
        """Return the segments that the last snapshot of an operator refers to."""
        return self._by_id[operator].segments()

    def restore(self, states: Mapping[str, Mapping[int, bytes]]) -> None:
        """Give operators their state back."""
        for identity, state in states.items():
            with located(identity):
                self._by_id[identity].restore(state)

    def _enter(self, target: Target, batch: Batch) -> None:
        operator, port = target.operator, target.port
        self.tally.came(target.edge, batch)
        self._entered[operator] = port
        self.tally.enter(operator, port, batch.num_rows)
        with located(operator):
            self._follow(self._by_id[operator].process(batch, port, self.tally))

    def _end_port(self, identity: str, port: int) -> Iterator[None]:
        if port not in self._open[identity]:
            return
        self._open[identity].remove(port)
        operator = self._by_id[identity]
        with located(identity):
            yield from self._following(operator.end(port, self.tally))
            if operator.nodes and not self._open[identity]:
                yield from self._following(operator.flush(self.tally))
        if not self._open[identity]:
            for node in operator.nodes:
                yield from self._end_node(node)

    def _end_node(self, node: str) -> Iterator[None]:
        for (source, _), targets in self._routes.items():
            for target in targets if source == node else ():
                if target.outlet < 0:
                    yield from self._end_port(target.operator, target.port)
                else:
                    self._ended.append(target.outlet)

    def _follow(self, emitted: Iterable[Emitted]) -> None:
        for _ in self._following(emitted):
            pass

    def _following(self, emitted: Iterable[Emitted]) -> Iterator[None]:
        """Send what is emitted, with a stop behind each."""
        for node, output, batch in emitted:
            self._send(node, output, batch)
            yield

    def _send(self, node: str, output: str, batch: Batch) -> None:
        if output == "errors":
            batch = self._origin.shaped(node, batch, self._entered.get(self._homes.get(node, node)))
            self._note(node, batch)
        if self.taps is not None:
            self.taps.offer(node, output, batch)
        for target in self._routes.get((node, output), ()):
            if target.outlet < 0:
                self.tally.left(target.edge, batch)
                self._enter(target, batch)
            elif batch.num_rows:
                self.tally.edge(target.edge, batch.num_rows * target.copies)
                self.tally.left(target.edge, batch, target.copies)
                self._out.append((target.outlet, batch))

    def _note(self, node: str, batch: Batch) -> None:
        if batch.num_rows:
            self.tally.reject(node, batch.num_rows, first_reason(batch))

    def _taken(self) -> Left:
        taken, self._out = self._out, []
        return taken
