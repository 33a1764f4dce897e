"""Seeded workflows and fault schedules for the simulator."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from dataflare.plan import (
    Action,
    Edge,
    ErrorPolicy,
    Guarantee,
    Level,
    Mechanism,
    Node,
    NodeKind,
    Output,
    Plan,
    Settings,
)
from dataflare.testing.simulation.components import SCHEMA

TRAPS = (
    "seal",
    "commit",
    "mark_committed",
    "acknowledge",
    "abort",
    "retire",
    "prepare",
    "finish",
    "mark_finished",
    "newest",
)
"""Steps of the protocol that a fault may hit, just before or just after."""


LOOKUP_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens when: `kind` is crash, zombie or jump; at a moment, or at a step (`before` or after it)."""

    kind: str
    seconds: float
    step: str = ""
    before: bool = True


@dataclass(frozen=True, slots=True)
class Scenario:
    """A workflow, what its sources hold, and the faults."""

    plan: Plan
    rows: dict[str, int]
    mechanisms: dict[str, str]
    faults: tuple[Fault, ...]
    dead: str | None = None
    first: bool = False
    flush: bool = False
    lookups: dict[str, int] = field(default_factory=dict)
    text: str = field(default="")


def scenario(seed: int) -> Scenario:
    """Draw a scenario."""
    rng = random.Random(seed)
    builder = _Builder(rng, random.Random(~seed))
    return builder.build()


class _Builder:
    def __init__(self, rng: random.Random, later: random.Random) -> None:
        """`later` draws what came later, so that the seeds of before still give the rest as they did."""
        self._rng, self._later = rng, later
        self._lookups: dict[str, int] = {}
        self._nodes: list[Node] = []
        self._edges: list[Edge] = []
        self._rows: dict[str, int] = {}

    def build(self) -> Scenario:
        rng = self._rng
        heads = [self._source(i) for i in range(rng.choice([1, 1, 2]))]
        first = rng.random() < 0.25
        flush = not first and rng.random() < 0.4
        flaky = rng.random() < 0.3
        if rng.random() < 0.5:
            heads = [self._step("pass", "sim_pass", heads)]
        if self._later.random() < LOOKUP_SHARE:
            heads = [self._lookup(heads)]
        if flaky:
            heads = [self._step("flaky", "sim_flaky", heads, on_error=ErrorPolicy(Action.DEAD_LETTER))]
        if first:
            heads = [self._step("first", "sim_first", heads)]
        if flush:
            heads = [self._step("flush", "sim_flush", heads)]
        mechanisms = self._destinations(heads, dead=flaky)
        return Scenario(
            plan=self._plan(mechanisms),
            rows=dict(self._rows),
            mechanisms=mechanisms,
            faults=tuple(self._faults()),
            dead="dead" if flaky else None,
            first=first,
            flush=flush,
            lookups=self._lookups,
        )

    def _source(self, number: int) -> str:
        rng, name = self._rng, f"s{number}"
        splits, rows = rng.randint(1, 4), rng.choice([0, 3, 10, 25])
        config: dict[str, Any] = {"splits": splits, "rows": rows}
        kind = rng.choice(["sim", "sim_waiting"])
        traits = {"parallelism": rng.choice([1, 2, 3])}
        self._nodes.append(Node(name, NodeKind.SOURCE, kind, config, (Output("", SCHEMA),), traits=traits))
        self._rows |= {f"{name}/{i}": rows for i in range(splits)}
        return name

    def _lookup(self, heads: list[str]) -> str:
        later = self._later
        splits, rows = later.randint(1, 3), later.choice([0, 2, 8])
        traits = {"parallelism": later.choice([1, 2])}
        kind = later.choice(["sim", "sim", "sim_waiting"])
        config: dict[str, Any] = {"splits": splits, "rows": rows}
        self._nodes.append(Node("look", NodeKind.SOURCE, kind, config, (Output("", SCHEMA),), traits=traits))
        self._lookups = {f"look/{i}": rows for i in range(splits)}
        inputs = [*heads, "look"]
        ports = [{"first": name == "look", "everywhere": name == "look"} for name in inputs]
        outputs = (Output("", SCHEMA),)
        settings = {"rows": splits * rows}
        self._nodes.append(Node("looked", NodeKind.PROCESSOR, "sim_lookup", settings, outputs, traits={"ports": ports}))
        self._edges += [Edge(source, "", "looked", port) for port, source in enumerate(inputs)]
        return "looked"

    def _step(self, name: str, kind: str, inputs: list[str], on_error: ErrorPolicy = ErrorPolicy()) -> str:  # noqa: B008
        outputs = (Output("", SCHEMA), Output("errors", SCHEMA))
        self._nodes.append(Node(name, NodeKind.PROCESSOR, kind, {}, outputs, on_error))
        self._edges += [Edge(source, "", name, port) for port, source in enumerate(inputs)]
        return name

    def _destinations(self, heads: list[str], *, dead: bool) -> dict[str, str]:
        rng = self._rng
        mechanisms: dict[str, str] = {}
        others = [Mechanism.STAGED, Mechanism.TWO_PHASE, Mechanism.TWO_PHASE, Mechanism.APPEND]
        for number in range(rng.choice([1, 1, 2, 3])):
            direct = number == 0 and rng.random() < 0.5
            mechanisms[f"d{number}"] = Mechanism.DIRECT if direct else rng.choice(others[:3] if number == 0 else others)
        if dead:
            mechanisms["dead"] = rng.choice([Mechanism.STAGED, Mechanism.TWO_PHASE])
        for name, mechanism in mechanisms.items():
            traits = {"mechanism": str(mechanism), "parallel": mechanism == Mechanism.TWO_PHASE}
            self._nodes.append(Node(name, NodeKind.DESTINATION, "sim", {}, traits=traits))
            if name == "dead":
                self._edges.append(Edge("flaky", "errors", name, 0))
            else:
                self._edges += [Edge(source, "", name, port) for port, source in enumerate(heads)]
        return mechanisms

    def _plan(self, mechanisms: dict[str, str]) -> Plan:
        rng = self._rng
        settings = Settings(
            checkpoint_interval_seconds=rng.choice([0.05, 0.2, 1.0]),
            checkpoint_timeout_seconds=rng.choice([1.0, 30.0, 30.0]),
            checkpoints_retained=rng.choice([1, 2, 5]),
            restart={"initial": 0.1, "max": 1.0, "attempts": 1000, "window": 600.0},
        )
        guarantees = {n: Guarantee(Level.EXACTLY_ONCE, Mechanism(m), "") for n, m in mechanisms.items()}
        return Plan("sim", tuple(self._nodes), tuple(self._edges), guarantees, settings)

    def _faults(self) -> list[Fault]:
        rng = self._rng
        faults = []
        for _ in range(rng.choice([0, 1, 2, 3, 5])):
            kind = rng.choice(["crash", "crash", "zombie", "zombie", "jump"])
            at_a_step = {"crash": 0.7, "zombie": 0.4, "jump": 0.0}[kind]
            step = rng.choice(TRAPS) if rng.random() < at_a_step else ""
            faults.append(Fault(kind, rng.random() * 3.0, step, before=rng.random() < 0.5))
        return faults
