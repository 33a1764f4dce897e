"""Everything that varies comes in here: clock, randomness, threads, disk roots, secrets, budget, events."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

from dataflare.plan_words import Mechanism

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from dataflare.clock import Clock
    from dataflare.component.known import Known
    from dataflare.monitoring.events import Event
    from dataflare.schema import Schema

KEY_GROUPS = 256
"""State by key is kept in so many groups, whatever the number of tasks."""

P = ParamSpec("P")
T = TypeVar("T")


class Runtime(Protocol):
    """The outside world of a run; the simulator has one that is a seeded loop."""

    @property
    def clock(self) -> Clock:
        """The time."""
        ...

    @property
    def random(self) -> random.Random:
        """Chance: for jitter, never for secrets or results."""
        ...

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking function in a worker thread."""
        ...

    def emit(self, event: Event) -> None:
        """Tell the observers; never blocks, never raises."""
        ...


@dataclass(frozen=True, slots=True)
class Budget:
    """What a task may use."""

    memory_bytes_max: int = 256 << 20
    threads_max: int = 1


class Segments(Protocol):
    """Where an instance leaves parts of its state that do not change any more: written once, read when wanted."""

    def put(self, data: bytes) -> str:
        """Make a segment durable and return its name, which the next snapshot, or position of a source, refers to."""
        ...

    def get(self, name: str) -> bytes:
        """Return a segment that a snapshot refers to; raise StateError where it is missing or torn."""
        ...


@dataclass(frozen=True, slots=True)
class ReadHints:
    """What the planner asks a source to leave out; honoured only where its spec says so.

    `predicate` is the form (`expression.predicate`) of a condition: rows that do not meet it need not come, and may.
    `limit`: so many good rows of one split are enough, whichever they are; more may come.
    `codec`: rows pass through as bytes of this format: the source yields `Encoded` batches and nothing else, and a
    destination that has the hint gets nothing else. `unjudged`: rows are wanted as bytes of this format that nobody has
    looked at; a source may yield tables all the same. `hashed` (`sql.hashing.Hashed`) tells by the hash of
    their key which rows are wanted; others need not come, and may.
    """

    columns: tuple[str, ...] | None = None
    predicate: list[Any] | None = None
    limit: int | None = None
    codec: str | None = None
    unjudged: str | None = None
    hashed: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class StageContext:
    """Where a component instance stands.

    `index` of `parallelism` instances of node `node`; instance 0 of a destination is its head and does the commits.
    `attempt` is the fence. `directory` is the folder of the workflow file: relative paths start there.
    `state_directory` is the folder of the state; None where the state is in none. `schemas` are
    the planned input schemas by port (processors, destinations) or the output schemas by name (sources); `outputs` are
    the planned output schemas by name, known once there is a plan. `lookups` finds the class of a lookup by its name.
    `epoch_time` answers the time of the current epoch in microseconds, `epoch` its number.
    `lookup`: the last input is a lookup.
    `key`: of a destination, the columns by which it writes; of a processor, those that tell its rows apart.
    `ddl` tells a destination how it follows changes of columns: `policy`, one of exception, evolve, try_evolve,
    lenient (the default) and ignore; `drop`, the columns that the source has dropped; `rename`, new names by old ones.
    `contract` says of a source what becomes of `columns` and a `data_type` that are not as planned, and of changes of
    columns. `known` are by stream the columns that a source was planned with (`component.evolution`), `former` the
    present names of columns by names that they had before: state may still have those.
    `code` tells the code apart that a processor was planned with (`Processor.code`).
    `key_group` is one that this instance owns, for state without a key. `segments`: None where no state is kept.
    `inputs` are the names of the inputs by port: that of the node, with that of the output behind a dot if it has one.
    `hide` hides in a text the secrets that settings have by references.
    """

    runtime: Runtime
    workflow: str
    node: str
    tenant: str = "default"
    attempt: int = 1
    index: int = 0
    parallelism: int = 1
    directory: Path = field(default_factory=Path)
    mechanism: Mechanism = Mechanism.APPEND
    mode: str = "full"
    write_mode: str = "append"
    key: tuple[str, ...] = ()
    schemas: Mapping[str, Schema] = field(default_factory=dict)
    hints: ReadHints = ReadHints()
    on_error: str = "fail"
    budget: Budget = Budget()
    epoch_time: Callable[[], int] = lambda: 0
    epoch: Callable[[], int] = lambda: 0
    lookup: bool = False
    key_group: int = 0
    outputs: Mapping[str, Schema] = field(default_factory=dict)
    lookups: Callable[[str], type[Any]] | None = None
    segments: Segments | None = None
    inputs: tuple[str, ...] = ()
    ddl: Mapping[str, Any] = field(default_factory=dict)
    contract: Mapping[str, Any] = field(default_factory=dict)
    known: Mapping[str, Known] = field(default_factory=dict)
    former: Mapping[str, str] = field(default_factory=dict)
    state_directory: Path | None = None
    code: str = ""
    hide: Callable[[str], str] = str

    @property
    def key_groups(self) -> range:
        """The key groups (0..255) that this instance owns: those of its keys."""
        first, behind = (-(-KEY_GROUPS * index // self.parallelism) for index in (self.index, self.index + 1))
        return range(first, behind)

    def path(self, text: str) -> Path:
        """Resolve a path of the workflow file against its folder."""
        return self.directory / Path(text).expanduser()

    def emit(self, event: Any) -> None:
        """Tell the observers."""
        self.runtime.emit(event)
