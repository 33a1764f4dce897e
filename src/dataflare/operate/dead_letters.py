"""Rejected rows that the state keeps: read from their files, left out once they are dealt with, replayed once.

What is dealt with is a record of the state (`dead/gone`), and so is a replay that is under way (`dead/order`): it is
written before its run begins and removed after its run has committed, so a crash in between is gone on from.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from dataflare.errors import StateError
from dataflare.executor.contract import REPLAY
from dataflare.executor.replaying import Letter
from dataflare.state.records import Records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from dataflare.component import StateStore
    from dataflare.security.codec import Codec
    from dataflare.state.checkpoint import Proposal

REPLAYED_AT_ONCE = 100_000
GONE, ORDER, NUMBER = "dead/gone", "dead/order", "dead/number"


@dataclass(frozen=True, slots=True)
class Order:
    """A replay: its number, and its rows."""

    number: int
    letters: tuple[Letter, ...]

    def is_done(self, proposal: Proposal | None) -> bool:
        """Tell whether an epoch that is committed holds all of its rows."""
        positions = proposal.positions if proposal is not None else {}
        mine = [p for n, p in positions.items() if n.startswith(f"{REPLAY}{self.number} ")]
        return bool(mine) and all(p["count"] and not p["open"] for p in mine)


class LetterStore:
    """The rejected rows of one workflow, oldest first. Blocking."""

    def __init__(
        self, folder: Path, store: StateStore[Any], codec: Codec, workflow: str, *, tenant: str = "default"
    ) -> None:
        """Read nothing yet; `folder` is where the files are."""
        self._folder = folder
        self._records = Records(store, codec, f"{tenant}/{workflow}/")

    def letters(self) -> Iterator[dict[str, Any]]:
        """Yield the rows that are not dealt with, as they were written: the columns of an output `errors`."""
        gone = self._gone()
        for letter in self._kept():
            if letter["id"] not in gone:
                yield letter

    def drop(self, ids: Iterable[str], fate: str = "dropped") -> None:
        """Remember that rows are dealt with; forget it of those whose file is gone."""
        known = {letter["id"] for letter in self._kept()}
        gone = {i: f for i, f in self._gone().items() if i in known}
        self._records.put(GONE, {**gone, **dict.fromkeys((i for i in ids if i in known), fate)})

    def pending(self) -> Order | None:
        """Return the replay that is under way, if one is."""
        value = self._records.get(ORDER)
        if value is None:
            return None
        return Order(value["number"], tuple(Letter(**letter) for letter in value["letters"]))

    def order(self, letters: Sequence[Letter]) -> Order:
        """Begin a replay, durably."""
        number = (self._records.get(NUMBER) or {"number": 0})["number"] + 1
        self._records.put(NUMBER, {"number": number})
        self._records.put(ORDER, {"number": number, "letters": [asdict(letter) for letter in letters]})
        return Order(number, tuple(letters))

    def replayed(self, order: Order) -> None:
        """End a replay whose rows are committed."""
        self.drop((letter.id for letter in order.letters), "replayed")
        self._records.delete([ORDER])

    def _gone(self) -> dict[str, str]:
        return dict(self._records.get(GONE) or {})

    def _kept(self) -> Iterator[dict[str, Any]]:
        if not self._folder.is_dir():
            return
        found = [(p.stat().st_mtime, p.name, p) for p in self._folder.glob("part-*.jsonl")]
        for _, _, path in sorted(found):
            try:
                text = path.read_bytes()
            except FileNotFoundError:
                continue  # the oldest go when there are too many
            for number, line in enumerate(text.splitlines(), 1):
                try:
                    letter = json.loads(line)
                except ValueError as error:
                    raise StateError(f"{path}:{number} is damaged", hint="move the file away") from error
                yield letter


__all__ = ["REPLAYED_AT_ONCE", "LetterStore", "Order"]
