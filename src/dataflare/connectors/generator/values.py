"""Columns of made-up values: the same for the same seed and row number, whatever the batches, made by whole arrays."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.schema import arrow_type

if TYPE_CHECKING:
    from dataflare.connectors.generator.settings import ColumnConfig

_GOLDEN = 0x9E3779B97F4A7C15
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_MASK = (1 << 64) - 1
_UNIT = 2.0**-53
_MILLION = 1_000_000


def noise(rows: pa.UInt64Array, salt: int) -> pa.UInt64Array:
    """Return 64 even random bits for each row number (splitmix64)."""
    import pyarrow.compute as pc

    start = (salt * _GOLDEN) & _MASK
    bits = pc.add(pc.multiply(rows, _u64(_GOLDEN)), _u64(start))
    for shift, factor in _MIX:
        bits = pc.multiply(pc.bit_wise_xor(bits, pc.shift_right(bits, _u64(shift))), _u64(factor))
    return pc.bit_wise_xor(bits, pc.shift_right(bits, _u64(31)))


def below(bits: pa.UInt64Array, bound: int) -> pa.Int64Array:
    """Return numbers from 0 to below a bound."""
    import pyarrow.compute as pc

    whole = pc.divide(bits, _u64(bound))
    return pc.subtract(bits, pc.multiply(whole, _u64(bound))).cast(pa.int64())


def column(spec: ColumnConfig, rows: pa.UInt64Array, salt: int) -> pa.Array:
    """Return one column for these row numbers."""
    import pyarrow.compute as pc

    made = _MAKERS[spec.kind](spec, rows, noise(rows, salt))
    if not spec.null_rate:
        return made
    keep = pc.greater_equal(below(noise(rows, salt + 1), _MILLION), _i64(int(spec.null_rate * _MILLION)))
    return pc.if_else(keep, made, pa.scalar(None, made.type))


def _u64(value: int) -> pa.Scalar:
    return pa.scalar(value, pa.uint64())  # Arrow looks for modules on the disk whenever it has to guess a type


def _i64(value: int) -> pa.Scalar:
    return pa.scalar(value, pa.int64())


def _text(value: str) -> pa.Scalar:
    return pa.scalar(value, pa.string())


def _f64(value: float) -> pa.Scalar:
    return pa.scalar(value, pa.float64())


def _sequence(spec: ColumnConfig, rows: pa.UInt64Array, bits: pa.UInt64Array) -> pa.Array:
    import pyarrow.compute as pc

    del bits
    return pc.add(pc.multiply(rows.cast(pa.int64()), _i64(int(spec.step))), _i64(int(spec.start)))


def _int(spec: ColumnConfig, rows: pa.UInt64Array, bits: pa.UInt64Array) -> pa.Array:
    import pyarrow.compute as pc

    del rows
    low, high = int(spec.low(0)), int(spec.high(1000))
    return pc.add(below(bits, high - low + 1), _i64(low))


def _float(spec: ColumnConfig, rows: pa.UInt64Array, bits: pa.UInt64Array) -> pa.Array:
    import pyarrow.compute as pc

    del rows
    low, high = spec.low(0.0), spec.high(1.0)
    unit = pc.multiply(pc.shift_right(bits, _u64(11)).cast(pa.float64(), safe=False), _f64(_UNIT))
    made = pc.add(pc.multiply(unit, _f64(high - low)), _f64(low))
    return made if spec.decimals is None else pc.round(made, ndigits=spec.decimals)


def _bool(spec: ColumnConfig, rows: pa.UInt64Array, bits: pa.UInt64Array) -> pa.Array:
    import pyarrow.compute as pc

    del spec, rows
    return pc.equal(below(bits, 2), _i64(1))


def _choice(spec: ColumnConfig, rows: pa.UInt64Array, bits: pa.UInt64Array) -> pa.Array:
    del rows
    values = pa.array(spec.values, arrow_type(spec.type()))
    return values.take(below(bits, len(spec.values)))


def _string(spec: ColumnConfig, rows: pa.UInt64Array, bits: pa.UInt64Array) -> pa.Array:
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(_text(spec.prefix), _int(spec, rows, bits).cast(pa.string()), _text(""))


@cache
def _words() -> pa.StringArray:
    return pa.array([f"{n:04x}" for n in range(1 << 16)])


def _uuid(spec: ColumnConfig, rows: pa.UInt64Array, bits: pa.UInt64Array) -> pa.Array:
    import pyarrow.compute as pc

    del spec
    words = _words()
    more = noise(rows, 0x5EED)
    parts = [
        words.take(pc.bit_wise_and(pc.shift_right(half, _u64(shift)), _u64(0xFFFF)).cast(pa.int32()))
        for half in (bits, pc.bit_wise_xor(bits, more))
        for shift in (0, 16, 32, 48)
    ]
    first = pc.binary_join_element_wise(parts[0], parts[1], _text(""))
    last = pc.binary_join_element_wise(*parts[5:], _text(""))
    return pc.binary_join_element_wise(first, *parts[2:5], last, _text("-"))


def _timestamp(spec: ColumnConfig, rows: pa.UInt64Array, bits: pa.UInt64Array) -> pa.Array:
    import pyarrow.compute as pc

    del bits
    since_begin = pc.multiply(rows.cast(pa.int64()), _i64(round(spec.every * _MILLION)))
    moments = pc.add(since_begin, _i64(spec.begin_microseconds()))
    return moments.cast(pa.timestamp("us", "UTC"))


_MAKERS: dict[str, Any] = {
    "sequence": _sequence,
    "int": _int,
    "float": _float,
    "bool": _bool,
    "choice": _choice,
    "string": _string,
    "uuid": _uuid,
    "timestamp": _timestamp,
}

__all__ = ["below", "column", "noise"]
