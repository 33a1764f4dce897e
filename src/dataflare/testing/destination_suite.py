"""What every destination must do, as tests: subclass `DestinationSuite`, say how to make one and how to look into it.

class TestShelf(DestinationSuite):
    mechanism = Mechanism.TWO_PHASE
    def new(self, **changes):
        return staged(Shelf(ShelfConfig()), schemas={"0": SUITE_SCHEMA}, **changes)
    def visible(self):
        return shelf_rows()
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from dataflare.batch import Batch
from dataflare.component import Epoch
from dataflare.errors import DataFlareError, FencedError, StateError
from dataflare.plan_words import Mechanism
from dataflare.schema import Schema
from dataflare.testing.source_suite import plain
from dataflare.testing.stage import settled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.component import DestinationConnector, Handle

SUITE_SCHEMA = Schema.of({"id": "int64", "name": "string"})
"""The columns of the rows that the suite writes."""


class DestinationSuite(ABC):
    """Checks a destination by the mechanism that it was planned with: two_phase, staged or direct."""

    mechanism: ClassVar[Mechanism] = Mechanism.TWO_PHASE
    fences: ClassVar[bool] = False
    """Whether `open` of an older attempt raises FencedError once a newer one has opened."""
    at_end: ClassVar[bool] = False
    """Whether rows become visible at `finish` only."""

    @abstractmethod
    def new(self, **changes: Any) -> DestinationConnector[Any]:
        """Return a new instance, not opened, on the same target; `changes` (attempt, index ...) go to its context."""

    @abstractmethod
    def visible(self) -> list[dict[str, Any]]:
        """Return the rows that a reader sees now, in any order."""

    def left_over(self) -> int:
        """Return how many staged things lie about; override it where they can be seen."""
        return 0

    # ---- the checks ---------------------------------------------------------------------------------------------

    def test_rows_are_visible_after_the_commit_and_not_before(self) -> None:
        """Staged rows are nobody's business."""
        head = self._open()
        handles = self._epoch(head, 1, [1, 2])
        assert self.visible() == []
        self._commit(head, 1, handles)
        self._shows([1, 2])

    def test_a_commit_that_is_repeated_changes_nothing(self) -> None:
        """A resume commits the decided epoch again."""
        if self.mechanism is Mechanism.DIRECT:
            return
        head = self._open()
        handles = self._epoch(head, 1, [1, 2])
        for _ in range(3):
            self._commit(head, 1, handles)
        self._shows([1, 2])

    def test_a_fresh_instance_commits_from_handles_alone(self) -> None:
        """The process that staged may be dead; the handles come back from JSON."""
        if self.mechanism is Mechanism.DIRECT:
            return
        dead = self._open()
        handles = self._epoch(dead, 1, [1, 2])
        settled(dead.close())
        head = self._open(attempt=2)
        self._commit(head, 1, handles, attempt=1)
        settled(head.close())
        again = self._open(attempt=3)
        self._commit(again, 1, handles, attempt=1)
        self._shows([1, 2])

    def test_rows_without_a_commit_never_show(self) -> None:
        """An undecided epoch never happened, and its rows come again in the next attempt."""
        dead = self._open()
        self._epoch(dead, 1, [1, 2])
        settled(dead.close())
        head = self._open(attempt=2)
        self._commit(head, 1, self._epoch(head, 1, [1, 2, 3], attempt=2), attempt=2)
        settled(head.abort([]))
        self._shows([1, 2, 3])
        assert self.left_over() == 0

    def test_abort_removes_what_older_attempts_staged_and_keeps_what_is_named(self) -> None:
        """Kept handles can still be committed."""
        if self.mechanism is Mechanism.DIRECT:
            return
        dead = self._open()
        kept = self._epoch(dead, 1, [1])
        self._epoch(dead, 2, [2])
        settled(dead.close())
        head = self._open(attempt=2)
        settled(head.abort(kept))
        self._commit(head, 1, kept, attempt=1)
        self._shows([1])

    def test_abort_leaves_this_attempt_alone(self) -> None:
        """Rows in flight are not swept away."""
        head = self._open(attempt=2)
        handles = self._epoch(head, 1, [1], attempt=2)
        settled(head.write(rows([2])))
        if self.mechanism is not Mechanism.DIRECT:
            settled(head.abort(handles))
        self._commit(head, 1, handles, attempt=2)
        more = [plain(h) for h in settled(head.prepare(Epoch(2, 2)))]
        self._commit(head, 2, more, attempt=2)
        assert sorted(r["id"] for r in self._final(head)) == [1, 2]

    def test_an_epoch_that_timed_out_goes_on_under_its_number(self) -> None:
        """Two prepares of one epoch: the handles of both are committed together."""
        head = self._open()
        first = self._epoch(head, 1, [1])
        second = self._epoch(head, 1, [2])
        self._commit(head, 1, [*first, *second])
        self._shows([1, 2])

    def test_epochs_follow_each_other_and_an_empty_one_is_harmless(self) -> None:
        """Rows add up over epochs."""
        head = self._open()
        for number, ids in enumerate([[1], [], [2, 3]], 1):
            self._commit(head, number, self._epoch(head, number, ids))
        self._shows([1, 2, 3])

    def test_handles_of_all_instances_are_committed_by_the_head(self) -> None:
        """Where tasks write in parallel."""
        if not self._parallel():
            return
        instances = [self._open(index=n, parallelism=3) for n in range(3)]
        handles = [h for n, i in enumerate(instances) for h in self._epoch(i, 1, [n + 1])]
        self._commit(instances[0], 1, handles)
        self._shows([1, 2, 3])

    def test_a_handle_that_is_nowhere_is_an_error(self) -> None:
        """Lost staging is told, never taken for done."""
        if self.mechanism is not Mechanism.TWO_PHASE:
            return
        head = self._open()
        handles = [{**h, **{k: f"{v}9" for k, v in h.items() if isinstance(v, str)}} for h in self._epoch(head, 1, [1])]
        self._raises(StateError, lambda: self._commit(head, 1, handles))

    def test_overwrite_replaces_at_finish_and_not_before(self) -> None:
        """Readers keep the old rows until the run is complete; finishing twice is harmless."""
        if "overwrite" not in self._write_modes():
            return
        self._run([[1, 2]])
        head = self._open(attempt=2, write_mode="overwrite")
        for number, ids in ((2, [3]), (3, [4, 5])):
            self._commit(head, number, self._epoch(head, number, ids, attempt=2), attempt=2)
            self._sees([1, 2])
        settled(head.finish())
        settled(head.finish())
        self._sees([3, 4, 5])

    def test_a_resume_after_finish_changes_nothing(self) -> None:
        """The crash came between finish and the note that the run is finished."""
        if "overwrite" not in self._write_modes() or self.mechanism is Mechanism.DIRECT:
            return
        head = self._open(write_mode="overwrite")
        handles = self._epoch(head, 1, [1, 2])
        self._commit(head, 1, handles)
        settled(head.finish())
        settled(head.close())
        again = self._open(attempt=2, write_mode="overwrite")
        self._commit(again, 1, handles, attempt=1)
        settled(again.finish())
        self._sees([1, 2])
        self._commit(again, 2, self._epoch(again, 2, [7], attempt=2), attempt=2)
        settled(again.finish())
        self._sees([7])

    def test_overwrite_with_no_rows_leaves_none(self) -> None:
        """An empty result is a result."""
        if "overwrite" not in self._write_modes():
            return
        self._run([[1, 2]])
        head = self._open(attempt=2, write_mode="overwrite")
        self._commit(head, 2, self._epoch(head, 2, [], attempt=2), attempt=2)
        settled(head.finish())
        self._sees([])

    def test_a_broken_off_overwrite_goes_on_in_the_next_attempt(self) -> None:
        """Epochs that were committed before the crash are part of the result."""
        if "overwrite" not in self._write_modes() or self.mechanism is Mechanism.DIRECT:
            return
        self._run([[9]])
        dead = self._open(attempt=2, write_mode="overwrite")
        handles = self._epoch(dead, 2, [1], attempt=2)
        self._commit(dead, 2, handles, attempt=2)
        settled(dead.write(rows([2])))
        settled(dead.close())
        head = self._open(attempt=3, write_mode="overwrite")
        self._commit(head, 2, handles, attempt=2)
        self._commit(head, 3, self._epoch(head, 3, [2], attempt=3), attempt=3)
        settled(head.abort([]))
        settled(head.finish())
        self._sees([1, 2])

    def test_an_older_attempt_is_fenced(self) -> None:
        """Where the mechanism promises it."""
        if not self.fences:
            return
        self._open(attempt=5)
        self._raises(FencedError, lambda: self._open(attempt=4))

    def test_closing_after_nothing_is_harmless(self) -> None:
        """`close` is called after a failed `open` too."""
        settled(self.new().close())
        head = self._open()
        settled(head.close())

    # ---- ways to ask --------------------------------------------------------------------------------------------

    def _open(self, **changes: Any) -> DestinationConnector[Any]:
        changes = {"attempt": 1, "mechanism": self.mechanism, **changes}
        made = self.new(**changes)
        settled(made.open())
        return made

    def _epoch(
        self, instance: DestinationConnector[Any], number: int, ids: Sequence[int], attempt: int = 1
    ) -> list[Handle]:
        """Write rows and prepare; return the handles as they come back from a checkpoint."""
        if ids:
            settled(instance.write(rows(ids)))
        return [plain(h) for h in settled(instance.prepare(Epoch(number, attempt)))]

    def _commit(
        self, head: DestinationConnector[Any], number: int, handles: Sequence[Handle], attempt: int = 1
    ) -> None:
        settled(head.commit(Epoch(number, attempt), handles))
        self._head = head

    def _run(self, epochs: list[list[int]]) -> None:
        """A whole run in the mode append, by attempt 1."""
        head = self._open()
        for number, ids in enumerate(epochs, 1):
            self._commit(head, number, self._epoch(head, number, ids))
        settled(head.finish())
        settled(head.close())

    def _final(self, head: DestinationConnector[Any]) -> list[dict[str, Any]]:
        if self.at_end:
            settled(head.finish())
        return self.visible()

    def _shows(self, ids: list[int]) -> None:
        assert self._sorted(self._final(self._head)) == self._expected(ids)

    def _sees(self, ids: list[int]) -> None:
        assert self._sorted(self.visible()) == self._expected(ids)

    @staticmethod
    def _sorted(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return sorted(({"id": r["id"], "name": r["name"]} for r in found), key=lambda r: r["id"])

    @staticmethod
    def _expected(ids: list[int]) -> list[dict[str, Any]]:
        return [{"id": n, "name": f"name {n}"} for n in sorted(ids)]

    @staticmethod
    def _raises(kind: type[DataFlareError], action: Any) -> None:
        try:
            action()
        except kind:
            return
        raise AssertionError(f"{kind.__name__} was not raised")

    def _parallel(self) -> bool:
        return bool(type(self.new()).spec.traits.parallel)

    def _write_modes(self) -> tuple[str, ...]:
        return tuple(type(self.new()).spec.traits.write_modes)


def rows(ids: Sequence[int]) -> Batch:
    """Return rows of `SUITE_SCHEMA`."""
    records = ({"id": n, "name": f"name {n}"} for n in ids)
    return Batch.of(records, schema=SUITE_SCHEMA.to_arrow())


__all__ = ["SUITE_SCHEMA", "DestinationSuite", "rows"]
