"""The settings of a component: closed to unknown keys, frozen, with units."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

__all__ = ["Config", "Duration", "Field", "Rate", "Size", "rate_of", "seconds_of", "size_of"]

_DURATIONS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SIZES = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZES |= {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


class Config(BaseModel):
    """Immutable, and closed to unknown keys: a typo is an error, never a default; errors hold no value."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def seconds_of(value: Any) -> float:
    """Read a duration such as `10s`, `1m30s`, `500ms`; raise ValueError without a unit."""
    if isinstance(value, float):
        return value
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]+)", str(value))
    rest = re.sub(r"(\d+(?:\.\d+)?)\s*([a-z]+)\s*", "", str(value))
    if not parts or rest or any(unit not in _DURATIONS for _, unit in parts):
        raise ValueError(f"{value!r} is not a duration: write a number and a unit, such as 10s, 500ms or 1h")
    return sum(float(number) * _DURATIONS[unit] for number, unit in parts)


def size_of(value: Any) -> int:
    """Read a size such as `64MiB`, `1GB`; raise ValueError without a unit."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1 << 10:
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)", str(value).strip())
    if not match or match[2] not in _SIZES:
        raise ValueError(f"{value!r} is not a size: write a number and a unit, such as 64MiB or 1GB")
    return int(float(match[1]) * _SIZES[match[2]])


Duration = Annotated[float, BeforeValidator(seconds_of), WithJsonSchema({"type": "string", "format": "duration"})]
"""Seconds; written with a unit."""

Size = Annotated[int, BeforeValidator(size_of), WithJsonSchema({"type": "string", "format": "size"})]
"""Bytes; written with a unit."""


def rate_of(value: Any) -> float:
    """Read a rate such as `1%` or `0.01`; raise ValueError beyond 0 and 100 %."""
    text = str(value).strip()
    try:
        rate = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError as error:
        raise ValueError("a rate is written as 1% or 0.01") from error
    if not 0 <= rate <= 1:
        raise ValueError("a rate is between 0% and 100%")
    return rate


Rate = Annotated[
    float,
    BeforeValidator(rate_of),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "number"}], "format": "rate"}),
]
"""A share of rows; written as `1%` or `0.01`."""
