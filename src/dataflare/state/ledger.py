"""The ledger: every row that enters a node is counted once per epoch, and the counts must add up (invariant 5).

With `ledger: hash` the rows are hashed at both ends of each edge, and the sums must be the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflare.component.processor import MILLION
from dataflare.errors import DataFlareError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

KINDS = ("in", "out", "filtered", "skipped", "dead", "absorbed", "expanded")

NOTE, METRIC = "rule.", "metric."
"""What the kinds begin with that are counted beside the others, such as `rule.positive`; no balance knows them.

Of a `metric` it is a number that a plugin counts, in millionths, so that sums are exact in any order.
"""
BESIDE = (NOTE, METRIC)

Counts = dict[str, dict[str, int]]
"""Rows by node and kind. `out` holds the default output and all named ones but `errors`, whose rows are `dead`."""


_HASHES = 1 << 128


@dataclass(frozen=True, slots=True)
class RowSum:
    """How many rows, and the sum of their hashes: in which order and which batches they came makes no difference."""

    rows: int = 0
    total: int = 0

    def __add__(self, other: RowSum) -> RowSum:
        """Return the sum of both."""
        return RowSum(self.rows + other.rows, (self.total + other.total) % _HASHES)

    def times(self, copies: int) -> RowSum:
        """Return the sum of so many copies of the rows."""
        return RowSum(self.rows * copies, self.total * copies % _HASHES)

    @property
    def checksum(self) -> str:
        """The sum of the hashes as 32 hexadecimal digits."""
        return f"{self.total:032x}"

    @classmethod
    def told(cls, value: Mapping[str, Any], after: str = "") -> RowSum:
        """Return what `as_json` wrote."""
        return cls(value[f"rows{after}"], int(value[f"hash{after}"], 16))

    def as_json(self, after: str = "") -> dict[str, Any]:
        """Return plain values, with names that end with `after`."""
        return {f"rows{after}": self.rows, f"hash{after}": self.checksum}


Ends = dict[str, tuple[RowSum, RowSum]]
"""By edge: what left the one node, and what came to the other."""


class LedgerError(DataFlareError):
    """Rows were lost or counted twice inside the engine; the epoch must not be sealed."""

    code = "ledger.unbalanced"


class AlteredError(LedgerError):
    """The rows that came are not those that left; the epoch must not be sealed."""

    code = "ledger.altered"


def add(total: Counts, part: Mapping[str, Mapping[str, int]]) -> Counts:
    """Add `part` to `total` in place and return it."""
    for node, kinds in part.items():
        row = total.setdefault(node, {})
        for kind, rows in kinds.items():
            row[kind] = row.get(kind, 0) + rows
    return total


def check_node(node: str, kinds: Mapping[str, int], declared: Iterable[str]) -> None:
    """Raise LedgerError unless in + expanded = out + the other kinds, using only kinds the node declared."""
    known = ("in", "out", "dead", "skipped", *declared)
    undeclared = {k for k, n in kinds.items() if n and k not in known and not k.startswith(BESIDE)}
    if undeclared:
        raise LedgerError(
            f"node {node} counted rows as {', '.join(sorted(undeclared))}, which its spec does not declare"
        )
    came = kinds.get("in", 0) + kinds.get("expanded", 0)
    went = sum(kinds.get(k, 0) for k in ("out", "filtered", "skipped", "dead", "absorbed"))
    if came != went:
        raise LedgerError(f"node {node} took {came:,} rows and accounts for {went:,}: {dict(kinds)}")


def check_edge(edge: str, sent: int, received: int) -> None:
    """Raise LedgerError unless every row that left one node arrived at the other."""
    if sent != received:
        raise LedgerError(f"edge {edge} carried {sent:,} rows and delivered {received:,}")


def add_ends(total: Ends, part: Ends) -> Ends:
    """Add `part` to `total` in place and return it."""
    for edge, (left, came) in part.items():
        before = total.get(edge, (RowSum(), RowSum()))
        total[edge] = before[0] + left, before[1] + came
    return total


def check_sums(where: str, epoch: int, left: RowSum, came: RowSum) -> None:
    """Raise AlteredError unless the rows that came are those that left."""
    if left != came:
        raise AlteredError(
            f"epoch {epoch}, {where}: {left.rows:,} rows with the sum {left.checksum} left, "
            f"{came.rows:,} with the sum {came.checksum} came; the epoch is not sealed",
            hint="start it again: nothing of it was committed. If it happens again, a component changes batches that "
            "it has passed on, or the memory of this machine is faulty",
        )


def notes(kinds: Mapping[str, int]) -> dict[str, int]:
    """Return what is counted beside the balance, such as the rows that fail a rule, by its name."""
    return {k.removeprefix(NOTE): n for k, n in kinds.items() if k.startswith(NOTE)}


def metrics(kinds: Mapping[str, int]) -> dict[str, float]:
    """Return what plugins have counted, by name; what is whole is a whole number."""
    found = {k.removeprefix(METRIC): n for k, n in sorted(kinds.items()) if k.startswith(METRIC)}
    return {name: n // MILLION if n % MILLION == 0 else n / MILLION for name, n in found.items()}
