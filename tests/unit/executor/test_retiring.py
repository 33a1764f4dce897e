"""Old epochs are removed now and then, not behind each short one, and once more at the end."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from dataflare.executor.workflow_actor.steps import RETIRE_EPOCHS, RETIRE_SECONDS, clean
from dataflare.state.checkpoint import Proposal


def retired(seconds: float, proposals: list[Proposal]) -> list[int]:
    """Return behind which epochs old ones were removed, where each takes so long."""
    found: list[int] = []
    now = [0.0]

    async def call(function: Any, *arguments: Any) -> None:
        function(*arguments)

    checkpoints = SimpleNamespace(retire=lambda proposal: found.append(proposal.epoch))
    runtime = SimpleNamespace(clock=SimpleNamespace(monotonic=lambda: now[0]), call=call)
    job = SimpleNamespace(runtime=runtime, checkpoints=checkpoints)
    life: Any = SimpleNamespace(cleaned=True, retired=None, unretired=0, job=job)
    for proposal in proposals:
        now[0] += seconds
        asyncio.run(clean(life, proposal))
    return found


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (RETIRE_SECONDS, list(range(1, 41))),
        (0.01, [1, 1 + RETIRE_EPOCHS, 1 + 2 * RETIRE_EPOCHS]),
        (0.25, [*range(1, 41, 4)]),
    ],
)
def test_short_epochs_share_one_removal(seconds: float, expected: list[int]) -> None:
    assert retired(seconds, [Proposal(n, 1) for n in range(1, 41)]) == expected


def test_the_last_epoch_leaves_nothing_to_remove() -> None:
    assert retired(0.01, [*(Proposal(n, 1) for n in range(1, 4)), Proposal(4, 1, last=True)]) == [1, 4]
