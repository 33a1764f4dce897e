"""What every source must do, as tests: subclass `SourceSuite`, say how to make the source, and let pytest run it.

class TestDice(SourceSuite):
    def new(self, **changes):
        return staged(Dice(DiceConfig(rolls=20)), **changes)
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from dataflare.component.context import ReadHints
from dataflare.testing.stage import batches_of, settled, splits_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dataflare.batch import Batch
    from dataflare.component import SourceConnector, Split

Rows = dict[str, list[dict[str, Any]]]


class SourceSuite(ABC):
    """Checks splits, positions, replay and pushdown of a bounded source with replay `exact`."""

    @abstractmethod
    def new(self, **changes: Any) -> SourceConnector[Any]:
        """Return a new instance, not opened, over the same data each time; `changes` go to its context."""

    # ---- the checks ---------------------------------------------------------------------------------------------

    def test_splits_have_their_own_ids_and_json_values(self) -> None:
        """A checkpoint keeps splits as JSON."""
        splits = self._splits()
        assert splits, "the suite needs a source with rows"
        assert len({s.id for s in splits}) == len(splits)
        for split in splits:
            assert plain(split.data) == dict(split.data)
            assert split.resume is None or plain(split.resume) == dict(split.resume)

    def test_splits_are_the_same_every_time(self) -> None:
        """Enumeration is repeatable."""
        assert [s.id for s in self._splits()] == [s.id for s in self._splits()]

    def test_enumeration_goes_on_after_any_split(self) -> None:
        """A source that sets `resume` goes on exactly there; one that sets none yields all again."""
        splits = self._splits()
        if splits[0].resume is None:
            assert all(s.resume is None for s in splits)
            return
        for number, split in enumerate(splits):
            rest = [s.id for s in self._splits(plain(split.resume))]
            assert rest == [s.id for s in splits[number + 1 :]], f"after split {number}"

    def test_rows_have_the_planned_columns_and_every_batch_a_position(self) -> None:
        """Batches fit the schema that the source told, to the type."""
        source = self._opened()
        schema = source.context.schemas[""].to_arrow()
        for split in self._splits():
            for batch in batches_of(source, split):
                assert batch.position is not None
                assert plain(batch.position) == dict(batch.position)
                if batch.stream == "":
                    assert batch.rows.schema.names == schema.names
                    assert batch.rows.schema.types == schema.types
        settled(source.close())

    def test_replay_is_exact(self) -> None:
        """The same rows in the same order, from another instance too."""
        assert self._all() == self._all()

    def test_a_resume_after_any_batch_yields_exactly_the_rest(self) -> None:
        """Nothing is lost and nothing comes twice, whichever batch was the last."""
        source = self._opened()
        for split in self._splits():
            whole = list(batches_of(source, split))
            for number, batch in enumerate(whole):
                fresh = self._opened()
                rest = rows_of(batches_of(fresh, split, plain(batch.position)))
                settled(fresh.close())
                assert rest == rows_of(whole[number + 1 :]), f"{split.id} after batch {number}"
        settled(source.close())

    def test_reading_stops_at_until(self) -> None:
        """`until` is the last position that is read."""
        source = self._opened()
        for split in self._splits():
            whole = list(batches_of(source, split))
            for number, batch in enumerate(whole):
                part = rows_of(batches_of(source, split, None, plain(batch.position)))
                assert part == rows_of(whole[: number + 1]), f"{split.id} until batch {number}"
        settled(source.close())

    def test_splits_may_be_read_in_any_order(self) -> None:
        """A split stands alone."""
        source = self._opened()
        splits = self._splits()
        forward = {s.id: rows_of(batches_of(source, s)) for s in splits}
        backward = {s.id: rows_of(batches_of(source, s)) for s in reversed(splits)}
        settled(source.close())
        assert forward == backward

    def test_pushed_down_columns_are_the_only_ones_read(self) -> None:
        """Where the spec says `columns`, hints are honoured: these columns, in the order of the schema."""
        source = self.new()
        if "columns" not in type(source).spec.traits.pushdown:
            return
        names = source.context.schemas[""].names
        wanted = tuple(names[1:]) or tuple(names)
        whole, pruned = self._all(), self._all(hints=ReadHints(columns=wanted))
        assert all(tuple(row) == wanted for row in pruned[""])
        if list(whole) == [""]:  # a value that nobody reads rejects no row
            assert pruned[""] == [{n: row[n] for n in wanted} for row in whole[""]]

    def test_closing_twice_is_harmless(self) -> None:
        """`close` is called after a failed `open` too."""
        source = self.new()
        settled(source.close())
        source = self._opened()
        settled(source.close())
        settled(source.close())

    # ---- ways to ask --------------------------------------------------------------------------------------------

    def _opened(self, **changes: Any) -> SourceConnector[Any]:
        source = self.new(**changes)
        settled(source.open())
        return source

    def _splits(self, since: Any = None) -> list[Split]:
        source = self._opened()
        try:
            return list(splits_of(source, since))
        finally:
            settled(source.close())

    def _all(self, **changes: Any) -> Rows:
        source = self._opened(**changes)
        try:
            return rows_of(batch for split in splits_of(source) for batch in batches_of(source, split))
        finally:
            settled(source.close())


def rows_of(batches: Iterable[Batch]) -> Rows:
    """Return rows by stream."""
    found: Rows = {"": []}
    for batch in batches:
        if batch.num_rows:
            found.setdefault(batch.stream, []).extend(batch.rows.to_pylist())
    return found


def plain(value: Any) -> Any:
    """Return a JSON value as it comes back from a checkpoint."""
    return json.loads(json.dumps(value))


__all__ = ["SourceSuite", "plain", "rows_of"]
