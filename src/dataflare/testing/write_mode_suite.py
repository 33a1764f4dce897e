"""What the write modes of a database must do, as tests against models in plain Python.

Subclass `WriteModeSuite`, say how to make a destination and how to look into its table. A mode that its spec does not
name is not asked for.
"""

from __future__ import annotations

import datetime as dt
import random
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from dataflare.batch import Batch
from dataflare.changes import COMMIT_TS, OP, TX, UNCHANGED, Op
from dataflare.component import Epoch
from dataflare.errors import DataError
from dataflare.executor.runtime import LocalRuntime
from dataflare.plan_words import Mechanism
from dataflare.schema import Column, Schema
from dataflare.testing.change_log import CHANGES, START, TABLE, ChangeLog, Merged, Versions
from dataflare.testing.epoch_play import EpochPlay, Rows
from dataflare.testing.source_suite import plain
from dataflare.testing.stage import settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dataflare.component import DestinationConnector
    from dataflare.testing.change_log import Change

_TIMED = Schema((*TABLE, Column("at", "timestamp")))
_EPOCHS = 6


class WriteModeSuite(ABC):
    """Checks write modes with the mechanism `direct` or `staged`, over crashes, time-outs and several instances."""

    mechanism: ClassVar[Mechanism] = Mechanism.DIRECT
    seeds: ClassVar[Sequence[int]] = range(5)

    @abstractmethod
    def new(self, settings: dict[str, Any], **changes: Any) -> DestinationConnector[Any]:
        """Return a new instance, not opened, on the same target; `settings` are added to those of the connector."""

    @abstractmethod
    def table(self, columns: Sequence[str]) -> list[dict[str, Any]]:
        """Return these columns of all rows of the target, in any order; times are datetimes, or ISO texts."""

    @abstractmethod
    def emptied(self) -> None:
        """Remove the target and all that the destination keeps beside it."""

    # ---- changes in merge ---------------------------------------------------------------------------------------

    def test_merged_changes_are_the_table_of_the_source(self) -> None:
        """Inserts, updates, deletes, truncations and values that were left out."""
        for seed in self.seeds if self._claims("merge") else ():
            self._merged(seed, {}, Merged(), ["id", "name", "note"])

    def test_deleted_rows_may_stay_marked(self) -> None:
        """A later insert revives them."""
        settings = {"deletes": "soft", "deleted_at": "gone"}
        for seed in self.seeds if self._claims("merge") else ():
            self._merged(seed, settings, Merged("soft"), ["id", "name", "note", "gone"])

    def test_deletes_may_be_ignored(self) -> None:
        """Rows stay as they were."""
        for seed in self.seeds if self._claims("merge") else ():
            self._merged(seed, {"deletes": "ignore"}, Merged("ignore"), ["id", "name", "note"])

    def test_late_and_repeated_changes_are_left_out_where_the_place_is_kept(self) -> None:
        """What was changed later stays, whatever comes again."""
        settings = {"deletes": "soft", "deleted_at": "gone", "changes": {"tx": "place", "op": "what"}}
        columns = ["id", "name", "note", "gone", "place", "what"]
        for seed in self.seeds if self._claims("merge") else ():
            self._merged(seed, settings, Merged("soft", by_place=True), columns, repeats=True)

    def test_an_unchanged_value_of_a_row_that_is_not_there_is_refused(self) -> None:
        """It would become null (invariant 6)."""
        if not self._claims("merge"):
            return
        lost = _change(1, Op.UPDATE, 7, unchanged=["note"])
        gone = [_change(1, Op.INSERT, 7), _change(2, Op.DELETE, 7), {**lost, TX: "3"}]
        emptied = [_change(1, Op.INSERT, 7), _change(2, Op.TRUNCATE, None), {**lost, TX: "3"}]
        for changes in ([lost], gone, emptied):
            self.emptied()
            error = self._refused(changes)
            assert "note" in error.what
            assert "replica identity full" in error.hint
            assert self.table(["id"]) == []

    def test_changes_without_a_key_or_of_an_unknown_kind_are_refused(self) -> None:
        """The row is told by what is wrong with it, before anything is written."""
        if not self._claims("merge"):
            return
        for wrong in (_change(1, Op.INSERT, None), {**_change(1, Op.INSERT, 1), OP: "upsert"}):
            self.emptied()
            self._refused([wrong])

    def _refused(self, changes: Sequence[Change], mode: str = "merge") -> DataError:
        """Return the error that stops these changes."""
        head = self._made({}, mode, CHANGES)
        try:
            self._commit(head, changes, CHANGES)
        except DataError as error:
            return error
        finally:
            settled(head.close())
        raise AssertionError(f"they were taken: {changes}")

    # ---- changes as a log ---------------------------------------------------------------------------------------

    def test_a_log_keeps_every_change_under_the_names_that_are_asked_for(self) -> None:
        """Deletes and truncations are rows like others."""
        settings = {"changes": {"op": "what", "tx": "_tx", "commit_ts": "happened"}}
        columns = ["id", "name", "what", "_tx", "happened"]
        names = {"what": OP, "happened": COMMIT_TS}
        for seed in self.seeds if self._claims("append") else ():
            chance = random.Random(seed)  # noqa: S311 - nothing secret
            log, told = ChangeLog(chance), list[Any]()
            self.emptied()
            epochs = (log.take(chance.randint(0, 40)) for _ in range(_EPOCHS))
            for changes in self._played(chance, settings, "append", epochs, CHANGES):
                told += changes
                expected = [{c: change[names.get(c, c)] for c in columns} for change in told]
                assert self._sorted(self.table(columns)) == self._sorted(expected), f"seed {seed}"

    # ---- versions -----------------------------------------------------------------------------------------------

    def test_versions_of_changes_are_kept(self) -> None:
        """Each change that differs opens a version and closes the one before; deletes only close."""
        for deletes in ("hard", "ignore") if self._claims("scd2") else ():
            for seed in self.seeds:
                self._versions(seed, {"deletes": deletes}, Versions(deletes), CHANGES)

    def test_versions_of_rows_begin_with_their_epoch(self) -> None:
        """The last row of a key in an epoch counts."""
        for seed in self.seeds if self._claims("scd2") else ():
            self._versions(seed, {}, Versions(), TABLE)

    def test_versions_of_rows_may_begin_at_a_time_that_the_rows_tell(self) -> None:
        """Then each of them counts, and none begins before the one that it follows."""
        for seed in self.seeds if self._claims("scd2") else ():
            self._versions(seed, {"history": {"at": "at"}}, Versions(), _TIMED)

    def test_an_unchanged_value_without_a_version_is_refused(self) -> None:
        """It would become null (invariant 6)."""
        if self._claims("scd2"):
            self.emptied()
            changes = [_change(1, Op.INSERT, 7), _change(2, Op.DELETE, 7), _change(3, Op.UPDATE, 7, ["note"])]
            assert "note" in self._refused(changes, "scd2").what

    # ---- rows in the other modes --------------------------------------------------------------------------------

    def test_insert_only_keeps_what_is_there(self) -> None:
        """The first row of a key stays."""

        def model(table: Rows, epoch: Rows) -> Rows:
            there = {row["id"] for row in table}
            firsts = {row["id"]: row for row in reversed(epoch)}
            return [*table, *(row for key, row in firsts.items() if key not in there)]

        self._modelled("insert_only", {}, model)

    def test_insert_only_says_at_the_end_how_many_rows_were_left_out(self) -> None:
        """Rows that are there already, and those whose key came before."""
        if not self._claims("insert_only"):
            return
        self._prepared_table([{"id": 1, "name": "old", "note": None}], "insert_only")
        events: list[Any] = []
        runtime = LocalRuntime(events.append)
        head = self._made({}, "insert_only", TABLE, attempt=2, runtime=runtime)
        self._commit(head, [{"id": key, "name": "new", "note": None} for key in (1, 2, 2, 3)], TABLE, 2)
        assert events == []
        settled(head.finish())
        assert [event.message for event in events] == ["2 rows were left out: their key was there already"]

    def test_update_changes_only_what_is_there(self) -> None:
        """Rows with a new key are left out; the last row of a key counts."""

        def model(table: Rows, epoch: Rows) -> Rows:
            lasts = {row["id"]: row for row in epoch}
            return [lasts.get(row["id"], row) for row in table]

        self._modelled(
            "update", {}, model, there=[{"id": key, "name": "old", "note": None} for key in (0, 3, 3, 5, 99)]
        )

    def test_delete_insert_replaces_all_rows_of_a_key_by_those_of_an_epoch(self) -> None:
        """Several rows may have one key."""

        def model(table: Rows, epoch: Rows) -> Rows:
            keys = {row["id"] for row in epoch}
            return [*(row for row in table if row["id"] not in keys), *epoch]

        self._modelled("delete_insert", {"replaces": "epoch"}, model)

    def test_delete_insert_replaces_all_rows_of_a_key_by_those_of_a_run(self) -> None:
        """They show at its end, and not before."""
        old = [{"id": key, "name": "old", "note": None} for key in (0, 3, 3, 99)]
        for seed in self.seeds if self._claims("delete_insert") else ():
            chance, came = random.Random(seed), Rows()  # noqa: S311 - nothing secret
            self._prepared_table(old)
            for epoch in self._played(chance, {}, "delete_insert", self._rows(seed), first=2):
                came += epoch
                assert self._sorted(self.table(TABLE.names)) == self._sorted(old), f"seed {seed}"
            keys = {row["id"] for row in came}
            expected = [*(row for row in old if row["id"] not in keys), *came]
            assert self._sorted(self.table(TABLE.names)) == self._sorted(expected), f"seed {seed}"

    def _modelled(
        self, mode: str, settings: dict[str, Any], model: Callable[[Rows, Rows], Rows], there: Sequence[Change] = ()
    ) -> None:
        for seed in self.seeds if self._claims(mode) else ():
            chance, expected = random.Random(seed), Rows(there)  # noqa: S311 - nothing secret
            self.emptied()
            if there:
                self._prepared_table(there)
            for epoch in self._played(chance, settings, mode, self._rows(seed), first=2 if there else 1):
                expected = model(expected, epoch)
                assert self._sorted(self.table(TABLE.names)) == self._sorted(expected), f"seed {seed}"

    def _prepared_table(self, rows: Sequence[Change], mode: str = "append") -> None:
        """Make the table by an earlier run; one that appended rows knows no key."""
        self.emptied()
        head = self._made({}, mode, TABLE, **({"key": ()} if mode == "append" else {}))
        self._commit(head, rows, TABLE)
        settled(head.finish())
        settled(head.close())

    @staticmethod
    def _commit(
        head: DestinationConnector[Any], rows: Sequence[dict[str, Any]], schema: Schema, number: int = 1
    ) -> None:
        settled(head.open())
        settled(head.write(Batch.of(rows, schema=schema.to_arrow())))
        epoch = Epoch(number, number)
        settled(head.commit(epoch, [plain(h) for h in settled(head.prepare(epoch))]))

    def _versions(self, seed: int, settings: dict[str, Any], model: Versions, schema: Schema) -> None:
        names = [c.name for c in schema if c.name in TABLE or c.name == "at"]
        columns = [*names, "valid_from", "valid_to", "is_current"]
        epochs = self._changes(seed) if schema is CHANGES else self._rows(seed, told=schema is _TIMED)
        self.emptied()
        played = self._played(random.Random(seed), settings, "scd2", epochs, schema)  # noqa: S311 - nothing secret
        for number, epoch in enumerate(played, 1):
            came = list({row["id"]: row for row in epoch}.values()) if schema is TABLE else epoch
            at = START + dt.timedelta(hours=number)
            model.apply([{OP: Op.INSERT, COMMIT_TS: row.get("at") or at, **row} for row in came], names)
            expected = [dict(zip(columns, row.values(), strict=True)) for row in model.rows]
            found = [{**row, "is_current": bool(row["is_current"])} for row in self.table(columns)]
            assert self._sorted(found) == self._sorted(expected), f"seed {seed}"

    @staticmethod
    def _changes(seed: int) -> Iterator[Rows]:
        chance = random.Random(seed + 1)  # noqa: S311 - nothing secret
        log = ChangeLog(chance)
        return (log.take(chance.randint(0, 40)) for _ in range(_EPOCHS))

    @staticmethod
    def _rows(seed: int, *, told: bool = False) -> Iterator[Rows]:
        """Yield the rows of epochs; `told`: with a time."""
        chance = random.Random(seed + 1)  # noqa: S311 - nothing secret
        for _ in range(_EPOCHS):
            rows = Rows()
            for _ in range(chance.randint(0, 12)):
                at = {"at": START + dt.timedelta(minutes=chance.randrange(1000))} if told else {}
                rows.append({"id": chance.randrange(8), "name": f"n{chance.randrange(3)}", "note": None, **at})
            yield rows

    # ---- ways to play -------------------------------------------------------------------------------------------

    def _merged(
        self, seed: int, settings: dict[str, Any], model: Merged, columns: list[str], *, repeats: bool = False
    ) -> None:
        chance = random.Random(seed)  # noqa: S311 - nothing secret
        log, told = ChangeLog(chance, truncates=not repeats), list[Any]()
        model = Merged(model.deletes, model.by_place)
        names = {"gone": "deleted_at", "place": "tx", "what": "op"}

        def epochs() -> Iterator[list[Change]]:
            for _ in range(_EPOCHS):
                changes = log.take(chance.randint(0, 40))
                told.extend(changes)
                yield changes + (chance.sample(told, min(len(told), 5)) if repeats else [])

        self.emptied()
        for changes in self._played(chance, settings, "merge", epochs(), CHANGES):
            model.apply(changes)
            expected = [{c: row[names.get(c, c)] for c in columns} for row in model.rows.values()]
            assert self._sorted(self.table(columns)) == self._sorted(expected), f"seed {seed}"

    def _played(
        self,
        chance: random.Random,
        settings: dict[str, Any],
        mode: str,
        epochs: Iterable[Rows],
        schema: Schema = TABLE,
        first: int = 1,
    ) -> Iterator[Rows]:
        """Write epochs in bad times, and yield each when it is committed."""
        new = partial(self._made, settings, mode, schema)
        return EpochPlay(new, chance, self.mechanism, schema, first).run(epochs)

    def _made(self, settings: dict[str, Any], mode: str, schema: Schema, **changes: Any) -> DestinationConnector[Any]:
        told = {"attempt": 1, "mechanism": self.mechanism, "write_mode": mode, "key": ("id",), **changes}
        return self.new(settings, schemas={"0": schema}, **told)

    def _claims(self, mode: str) -> bool:
        return mode in type(self.new({})).spec.traits.write_modes

    @staticmethod
    def _sorted(rows: Iterable[dict[str, Any]]) -> list[tuple[Any, ...]]:
        found = [tuple(_moment(value) for value in row.values()) for row in rows]
        return sorted(found, key=lambda row: [(value is not None, str(value)) for value in row])


def _moment(value: Any) -> Any:
    """Return a time that is told as ISO text as what it is."""
    if isinstance(value, str) and value[:2] == "20" and value[4:5] == "-":
        return dt.datetime.fromisoformat(value)
    return value


def _change(number: int, op: Op, key: int | None, unchanged: list[str] | None = None) -> Change:
    values = {name: None if name != "id" else key for name in TABLE.names}
    at = START + dt.timedelta(seconds=number)
    return {**values, OP: str(op), COMMIT_TS: at, TX: str(number), UNCHANGED: unchanged}


__all__ = ["WriteModeSuite"]
