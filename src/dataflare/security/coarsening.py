"""Masks that keep values useful for counting: coarser numbers, dates and postcodes, and dates that are shifted."""

from __future__ import annotations

import hmac
from decimal import Decimal
from typing import TYPE_CHECKING

from dataflare.errors import WorkflowError
from dataflare.security.masking import Masked, by_distinct, check_key, derived, raw, texts

if TYPE_CHECKING:
    import pyarrow as pa

    from dataflare.security.nested import Leaves

_TIMES = ("date", "timestamp", "datetime")
_OF_DATES = ("week", "month", "quarter", "year")
_DAY_MICROSECONDS = 86_400_000_000


class Bucket:
    """The lower end of the interval that a number is in."""

    def __init__(self, width: float) -> None:
        """Take the width of the intervals, one of which begins at 0."""
        self._width, self._decimal = width, Decimal(str(width))

    def type_after(self, kind: str) -> str:
        """Masks numbers; an interval of integers has integer ends."""
        if not kind.startswith(("int", "uint", "float", "decimal")):
            raise WorkflowError(f"bucket masks numbers, not {kind}", hint="use `to` for dates and `first` for texts")
        if kind.startswith(("int", "uint")):
            if self._width != int(self._width):
                raise WorkflowError(f"a bucket of {self._width:g} does not fit {kind}", hint="write a whole number")
            return "int64" if kind.startswith("int") else kind
        if kind.startswith("decimal"):
            precision, scale = map(int, kind[len("decimal(") : -1].split(","))
            if self._decimal != round(self._decimal, scale):
                raise WorkflowError(f"a bucket of {self._width:g} does not fit {kind}", hint="write fewer decimals")
            return f"decimal({self._digits(precision, scale)},{scale})"
        return kind

    def apply(self, leaves: Leaves, ids: pa.Array | None = None) -> Masked:
        """Round down."""
        import pyarrow as pa
        import pyarrow.compute as pc

        del ids
        values, width = leaves.values, self._width
        if pa.types.is_signed_integer(values.type):
            values = values.cast(pa.int64())
        if pa.types.is_decimal(values.type):
            return self._decimals(values)
        if pa.types.is_integer(values.type):
            lowest = -(1 << 63) + int(width) if pa.types.is_signed_integer(values.type) else 0
            values = pc.max_element_wise(values, pa.scalar(lowest, values.type), skip_nulls=False)
            multiple = pa.scalar(int(width), values.type)
        else:
            multiple = pa.scalar(width, values.type)
        return Masked(pc.round_to_multiple(values, multiple, round_mode="down"))

    def _decimals(self, values: pa.Array) -> Masked:
        import pyarrow as pa
        import pyarrow.compute as pc

        wide = pa.decimal256(76, values.type.scale)
        width = pa.scalar(self._decimal, wide)
        rounded = pc.round_to_multiple(values.cast(wide), width, round_mode="down")
        return Masked(rounded.cast(pa.decimal128(self._digits(values.type.precision, values.type.scale), wide.scale)))

    def _digits(self, precision: int, scale: int) -> int:
        """Return the precision of rounded decimals: one digit more, as -9 goes down to -10."""
        return min(38, max(precision, len(str(int(self._width))) + scale) + 1)


class Truncate:
    """The beginning of the week, month, quarter or year that a date is in."""

    def __init__(self, unit: str) -> None:
        """Take the unit."""
        self._unit = unit

    def type_after(self, kind: str) -> str:
        """Masks dates and times."""
        if kind not in _TIMES:
            raise WorkflowError(
                f"`to` masks dates and times, not {kind}", hint="use bucket for numbers, first for texts"
            )
        if kind == "date" and self._unit not in _OF_DATES:
            raise WorkflowError(f"a date is not made coarser by {self._unit}", hint=f"use {', '.join(_OF_DATES)}")
        return kind

    def apply(self, leaves: Leaves, ids: pa.Array | None = None) -> Masked:
        """Round down."""
        import pyarrow.compute as pc

        del ids
        return Masked(pc.floor_temporal(leaves.values, unit=self._unit))


class Beginning:
    """The first characters of a text, such as a postcode."""

    def __init__(self, first: int) -> None:
        """Take how many characters stay."""
        self._first = first

    def type_after(self, kind: str) -> str:
        """Masks texts."""
        if kind == "string":
            return kind
        raise WorkflowError(f"`first` masks texts, not {kind}", hint="use bucket for numbers and `to` for dates")

    def apply(self, leaves: Leaves, ids: pa.Array | None = None) -> Masked:
        """Cut."""
        import pyarrow.compute as pc

        del ids
        return Masked(pc.utf8_slice_codeunits(leaves.values, 0, self._first))


class DateShift:
    """Moves all dates of one person, or whatever the id stands for, by the same number of days, never by none."""

    def __init__(self, key: str, days: int) -> None:
        """Dates move by at most so many days, forward or back."""
        check_key(key)
        self._key, self._days = derived(key, "date_shift", 32), days

    def type_after(self, kind: str) -> str:
        """Masks dates and times."""
        if kind in _TIMES:
            return kind
        raise WorkflowError(f"date_shift masks dates and times, not {kind}", hint="cast it to a date before")

    def apply(self, leaves: Leaves, ids: pa.Array | None = None) -> Masked:
        """Move each by the days of its id; without an id, and at the end of time, it cannot be moved."""
        import pyarrow as pa
        import pyarrow.compute as pc

        assert ids is not None
        shifts = by_distinct(texts(ids), self._shifts).cast(pa.int64())
        if leaves.rows is not None:
            shifts = shifts.take(leaves.rows)
        is_date = pa.types.is_date32(leaves.values.type)
        numbers = leaves.values.cast(pa.int32()).cast(pa.int64()) if is_date else leaves.values.cast(pa.int64())
        moved = pc.add(numbers, pc.multiply(shifts, 1 if is_date else _DAY_MICROSECONDS))
        limit = ((1 << 31) - 1 if is_date else (1 << 63) - 1) - self._days * (1 if is_date else _DAY_MICROSECONDS)
        outside = pc.or_(pc.greater(numbers, limit), pc.less(numbers, -limit))
        failed = pc.fill_null(pc.and_(leaves.values.is_valid(), pc.or_kleene(outside, shifts.is_null())), False)  # noqa: FBT003
        moved = pc.if_else(failed, pa.scalar(None, pa.int64()), moved)
        values = moved.cast(pa.int32()).cast(leaves.values.type) if is_date else moved.cast(leaves.values.type)
        return Masked(values, failed, "there is no id to shift its date by, or it is at the end of time")

    def _shifts(self, ids: list[str | bytes]) -> list[str | None]:
        numbers = (
            int.from_bytes(hmac.digest(self._key, raw(i), "sha256")[:8], "big") % (2 * self._days) - self._days
            for i in ids
        )
        return [str(n if n < 0 else n + 1) for n in numbers]


__all__ = ["Beginning", "Bucket", "DateShift", "Truncate"]
