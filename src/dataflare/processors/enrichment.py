"""Looks rows up by keys and puts what it finds beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.batch import Batch
from dataflare.changes import OP, WHOLE_ROWS, may_be_unchanged
from dataflare.component import processor
from dataflare.component.packed import packed, unpacked
from dataflare.component.processor import EVERYWHERE, Port
from dataflare.errors import DataError, WorkflowError
from dataflare.expression.deletes import Changes, is_gone
from dataflare.expression.reject import Rejected
from dataflare.plan_words import EdgeKind
from dataflare.processors.columns import same_columns
from dataflare.processors.counting import CountingProcessor
from dataflare.processors.enrichment_patience import Patience, lookup_of
from dataflare.processors.enrichment_plan import EnrichmentPlan
from dataflare.processors.enrichment_rows import schema_of_rows, table_of_rows
from dataflare.processors.enrichment_settings import EnrichmentConfig
from dataflare.processors.enrichment_sides import GatheredSide, KeyedSide, Side, WholeSide
from dataflare.processors.held import HeldRows, restore_told, told_state
from dataflare.schema import REJECTED, Schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa

    from dataflare.errors import DataFlareError
    from dataflare.processors.enrichment_sides import Answer

_ERRORS = "errors"
_HELD_SHARE = 8
"""The part of its memory that a task may fill with rows that wait."""


@processor(
    "enrichment",
    status="beta",
    accepts=(EdgeKind.APPEND, EdgeKind.UPSERT, EdgeKind.RETRACT),
    counts=("filtered", "absorbed", "expanded", "skipped", "dead"),
    examples=[
        {"keys": {"customer_id": "id"}, "take": ["segment"], "miss": "keep"},
        {
            "keys": {"country": "code"},
            "rows": [{"code": "NO", "name": "Norway"}, {"code": "DK", "name": "Denmark"}],
            "take": {"country_name": "name"},
        },
        {
            "keys": {"customer_id": "id"},
            "from": {"type": "sqlite", "path": "shop.db", "table": "customers"},
            "refresh": "10m",
            "stale": "1h",
        },
    ],
)
class Enrichment(CountingProcessor[EnrichmentConfig]):
    """Looks rows up by keys and puts what it finds beside them.

    The rows to look in are another node (`lookup: NODE`, beside `inputs`), `rows` in the settings, or something outside
    of the workflow (`from`): a file, or a database or an API, which is asked for the keys that come. Rows keep their
    order.

    A node is read to its end first; rows that come before wait, on disk where they are many. `from` is read when the
    first row comes and again after `refresh`; what it answers may change between two tries of an epoch, which
    `validate` tells with the guarantee. While it does not answer, what was read holds for `stale` longer; after that
    `on_error` decides: the run fails and is tried again, or the rows are skipped, are dead letters, or get nulls.

    Changes (rows with `_op`) are enriched as they come: what was written of a row stays when the lookup changes. A
    delete gets nulls, whatever `miss` says; `miss: drop` makes a delete of an update.
    """

    tells_tags = True
    knows_unchanged = True

    def __init__(self, config: EnrichmentConfig) -> None:
        """Know nothing yet."""
        super().__init__(config)
        self._looked: Schema | None = None
        self._packed: bytes | None = None
        self._plan_: EnrichmentPlan | None = None
        self._side: Side | None = None
        self._held: HeldRows | None = None
        self._waits = False

    # ---- planning -----------------------------------------------------------------------------------------------

    def declared(self) -> bool:
        """Tell whether the columns of the lookup are known without a look."""
        if self.config.origin is None or self._looked is not None:
            return True
        try:
            return lookup_of(self.config, self.context).declared() is not None
        except WorkflowError:
            return True  # `outputs` says it

    def look(self) -> None:
        """Ask the lookup for its columns."""
        lookup = lookup_of(self.config, self.context)
        try:
            self._looked = lookup.schema()
        finally:
            lookup.close()

    def check(self) -> Sequence[DataFlareError] | None:
        """See whether the lookup answers."""
        if self.config.origin is not None:
            lookup = lookup_of(self.config, self.context)
            try:
                lookup.schema()
            finally:
                lookup.close()
        return None

    def outputs(self, inputs: Sequence[Schema]) -> Mapping[str, Schema]:
        """Return the columns of the rows and what is taken."""
        main = self._main(inputs)
        if self.config.miss == "dead_letter" and self.context.on_error != "dead_letter":
            raise WorkflowError(
                "miss: dead_letter needs an output for dead letters", hint="add on_error: {action: dead_letter}"
            )
        plan = EnrichmentPlan(self.config, main, self._side_schema(inputs), self.context)
        self._check_changes(plan)
        errors = {_ERRORS: REJECTED} if self.context.on_error == "dead_letter" else {}
        return {"": plan.output, **errors}

    def _check_changes(self, plan: EnrichmentPlan) -> None:
        """Raise WorkflowError for what cannot be done with changes."""
        if OP in plan.main and self.config.multiple == "all":
            raise WorkflowError(
                "of changes a lookup cannot make several rows: they would have the same key",
                hint="set multiple: first or last, or put `materialise` before it",
            )
        hidden = may_be_unchanged(plan.main)
        read = [key.path[0] for key in plan.keys if key.path[0] in hidden]
        if read:
            what = f"keys: {read[0]!r} may be left out as unchanged, so nobody knows what to look up"
            raise WorkflowError(what, hint=WHOLE_ROWS)
        if hidden and self.config.miss == "drop":
            what = f"a row that is found at an update only would come without {min(hidden)!r}, which may be unchanged"
            raise WorkflowError(what, hint=f"set another `miss`, or {WHOLE_ROWS}")
        if may_be_unchanged(plan.side):
            what = "rows whose values may be unchanged are no lookup"
            raise WorkflowError(what, hint=WHOLE_ROWS)

    def ports(self, count: int) -> Sequence[Port]:
        """Return that a lookup goes everywhere, and first."""
        if not self.context.lookup:
            return [Port()] * count
        return [Port()] * (count - 1) + [Port(everywhere=True, first=True)]

    def varies(self) -> str:
        """Tell of lookups that others may change, and of those that do not wait."""
        if self.config.origin is not None:
            return f"looks rows up in {self.config.origin['type']}, where they may change meanwhile"
        if self.context.lookup and not self.config.wait:
            return "looks rows up in what has come so far"
        return ""

    def _main(self, inputs: Sequence[Schema]) -> Schema:
        mains = inputs[:-1] if self.context.lookup else inputs
        sides = [self.context.lookup, self.config.rows is not None, self.config.origin is not None]
        if sum(sides) != 1:
            raise WorkflowError(
                "it does not say where rows are looked up" if not any(sides) else "it says twice where to look rows up",
                hint="name a node beside inputs (lookup: customers), or give rows or from in config",
            )
        return same_columns(mains)

    def _side_schema(self, inputs: Sequence[Schema]) -> Schema:
        if self.context.lookup:
            if self.config.tags:
                raise WorkflowError("tags are those of the source behind the lookup", hint="put them there")
            return inputs[-1]
        if self.config.rows is not None:
            found = schema_of_rows(self.config)
        else:
            lookup = lookup_of(self.config, self.context)
            told = self._looked or lookup.declared()
            assert told is not None, "nobody has looked"
            found = told
            nested = [c for c in self.config.keys.values() if c not in found and "." in c]
            if nested and lookup.by_key and self.config.cache == "keys":
                raise WorkflowError(f"keys: {nested[0]} is no column that can be asked for", hint="set cache: all")
        lost = [c for c in self.config.tags if c not in found]
        if lost:
            raise WorkflowError(f"tags: the lookup has no column {lost[0]!r}", hint=f"it has {', '.join(found.names)}")
        return found.tagged({c: [t] if isinstance(t, str) else t for c, t in self.config.tags.items()})

    # ---- running ------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Connect, where the lookup is outside, and see that it is still as planned."""
        context, config = self.context, self.config
        inputs = [context.schemas[str(n)] for n in range(len(context.schemas))]
        bytes_max = config.cache_bytes or context.budget.memory_bytes_max // 2
        patience: Patience | None = None
        if config.origin is not None:
            patience = Patience(lookup_of(config, context), config.retry, context)
            self._looked = patience.ask(lambda lookup: lookup.schema())
        main = self._main(inputs)
        plan = self._plan_ = EnrichmentPlan(config, main, self._side_schema(inputs), context)
        planned = context.outputs.get("")
        if planned is not None and [(c.name, c.type) for c in planned] != [(c.name, c.type) for c in plan.output]:
            raise DataError("the lookup has other columns than when the workflow was planned", hint="run it again")
        self._waits = context.lookup and config.wait
        self._held = HeldRows(main.to_arrow(), context.budget.memory_bytes_max // _HELD_SHARE, context)
        if patience is None:
            changes = "_op" in plan.side
            side = GatheredSide(plan, bytes_max, newest=context.lookup and (changes or not config.wait))
            if config.rows is not None:
                side.take(table_of_rows(config))
            self._side = side
        else:
            by_key = patience.lookup.by_key and config.cache == "keys"
            kind = KeyedSide if by_key else WholeSide
            self._side = kind(plan, patience, bytes_max, context.runtime.clock.monotonic)

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        """Take in rows of the lookup; enrich the others, or let them wait."""
        if self.context.lookup and port == len(self.context.schemas) - 1:
            self._gathered.take(batch.rows)
            self._packed = None
            self.count("absorbed", batch.num_rows)
        elif self._waits:
            assert self._held is not None
            self._held.add(batch.rows)
            self.count("absorbed", batch.num_rows)
        else:
            yield from self._enriched(batch)

    def end(self, port: int) -> Iterable[Batch]:
        """When all rows of the lookup are there, enrich those that waited."""
        if self._waits and port == len(self.context.schemas) - 1:
            assert self._held is not None
            self._waits = False
            for rows in self._held.take():
                self.count("expanded", rows.num_rows)
                yield from self._enriched(Batch(rows))

    def snapshot(self) -> Mapping[int, bytes]:
        """Return the rows of a lookup that is a node, which all instances have, and those that wait here."""
        state = told_state({"held": self._held}) if self._held is not None else {}
        if self.context.lookup and self.context.index == 0:
            if self._packed is None:
                rows = self._gathered.rows
                self._packed = packed(iter([rows]), rows.schema)
            state[EVERYWHERE] = self._packed
        return state

    def segments(self) -> Sequence[str]:
        """Return where the rows are that wait."""
        return self._held.segments() if self._held is not None else ()

    def restore(self, state: Mapping[int, bytes]) -> None:
        """Take both back."""
        assert self._held is not None
        restore_told({"held": self._held}, state)
        for rows in unpacked(state[EVERYWHERE]) if EVERYWHERE in state else ():
            self._gathered.take(rows)

    def close(self) -> None:
        """Disconnect, and free the statements."""
        for part in (self._side, self._plan_, self._held):
            if part is not None:
                part.close()

    # ---- rows ---------------------------------------------------------------------------------------------------

    @property
    def _gathered(self) -> GatheredSide:
        assert isinstance(self._side, GatheredSide)
        return self._side

    @property
    def _plan(self) -> EnrichmentPlan:
        assert self._plan_ is not None, "it is not open"
        return self._plan_

    def _enriched(self, batch: Batch) -> Iterator[Batch]:
        """Yield what becomes of the rows of a batch, and count it."""
        came = batch.num_rows
        assert self._side is not None
        rows = batch.rows
        keys = self._keys(rows)
        answer = self._side.find(keys)
        for part in self._answered(rows, keys, answer):
            came -= part.num_rows
            yield batch.replace(part.rows, part.stream)
        self.count("expanded", max(0, -came))
        self.count("filtered", max(0, came))

    def _keys(self, rows: pa.Table) -> list[pa.ChunkedArray]:
        """Return the keys of rows; a change that leaves no row has none, and nothing is looked up for it."""
        import pyarrow as pa
        import pyarrow.compute as pc

        keys = self._plan.key_columns(rows)
        if OP not in rows.schema.names:
            return keys
        gone = is_gone(rows)
        return [pc.if_else(gone, pa.scalar(None, key.type), key) for key in keys]

    def _answered(self, rows: pa.Table, keys: Sequence[pa.ChunkedArray], answer: Answer) -> Iterator[Batch]:
        import pyarrow.compute as pc

        on_error, silent = self.context.on_error, answer.unanswered
        if silent is not None and OP in rows.schema.names:
            silent = pc.and_not(silent, is_gone(rows))
        if silent is not None and answer.down is not None and pc.any(silent).as_py():
            if on_error == "fail":
                raise answer.down
            if on_error in ("skip", "dead_letter"):
                yield self._rejected(rows.filter(silent), f"the lookup does not answer: {answer.down.what}")
                spoken = pc.invert(silent)
                rows, keys, silent = rows.filter(spoken), [k.filter(spoken) for k in keys], None
        yield from self._found(rows, keys, answer, silent)

    def _found(
        self, rows: pa.Table, keys: Sequence[pa.ChunkedArray], answer: Answer, silent: pa.Array | None
    ) -> Iterator[Batch]:
        """Yield the rows with what is taken, and those for which nothing is found; `silent` ones are kept."""
        import pyarrow.compute as pc

        plan, index, miss = self._plan, answer.known.index, self.config.miss
        parents, places = None, None
        if self.config.multiple == "all":
            match = index.all(keys)
            parents, places = match.parents, match.rows
        else:
            places = index.first(keys)
        if parents is not None:
            rows = rows.take(parents)
            silent = silent.take(parents) if silent is not None else None
        found = pc.is_valid(places)
        if miss in ("drop", "fail", "dead_letter") and places.null_count:
            kept = found if silent is None else pc.or_(found, silent)
            if OP in rows.schema.names:
                rows, kept = self._with_deletes(rows, kept)
            lost = rows.filter(pc.invert(kept))
            if lost.num_rows and miss != "drop":
                yield self._missed(lost)
            if lost.num_rows:
                rows, places, found = rows.filter(kept), places.filter(kept), found.filter(kept)
        yield Batch(plan.assembled(rows, answer.known.taken.take(places), found))

    def _with_deletes(self, rows: pa.Table, found: pa.Array) -> tuple[pa.Table, pa.Array]:
        """Return changes and which of them go on: those that leave no row, too, and what is dropped as a delete."""
        import pyarrow.compute as pc

        if self.config.miss == "drop":
            return Changes(rows).told(found)
        return rows, pc.or_(found, is_gone(rows))

    def _missed(self, lost: pa.Table) -> Batch:
        named = ", ".join(self.config.keys)
        if self.config.miss == "fail":
            raise DataError(
                f"{lost.num_rows:,} rows of a batch have no row in the lookup ({named})",
                hint="say what a miss means: miss: keep, drop, default or dead_letter",
            )
        return self._rejected(lost, f"there is no row in the lookup ({named})")

    def _rejected(self, rows: pa.Table, reason: str) -> Batch:
        import pyarrow as pa

        reasons = pa.repeat(pa.scalar(reason), rows.num_rows)
        return Batch(Rejected(self.context.node, rows, reasons, self._plan.main).as_errors(), _ERRORS)


__all__ = ["Enrichment", "EnrichmentConfig"]
