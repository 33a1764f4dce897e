"""The figures of a workload: every run is kept, medians and ratios are made from them."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from statistics import median
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Cost
from benchmarks.workload import Role

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.workload import Facts


@dataclass(slots=True)
class Figures:
    """All runs of one contender, each beside the run of DataFlare in the same pair."""

    name: str
    role: Role
    note: str = ""
    partial: bool = False
    """Whether it does only a part of the work."""
    runs: list[Cost] = field(default_factory=list)
    beside: list[Cost] = field(default_factory=list)

    @classmethod
    def of(cls, values: dict[str, Any]) -> Figures:
        """Return figures that were kept as JSON."""
        runs, beside = ([Cost(**run) for run in values[kind]] for kind in ("runs", "beside"))
        return cls(values["name"], Role(values["role"]), values["note"], values["partial"], runs, beside)

    def middle(self, what: str) -> float | None:
        """Return the median of a figure over the runs; None where it was not measured."""
        values = [value for run in self.runs if (value := getattr(run, what, run.told.get(what))) is not None]
        return median(values) if values else None

    def ratio(self, what: str) -> float | None:
        """Return the median over the pairs of DataFlare's figure divided by this contender's."""
        values = [getattr(a, what) / getattr(b, what) for a, b in zip(self.beside, self.runs, strict=False)]
        return median(values) if values else None


@dataclass(slots=True)
class Result:
    """What came out for one workload."""

    id: str
    title: str
    rows: int
    chart: str
    """What the picture shows, cpu or wall; of W11, what grows."""
    limits: dict[str, float | None]
    machine: dict[str, str]
    pairs: int
    contenders: list[Figures] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    """Who was not measured, and why: nobody is left out silently."""
    facts: Facts = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    server: dict[str, str] = field(default_factory=dict)
    """The settings of the PostgreSQL server, where there is one."""

    @property
    def heading(self) -> str:
        """What it is called, with its size where that says something."""
        return f"{self.id}: {self.title}" + (f", {self.rows:,} rows" if self.rows > 1 else "")

    @property
    def family(self) -> str:
        """The workload that it is a part of: W4 for W4d."""
        return self.id.rstrip(ascii_lowercase)

    def of(self, name: str) -> Figures | None:
        """Return the figures of a contender, if it was measured."""
        return next((figures for figures in self.contenders if figures.name == name), None)

    def bound(self, what: str) -> Figures | None:
        """Return the bound with the smallest median."""
        return self.nearest(Role.BOUND, what)

    def nearest(self, role: Role, what: str) -> Figures | None:
        """Return who has the smallest median among those of a role; who does only a part of the work is left out."""
        able = [f for f in self.contenders if f.role is role and not f.partial and f.middle(what) is not None]
        return min(able, key=lambda figures: figures.middle(what) or 0, default=None)

    def write(self, path: Path) -> None:
        """Keep every run."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Result:
        """Return what was kept."""
        values = json.loads(path.read_text())
        contenders = [Figures.of(figures) for figures in values.pop("contenders")]
        return cls(contenders=contenders, **values)

    @classmethod
    def read_all(cls, folder: Path) -> list[Result]:
        """Return all that is kept in a folder, in the order of the workloads."""
        results = [cls.read(path) for path in folder.glob("*.json")]
        return sorted(results, key=lambda result: (int(re.sub(r"\D", "", result.id)), result.id))
