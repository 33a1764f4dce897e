"""Compares sums of hashes before any row: an equal table costs one pass, and buckets that differ are read alone.

A database that a side is read from as it is sums itself; other sides are read once through the engine, and summed here.
"""

# ruff: noqa: S608 - identifiers are in quotes; a condition is that of whoever types it, in a closed engine

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataflare.component import Budget, StageContext, source
from dataflare.errors import DataError, WorkflowError
from dataflare.executor.runtime import LocalRuntime
from dataflare.operate.verifying.comparison import canonical_rows, closed_engine
from dataflare.operate.verifying.sides import both, hinted, only_source
from dataflare.sql.hashing import DUCKDB_HASHING, Hashed, Summing, Sums, duckdb_text, summing_query
from dataflare.sql.quoting import quoted
from dataflare.sql.source import SqlSource
from dataflare.sql.summing import forms, sums

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa

    from dataflare.operate.verifying.sides import Engine
    from dataflare.plan import Plan
    from dataflare.schema import Schema
    from dataflare.sql.hashing import Hashing
    from dataflare.sql.predicate import Form

DIGITS, FINER_DIGITS = 3, 5
"""16^3 buckets first; those that differ are cut into 16^2 each, where they hold many rows."""
_MANY_ROWS, _FEW_BUCKETS = 50_000, 256
_SHARE_MAX = 0.5
"""Where more of the buckets differ, all rows are read at once."""
_COMPACT = 64
_SAMPLE = 16**8


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is compared: columns, by a key (none: rows as wholes), of which rows.

    `form` is that of the condition `where`, if a database may be asked for it. `share`: of the keys.
    """

    schema: Schema
    key: tuple[str, ...]
    where: str = ""
    form: Form | None = None
    share: float = 1.0

    @property
    def below(self) -> str:
        """The first digits of the hash before which those of the share of all keys are; "": all are meant."""
        return f"{min(round(self.share * _SAMPLE), _SAMPLE - 1):08x}" if self.share < 1 else ""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns whose hash tells keys apart."""
        return self.key or tuple(self.schema.names)

    def hashed(self, buckets: tuple[str, ...] = (), digits: int = 0) -> Hashed | None:
        """Return which keys are meant; None where the engine cannot write one of them as databases do."""
        forms = own_forms(self.schema)
        if not all(n in forms for n in self.names):
            return None
        return Hashed(self.names, tuple(forms[n] for n in self.names), self.below, digits, buckets)


@dataclass(frozen=True, slots=True)
class Narrowed:
    """What sums tell: those of each side, and the keys in the buckets that differ; none where all are equal."""

    sums: Mapping[str, Sums]
    differing: Hashed | None

    @property
    def most(self) -> bool:
        """Whether so many buckets differ that reading them one by one is no gain."""
        found = self.differing
        return found is not None and len(found.buckets) > _SHARE_MAX * 16**found.digits


def narrowed(plans: Mapping[str, Plan], engine: Engine, wanted: Wanted, memory_bytes_max: int) -> Narrowed | None:
    """Compare sums of both sides; None where no database can sum, or not in a form that the other side knows."""
    sides = _Sides(plans, engine, wanted, memory_bytes_max)
    told = sides.forms()
    if told is None or any(n not in told for n in wanted.schema.names):
        return None
    first = Hashed(wanted.names, tuple(told[k] for k in wanted.names), wanted.below)
    if wanted.below and first != wanted.hashed():
        return None  # the engine could not tell which keys are of the sample
    found = sides.sums(first, DIGITS)
    if found is None:
        return None
    one, other = found.values()
    differing, digits = one.differing(other), DIGITS
    many = sum(max(s.buckets.get(p, (0, 0))[0] for s in found.values()) for p in differing) > _MANY_ROWS
    if many and len(differing) <= _FEW_BUCKETS and sides.cheap:
        again = sides.sums(replace(first, digits=DIGITS, buckets=tuple(differing)), FINER_DIGITS)
        if again is not None:
            one, other = again.values()
            differing, digits = one.differing(other), FINER_DIGITS
    return Narrowed(found, replace(first, digits=digits, buckets=tuple(differing)) if differing else None)


class _Sides:
    """Both sides, and the databases among them that can be asked."""

    def __init__(self, plans: Mapping[str, Plan], engine: Engine, wanted: Wanted, memory_bytes_max: int) -> None:
        self._plans, self._engine, self._wanted, self._memory = plans, engine, wanted, memory_bytes_max
        found = {side: _Asked.of(plan, engine) for side, plan in plans.items()}
        self._askable = {side: one for side, one in found.items() if one is not None}

    @property
    def cheap(self) -> bool:
        """Whether no side has to be read to be summed."""
        return len(self._askable) == len(self._plans)

    def forms(self) -> dict[str, str] | None:
        """Return the form of each column that has one, where it is the same on both sides; None: nobody can sum."""
        if not self._askable or (self._wanted.where and self._wanted.form is None):
            return None
        told = [one.forms(self._wanted.schema) for one in self._askable.values()]
        told += [] if self.cheap else [own_forms(self._wanted.schema)]
        return told[0] if all(found == told[0] for found in told) else None

    def sums(self, hashed: Hashed, digits: int) -> dict[str, Sums] | None:
        """Return the sums by side; the databases are asked before a row of another side is read."""
        kinds = {id(one.hashing) for one in self._askable.values()} | (
            {id(DUCKDB_HASHING)} if not self.cheap else set()
        )
        columns = tuple(self._wanted.schema.names)
        summing = Summing(columns, hashed, digits, self._wanted.form, own=len(kinds) == 1)
        with ThreadPoolExecutor(len(self._askable), thread_name_prefix="dataflare-sums") as pool:
            asked = pool.map(lambda one: one.sums(self._wanted.schema, summing), self._askable.values())
            told = dict(zip(self._askable, asked, strict=True))
        if None in told.values():
            return None
        for side, plan in self._plans.items():
            if side not in told:
                with closing(Tally(self._wanted, summing, self._memory)) as tally:
                    self._engine.read(plan, side, tally)
                    told[side] = tally.sums()
        return {side: found for side in self._plans if (found := told[side]) is not None}


