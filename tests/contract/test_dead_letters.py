"""The store of rejected rows keeps the contract of destinations."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from dataflare.connectors.file.dead_letters import DeadLetters, DeadLettersConfig
from dataflare.plan_words import Mechanism
from dataflare.testing.destination_suite import SUITE_SCHEMA, DestinationSuite
from dataflare.testing.stage import staged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class TestDeadLetters(DestinationSuite):
    mechanism: ClassVar[Mechanism] = Mechanism.TWO_PHASE

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> Iterator[None]:
        self.path = tmp_path / "letters"
        self.made: list[DeadLetters] = []
        yield
        for instance in self.made:
            instance.close()

    def new(self, **changes: Any) -> DeadLetters:
        config = DeadLettersConfig(path=str(self.path))
        self.made.append(staged(DeadLetters(config), **{"schemas": {"0": SUITE_SCHEMA}, **changes}))
        return self.made[-1]

    def visible(self) -> list[dict[str, Any]]:
        texts = [p.read_text() for p in sorted(self.path.glob("part-*"))]
        return [json.loads(line) for text in texts for line in text.splitlines()]

    def left_over(self) -> int:
        return len(list(self.path.glob(".staged-*")))
