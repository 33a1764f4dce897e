"""The ledger: every row that enters a node is counted once per epoch, and the counts must add up (invariant 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.errors import DataFlareError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KINDS = ("in", "out", "filtered", "skipped", "dead", "absorbed", "expanded")

NOTE = "rule."
"""What the kinds begin with that are counted beside the others, such as `rule.positive`; no balance knows them."""

Counts = dict[str, dict[str, int]]
"""Rows by node and kind. `out` holds the default output and all named ones but `errors`, whose rows are `dead`."""


class LedgerError(DataFlareError):
    """Rows were lost or counted twice inside the engine; the epoch must not be sealed."""

    code = "ledger.unbalanced"


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
    undeclared = {k for k, n in kinds.items() if n and k not in known and not k.startswith(NOTE)}
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


def notes(kinds: Mapping[str, int]) -> dict[str, int]:
    """Return what is counted beside the balance, such as the rows that fail a rule, by its name."""
    return {k.removeprefix(NOTE): n for k, n in kinds.items() if k.startswith(NOTE)}
