"""Functions of a module that can be imported, which a file can name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def orders() -> Iterator[dict[str, Any]]:
    """Yield three orders."""
    for number, amount in enumerate((5, -1, 7), 1):
        yield {"id": number, "amount": amount}


def doubled(record: dict[str, Any]) -> dict[str, Any]:
    """Double the amount; a negative one is an error."""
    if record["amount"] < 0:
        raise ValueError("negative")
    return {**record, "amount": record["amount"] * 2}
