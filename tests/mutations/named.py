"""The mutation list: for each invariant and for supervision, a change to the code and the test that it must turn red.

The protocol's own bugs are in `planted.py`; the simulator finds those. Invariant 6 (an unchanged value never becomes
null) has no code before change capture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Named:
    """A change, the invariant that it breaks, and the test that must fail with it."""

    invariant: str
    change: str
    test: str
    plant: Callable[[], Any]


def _early_mark() -> Any:
    from dataflare.state.checkpoint import CheckpointManager

    def newest(self: Any, decided: Any, *, has_decider: bool) -> Any:
        del decided, has_decider
        found = self.proposals()
        return found[-1] if found else None

    return patch.object(CheckpointManager, "newest", newest)


def _trusting_codec() -> Any:
    from dataflare.security import codec

    return patch.object(codec.zlib, "crc32", lambda *_: 0)


def _short_reads_pass() -> Any:
    from dataflare.state import keyed

    def unpack(data: bytes, wanted: Any) -> dict[int, bytes]:
        del data, wanted
        return {}

    return patch.object(keyed, "unpack", unpack)


def _retention_frees_slots() -> Any:
    from dataflare.state.checkpoint import CheckpointManager

    original = CheckpointManager.retire

    def retire(self: Any, proposal: Any) -> None:
        original(self, proposal)
        records = self.records
        records.delete([k for k in records.keys("log/") if records.get(k)["kind"] == "attempt"])

    return patch.object(CheckpointManager, "retire", retire)


def _compaction_frees_slots() -> Any:
    from dataflare.state.checkpoint import Compacted

    return patch.object(Compacted, "counts", lambda _self, _slot: True)


def _uncounted_rows() -> Any:
    from dataflare.state import ledger

    return patch.object(ledger, "KINDS", ()), patch.object(ledger, "add", lambda total, _: total)


def _every_kind_declared() -> Any:
    from dataflare.state import ledger

    def check_node(node: str, kinds: Any, declared: Any) -> None:
        del node, kinds, declared

    return patch.object(ledger, "check_node", check_node)


def _sums_are_not_compared() -> Any:
    from dataflare.executor.workflow_actor import sums

    return patch.object(sums, "check_sums", lambda *_: None)


def _tags_are_lost() -> Any:
    from dataflare.workflow import loading

    return patch.object(loading, "check_masked", lambda *_: None)


def _always_retry() -> Any:
    from dataflare.actor import supervisor

    return patch.object(supervisor, "_may_retry", lambda _error: True)


def _no_limit() -> Any:
    from dataflare.actor.supervisor import RestartPolicy

    return patch.object(RestartPolicy, "pause", lambda _self, _restarts, _jitter: 1.0)


def _mailbox_without_bound() -> Any:
    from dataflare.actor.mailbox import Mailbox

    async def put(self: Any, message: Any) -> None:
        self.put_now(message)

    return patch.object(Mailbox, "put", put)


STATE = "tests/unit/state"
NAMED = {
    "the newest proposal counts whatever the decider says": Named(
        "2", "newest() ignores the decider", f"{STATE}/test_checkpoints.py::test_a_proposal_that_no_decider_named_never_happened",
        _early_mark,
    ),
    "checksums are not compared": Named(
        "3", "crc32 answers 0", "tests/unit/security/test_codec.py", _trusting_codec
    ),
    "a torn snapshot restores nothing": Named(
        "3", "unpack() of anything is empty", f"{STATE}/test_ledger_and_keyed_state.py::test_a_torn_snapshot_is_refused",
        _short_reads_pass,
    ),
    "retention frees the slots that fence old attempts": Named(
        "4", "retire() deletes attempt records",
        f"{STATE}/test_checkpoints.py::test_retention_never_frees_the_slot_that_fences_an_old_attempt", _retention_frees_slots,
    ),
    "compaction frees the slots that fence old attempts": Named(
        "4", "every slot counts", f"{STATE}/test_compaction.py::test_an_attempt_whose_slot_was_removed_is_fenced",
        _compaction_frees_slots,
    ),
    "counts of tasks are not added up": Named(
        "5", "add() adds nothing", f"{STATE}/test_ledger_and_keyed_state.py::test_counts_add_up_over_tasks", _uncounted_rows
    ),
    "rows need not add up": Named(
        "5", "check_node() checks nothing",
        f"{STATE}/test_ledger_and_keyed_state.py::test_rows_that_are_unaccounted_for_are_an_error", _every_kind_declared,
    ),
    "rows at both ends of an edge need not be the same": Named(
        "5", "check_sums() compares nothing",
        "tests/unit/executor/test_edge_sums.py::test_a_batch_that_is_another_on_the_way_is_never_sealed",
        _sums_are_not_compared,
    ),
    "tagged columns may reach destinations": Named(
        "7", "check_masked() checks nothing",
        "tests/unit/workflow/test_tags.py::test_a_tagged_column_must_be_masked_before_a_destination", _tags_are_lost,
    ),
    "what cannot be cured is tried again": Named(
        "supervision", "every error is retried",
        "tests/unit/actor/test_supervisor.py::test_what_trying_again_cannot_cure_is_not_tried_again", _always_retry,
    ),
    "pauses do not grow": Named(
        "supervision", "every pause is a second",
        "tests/unit/actor/test_supervisor.py::test_it_escalates_after_its_limit_with_growing_pauses", _no_limit,
    ),
    "mailboxes have no bound": Named(
        "supervision", "put() never waits",
        "tests/unit/actor/test_local_actor_system.py::test_a_full_mailbox_makes_senders_wait_in_their_order",
        _mailbox_without_bound,
    ),
}  # fmt: skip
