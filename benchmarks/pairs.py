"""Runs contenders in pairs, A B, B A, A B, with an A/A pair beside, and checks what each run wrote."""

from __future__ import annotations

import re
import shutil
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from benchmarks import check, machine, measure, postgres
from benchmarks.places import ROOT
from benchmarks.results import Figures, Result
from benchmarks.workload import AGAIN, SUBJECT, Contender, Role, Workload, folder

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.measure import Cost


class Unfit(Exception):  # noqa: N818 - it is an answer, not a fault
    """A contender did not do the work, and so is not measured."""


class Contest:
    """One workload under way."""

    def __init__(self, workload: Workload, pairs: int) -> None:
        self.workload, self.pairs = workload, min(pairs, workload.pairs_max or pairs)
        self.result = Result(
            *(workload.id, workload.title, workload.rows, workload.chart, asdict(workload.limits)),
            machine=machine.description(),
            pairs=self.pairs,
            server=postgres.settings() if workload.server else {},
        )

    def run(self, names: list[str] | None = None) -> Result:
        """Try everyone once, unmeasured, then measure those that did the work; `names` chooses among the others.

        The bounds are tried first: what they write is what everyone else has to write.
        """
        chosen = [c for c in self.workload.contenders if c.role is Role.SUBJECT or not names or c.name in names]
        fit = [c for c in sorted(chosen, key=lambda c: c.role is not Role.BOUND) if self._try(c)]
        subject = next((c for c in fit if c.role is Role.SUBJECT), None)
        others = [c for c in fit if c.role is not Role.SUBJECT]
        figures = {c.name: Figures(c.name, c.role, c.note, c.expected is not None) for c in others}
        again = Figures(AGAIN, Role.SUBJECT)
        for number in range(self.pairs):
            if subject:
                self._pair(subject, subject, again, number)
            for other in others:
                self._pair(subject, other, figures[other.name], number)
            print(f"  {self.workload.id}: pair {number + 1} of {self.pairs}", flush=True)
        self.result.versions = {c.name: machine.versions(c) for c in fit}
        if subject:
            mine = [run for f in (again, *figures.values()) for run in f.beside]
            self.result.contenders += [Figures(SUBJECT, Role.SUBJECT, subject.note, runs=mine), again]
        self.result.contenders += [f for f in figures.values() if f.runs]
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
        """Run both, the order turned in every other pair; a pair that fails half-way is dropped, with its reason."""
        pair = [c for c in (subject, other) if c]
        try:
            costs = [self._cost(c) for c in (reversed(pair) if number % 2 else pair)]
        except Unfit as unfit:
            self.result.absent[f"{other.name}, pair {number + 1}"] = str(unfit)
            return
        if number % 2:
            costs.reverse()
        figures.runs.append(costs[-1])
        figures.beside += costs[:-1]

    def _cost(self, contender: Contender) -> Cost:
        """Run once in an emptied folder, measure, and check what was written."""
        home = folder(self.workload.id, contender.name)
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        self.workload.reset(contender)
        log = home.with_suffix(".log")
        before = postgres.cpu_seconds() if self.workload.server else None
        cost = measure.measured(contender.command, contender.environ(), log)
        after = postgres.cpu_seconds() if self.workload.server else None
        if cost.exit_status:
            raise Unfit(f"exit status {cost.exit_status}: {_last_line(log)}")
        self._check(contender)
        cost = replace(cost, told=dict(self.workload.told(log)))
        return cost if before is None or after is None else replace(cost, server_cpu_seconds=after - before)

    def _check(self, contender: Contender) -> None:
        try:
            found = (contender.facts or self.workload.facts)(contender)
        except ValueError as error:
            raise Unfit(f"wrote nothing that can be checked: {str(error).splitlines()[0]}") from error
        expected = contender.expected() if contender.expected else self.result.facts
        if not expected:
            self.result.facts = expected = found
        if wrong := check.differences(expected, found):
            raise Unfit("did other work: " + ", ".join(wrong))


def _last_line(log: Path) -> str:
    lines = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text(errors="replace")).split("\n")
    last = next((line.strip()[:300] for line in reversed(lines) if line.strip()), "it says nothing")
    said = re.search(r'"message": "((?:[^"\\]|\\.)*)"', last)
    return re.sub(r"://[^@/\s]+@", "://***@", said[1] if said else last).replace(f"{ROOT}/", "")
