"""Turns values of Python into those that a workflow file can hold."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any

from dataflare.errors import WorkflowError


def plain(value: Any) -> Any:
    """Return maps, lists, texts, numbers and truth values; raise WorkflowError for what a file cannot hold.

    A path is its text, a time its ISO form, a timedelta a duration, a Decimal its digits, an Enum its value.
    """
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(plain(k)): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        found = [plain(v) for v in value]
        return sorted(found, key=str) if isinstance(value, set | frozenset) else found
    written = _written(value)
    if written is not None:
        return written
    raise WorkflowError(
        f"a setting cannot be {type(value).__name__}", hint="use text, numbers, lists, dicts, paths, times or Decimal"
    )


def _written(value: Any) -> str | None:
    if isinstance(value, timedelta):
        return f"{value / timedelta(microseconds=1):.0f}us"
    if isinstance(value, date | time):  # a datetime is a date
        return value.isoformat()
    return str(value) if isinstance(value, PurePath | Decimal) else None


__all__ = ["plain"]
