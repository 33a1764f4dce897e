"""What a plugin may use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one instance.

    `memory_bytes_max` of its linear memory. `seconds_max` of one call, of which its reaction takes up to 0.02 more.
    `fuel_max` of one call, about an instruction each; None: it is not counted, which is quicker. `table_elements_max`
    of each of its tables. `traps_max`: so many replacements of an instance that was stopped in a call, and no more.
    """

    memory_bytes_max: int = 128 << 20
    seconds_max: float = 5.0
    fuel_max: int | None = None
    table_elements_max: int = 100_000
    traps_max: int = 20


__all__ = ["Limits"]
