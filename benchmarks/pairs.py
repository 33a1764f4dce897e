"""Runs contenders in pairs, A B, B A, A B, with an A/A pair beside, and keeps every figure."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import check, measure, places, postgres
from benchmarks.measure import Cost
from benchmarks.workload import AGAIN, SUBJECT, Contender, Role, Workload, folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.workload import Facts


@dataclass(slots=True)
class Figures:
    """All runs of one contender, each beside the run of DataFlare in the same pair."""

    name: str
    role: Role
    note: str = ""
    runs: list[Cost] = field(default_factory=list)
    beside: list[Cost] = field(default_factory=list)

    def middle(self, what: str) -> float | None:
        """Return the median of a figure over the runs; None where it was not measured."""
        values = [value for run in self.runs if (value := getattr(run, what)) is not None]
        return median(values) if values else None

    def ratio(self, what: str) -> float | None:
        """Return the median over the pairs of DataFlare's figure divided by this contender's."""
        values = [getattr(a, what) / getattr(b, what) for a, b in zip(self.beside, self.runs, strict=False)]
        return median(values) if values else None


@dataclass(slots=True)
class Result:
    """What came out for one workload."""

    id: str
    rows: int
    pairs: int
    contenders: list[Figures] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    """Who was not measured, and why: nobody is left out silently."""
    facts: Facts = field(default_factory=dict)
    server: dict[str, str] = field(default_factory=dict)

    def of(self, name: str) -> Figures | None:
        """Return the figures of a contender, if it was measured."""
        return next((figures for figures in self.contenders if figures.name == name), None)

    def bound(self, what: str) -> Figures | None:
        """Return the bound with the smallest median."""
        bounds = [f for f in self.contenders if f.role is Role.BOUND and f.middle(what) is not None]
        return min(bounds, key=lambda figures: figures.middle(what) or 0, default=None)

    def write(self, path: Path) -> None:
        """Keep every run."""
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(self), indent=1)
        path.write_text(text + "\n")

    @classmethod
    def read(cls, path: Path) -> Result:
        """Return what was kept."""
        values = json.loads(path.read_text())
        costs = lambda runs: [Cost(**run) for run in runs]  # noqa: E731
        contenders = [
            Figures(c["name"], Role(c["role"]), c["note"], costs(c["runs"]), costs(c["beside"]))
            for c in values.pop("contenders")
        ]
        return cls(contenders=contenders, **values)


class Unfit(Exception):  # noqa: N818 - it is an answer, not a fault
    """A contender did not do the work, and so is not measured."""


class Contest:
    """One workload under way."""

    def __init__(self, workload: Workload, pairs: int) -> None:
        self.workload, self.pairs = workload, pairs
        self.result = Result(workload.id, workload.rows, pairs, server=postgres.settings() if workload.server else {})

    def run(self, names: list[str] | None = None) -> Result:
        """Try everyone once, unmeasured, then measure those that did the work; `names` chooses among the others."""
        chosen = [c for c in self.workload.contenders if c.role is Role.SUBJECT or not names or c.name in names]
        fit = [c for c in chosen if self._try(c)]
        subject = next((c for c in fit if c.role is Role.SUBJECT), None)
        others = [c for c in fit if c.role is not Role.SUBJECT]
        figures = {c.name: Figures(c.name, c.role, c.note) for c in others}
        again = Figures(AGAIN, Role.SUBJECT)
        for number in range(self.pairs):
            if subject:
                self._pair(subject, subject, again, number)
            for other in others:
                self._pair(subject, other, figures[other.name], number)
            print(f"  {self.workload.id}: pair {number + 1} of {self.pairs}", flush=True)
        if subject:
            mine = [run for f in (again, *figures.values()) for run in f.beside]
            self.result.contenders += [Figures(SUBJECT, Role.SUBJECT, subject.note, mine), again]
        self.result.contenders += figures.values()
        return self.result

    def _try(self, contender: Contender) -> bool:
        reason = contender.missing()
        if reason is None:
            try:
                self._cost(contender)
            except Unfit as unfit:
                reason = str(unfit)
        if reason is not None:
            self.result.absent[contender.name] = reason
        print(f"  {self.workload.id}: {contender.name}: {reason or 'does the work'}", flush=True)
        return reason is None

    def _pair(self, subject: Contender | None, other: Contender, figures: Figures, number: int) -> None:
        """Run both, the order turned in every other pair; a pair that fails half-way is dropped with its reason."""
        try:
            if subject is None:
                figures.runs.append(self._cost(other))
            elif number % 2:
                later = self._cost(other)
                figures.beside.append(self._cost(subject))
                figures.runs.append(later)
            else:
                earlier = self._cost(subject)
                figures.runs.append(self._cost(other))
                figures.beside.append(earlier)
        except Unfit as unfit:
            self.result.absent[f"{other.name}, pair {number + 1}"] = str(unfit)

    def _cost(self, contender: Contender) -> Cost:
        """Run and measure once, and check what was written."""
        home = folder(self.workload.id, contender.name)
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        self.workload.reset(contender)
        log = home.with_suffix(".log")
        with postgres.cpu_beside() if self.workload.server else _nothing() as server:
            cost = measure.measured(contender.command, contender.environ(), log)
        if cost.exit_status:
            raise Unfit(f"exit status {cost.exit_status}: {_last_line(log)}")
        self._check(contender)
        return measure.with_server(cost, server)

    def _check(self, contender: Contender) -> None:
        try:
            found = (contender.facts or self.workload.facts)(contender)
        except ValueError as error:
            raise Unfit(f"nothing to check: {error}") from error
        expected = contender.expected or self.result.facts
        if not expected:
            self.result.facts = expected = found
        if wrong := check.differences(expected, found):
            raise Unfit("did other work: " + ", ".join(wrong))
