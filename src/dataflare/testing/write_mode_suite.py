"""What the write modes of a database must do, as tests against models in plain Python.

Subclass `WriteModeSuite`, say how to make a destination and how to look into its table. A mode that its spec does not
name is not asked for.
"""

from __future__ import annotations

import datetime as dt
import random
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from dataflare.changes import COMMIT_TS, OP, TX, UNCHANGED, Op
from dataflare.component import Epoch
from dataflare.errors import DataError
from dataflare.plan_words import Mechanism
from dataflare.testing.change_log import CHANGES, START, TABLE, ChangeLog, Merged, change_batch
from dataflare.testing.source_suite import plain
from dataflare.testing.stage import settled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dataflare.component import DestinationConnector, Handle
    from dataflare.schema import Schema
    from dataflare.testing.change_log import Change

SEEDS = range(5)
_EPOCHS = 6


class WriteModeSuite(ABC):
    """Checks write modes with the mechanism `direct` or `staged`, over crashes, time-outs and several instances."""

    mechanism: ClassVar[Mechanism] = Mechanism.DIRECT
    schema: ClassVar[Schema] = CHANGES

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
        for seed in SEEDS if self._claims("merge") else ():
            self._merged(seed, {}, Merged(), ["id", "name", "note"])

    def test_deleted_rows_may_stay_marked(self) -> None:
        """A later insert revives them."""
        settings = {"deletes": "soft", "deleted_at": "gone"}
        for seed in SEEDS if self._claims("merge") else ():
            self._merged(seed, settings, Merged("soft"), ["id", "name", "note", "gone"])

    def test_deletes_may_be_ignored(self) -> None:
        """Rows stay as they were."""
        for seed in SEEDS if self._claims("merge") else ():
            self._merged(seed, {"deletes": "ignore"}, Merged("ignore"), ["id", "name", "note"])

    def test_late_and_repeated_changes_are_left_out_where_the_place_is_kept(self) -> None:
        """What was changed later stays, whatever comes again."""
        settings = {"deletes": "soft", "deleted_at": "gone", "changes": {"tx": "place", "op": "what"}}
        columns = ["id", "name", "note", "gone", "place", "what"]
        for seed in SEEDS if self._claims("merge") else ():
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

    def _refused(self, changes: Sequence[Change]) -> DataError:
        """Return the error that stops these changes."""
        head = self._opened({}, "merge")
        try:
            self._committed(head, 1, changes)
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
        for seed in SEEDS if self._claims("append") else ():
            chance = random.Random(seed)  # noqa: S311 - nothing secret
            log, told = ChangeLog(chance), list[Any]()
            self.emptied()
            epochs = (log.take(chance.randint(0, 40)) for _ in range(_EPOCHS))
            for changes in self._played(chance, settings, "append", epochs):
                told += changes
                expected = [{c: change[names.get(c, c)] for c in columns} for change in told]
                assert self._sorted(self.table(columns)) == self._sorted(expected), f"seed {seed}"

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
        for changes in self._played(chance, settings, "merge", epochs()):
            model.apply(changes)
            expected = [{c: row[names.get(c, c)] for c in columns} for row in model.rows.values()]
            assert self._sorted(self.table(columns)) == self._sorted(expected), f"seed {seed}"

    def _played(
        self, chance: random.Random, settings: dict[str, Any], mode: str, epochs: Iterable[list[Change]]
    ) -> Iterator[list[Change]]:
        """Write epochs, with crashes before and after the commit, and yield each when it is committed."""
        attempt, heads = 1, self._instances(chance, settings, mode, 1)
        for number, changes in enumerate(epochs, 1):
            if chance.random() < 0.3:  # noqa: PLR2004 - it died before the epoch was decided
                self._written(chance, heads, number, attempt, changes)
                attempt += 1
                heads = self._anew(chance, settings, mode, attempt, heads)
            handles = self._written(chance, heads, number, attempt, changes)
            settled(heads[0].commit(Epoch(number, attempt), handles))
            if self.mechanism is not Mechanism.DIRECT and chance.random() < 0.5:  # noqa: PLR2004 - and after
                decided, attempt = attempt, attempt + 1
                heads = self._anew(chance, settings, mode, attempt, heads)
                settled(heads[0].commit(Epoch(number, decided), handles))
            settled(heads[0].abort([]))
            yield changes
        for head in heads:
            settled(head.finish() if head is heads[0] else None)
            settled(head.close())

    def _anew(
        self,
        chance: random.Random,
        settings: dict[str, Any],
        mode: str,
        attempt: int,
        dead: Sequence[DestinationConnector[Any]],
    ) -> list[DestinationConnector[Any]]:
        for instance in dead:
            settled(instance.close())
        return self._instances(chance, settings, mode, attempt)

    def _instances(
        self, chance: random.Random, settings: dict[str, Any], mode: str, attempt: int
    ) -> list[DestinationConnector[Any]]:
        several = self.mechanism is not Mechanism.DIRECT and type(self.new({})).spec.traits.parallel
        count = chance.randint(1, 2) if several else 1
        return [self._opened(settings, mode, attempt=attempt, index=index, parallelism=count) for index in range(count)]

    def _written(
        self,
        chance: random.Random,
        heads: Sequence[DestinationConnector[Any]],
        number: int,
        attempt: int,
        changes: Sequence[Change],
    ) -> list[Handle]:
        """Write the changes of an epoch, each key by one instance, in batches, with a time-out now and then."""
        handles: list[Handle] = []
        while changes:
            count = chance.randint(1, len(changes))
            part, changes = changes[:count], changes[count:]
            for index, head in enumerate(heads):
                mine = [c for c in part if (c["id"] or 0) % len(heads) == index]
                if mine:
                    settled(head.write(change_batch(mine, self.schema)))
            if chance.random() < 0.2:  # noqa: PLR2004 - the epoch goes on under its number
                handles += self._prepared(heads, number, attempt)
        return handles + self._prepared(heads, number, attempt)

    @staticmethod
    def _prepared(heads: Sequence[DestinationConnector[Any]], number: int, attempt: int) -> list[Handle]:
        return [plain(h) for head in heads for h in settled(head.prepare(Epoch(number, attempt)))]

    def _committed(self, head: DestinationConnector[Any], number: int, changes: Sequence[Change]) -> None:
        settled(head.write(change_batch(changes, self.schema)))
        settled(head.commit(Epoch(number, 1), self._prepared([head], number, 1)))

    def _opened(self, settings: dict[str, Any], mode: str, **changes: Any) -> DestinationConnector[Any]:
        told = {"attempt": 1, "mechanism": self.mechanism, "write_mode": mode, "key": ("id",), **changes}
        made = self.new(settings, schemas={"0": self.schema}, **told)
        settled(made.open())
        return made

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


__all__ = ["SEEDS", "WriteModeSuite"]