def own_forms(schema: Schema) -> dict[str, str]:
    """Return by column the form in which the engine writes it."""
    texts = {c.name: duckdb_text(quoted(c.name), c.type) for c in schema}
    return {name: text[0] for name, text in texts.items() if text is not None}


@dataclass(frozen=True, slots=True)
class _Asked:
    """A database that holds a side as it is."""

    plan: Plan
    engine: Engine
    stream: str
    hashing: Hashing

    @classmethod
    def of(cls, plan: Plan, engine: Engine) -> _Asked | None:
        """Return it for a side; None where rows come another way."""
        found = only_source(plan)
        if found is None:
            return None
        kind = engine.registry.find(source, found[0].type)
        if not issubclass(kind, SqlSource) or kind.hashing is None:
            return None
        return cls(plan, engine, found[1], kind.hashing)

    @contextmanager
    def opened(self) -> Iterator[SqlSource[Any, Any, Any]]:
        """Open the source."""
        found = only_source(self.plan)
        assert found is not None
        node, plan = found[0], self.plan
        kind = self.engine.registry.find(source, node.type)
        made = kind(kind.spec.config.model_validate(dict(self.engine.resolve(node.config))))
        assert isinstance(made, SqlSource)
        runtime = LocalRuntime()
        made.context = StageContext(
            runtime,
            plan.workflow,
            node.id,
            directory=Path(plan.directory),
            mode=node.traits.get("mode", "full"),
            schemas={o.name: o.schema for o in node.outputs},
            on_error=node.on_error.action.value,
            budget=Budget(plan.settings.memory_bytes_max // 2, 1),
            contract=node.traits.get("contract", {}),
        )
        try:
            made.open()
            yield made
        finally:
            made.close()
            runtime.close()

    def forms(self, schema: Schema) -> dict[str, str]:
        """Ask how it writes columns."""
        with self.opened() as found:
            return forms(found.relation(self.stream), schema)

    def sums(self, schema: Schema, summing: Summing) -> Sums | None:
        """Ask; None where the database cannot tell, whatever it says about why."""
        asked = only_source(self.plan)
        assert asked is not None
        predicate = both(asked[0].traits.get("predicate"), summing.predicate)
        with self.opened() as found:
            try:
                return sums(found, self.stream, schema, replace(summing, predicate=predicate))
            except (DataError, WorkflowError):
                return None  # a value that this form has no place for: reading the rows tells


class Tally:
    """Sums rows as they come, in a small engine. Close it."""

    def __init__(self, wanted: Wanted, summing: Summing, memory_bytes_max: int) -> None:
        """Open the engine; raise WorkflowError for a condition that is none."""
        import threading

        self._schema, self._lock, self._taken = wanted.schema, threading.Lock(), 0
        self._database = closed_engine(memory_bytes_max)
        self._database.execute("create table tally (p varchar, n hugeint, h hugeint)")
        texts = {c.name: text for c in wanted.schema if (text := duckdb_text(quoted(c.name), c.type)) is not None}
        conditions = [wanted.where, summing.hashed.condition(DUCKDB_HASHING, texts)]
        query = summing_query(DUCKDB_HASHING, texts, summing, "given", conditions)
        self._insert = f"insert into tally select p, n, h::hugeint from ({query}) q(p, n, c, h)"

    def take(self, side: str, rows: pa.Table) -> None:
        """Take rows."""
        del side
        if not rows.num_rows:
            return
        rows = canonical_rows(rows, self._schema)
        with self._lock:
            self._database.register("given", rows)
            self._database.execute(self._insert)
            self._database.unregister("given")
            self._taken += 1
            if self._taken % _COMPACT == 0:
                self._compact()

    def sums(self) -> Sums:
        """Return what was taken."""
        self._compact()
        rows = self._database.execute("select p, n::bigint, h from tally").fetchall()
        return Sums({bucket: (count, total) for bucket, count, total in rows})

    def close(self) -> None:
        """Free everything."""
        self._database.close()

    def _compact(self) -> None:
        self._database.execute(
            "create or replace table tally as select p, sum(n) as n, sum(h) as h from tally group by p"
        )


def told_sides(plans: Mapping[str, Plan], wanted: Wanted, hashed: Hashed | None) -> dict[str, Plan]:
    """Return the sides, their databases told to leave out what is not wanted; they need not heed it."""
    hint = hashed.as_hint() if hashed is not None and (hashed.below or hashed.buckets) else None
    return {side: hinted(plan, predicate=wanted.form, hashed=hint) for side, plan in plans.items()}


__all__ = ["Narrowed", "Tally", "Wanted", "narrowed", "told_sides"]
