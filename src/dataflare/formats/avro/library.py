"""The library that decodes and encodes Avro, which comes with an extra."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.errors import UnavailableError

if TYPE_CHECKING:
    import pyarrow as pa


def avro_library() -> Any:
    """Return the module polars_avro, or raise UnavailableError."""
    try:
        import polars_avro
    except ImportError as error:
        raise UnavailableError("Avro needs the package polars-avro", hint="pip install 'dataflare[avro]'") from error
    return polars_avro


def failures() -> tuple[type[Exception], ...]:
    """Return what the library raises for data that it cannot read or write."""
    from polars.exceptions import PolarsError

    return (avro_library().AvroError, PolarsError, ValueError)


def decoded(raw: Any, columns: list[str] | None = None) -> pa.Table:
    """Return the rows of a file in memory; what is damaged raises one of `failures`."""
    import polars as pl

    frame = avro_library().read_avro(raw, columns=columns)
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


__all__ = ["avro_library", "decoded", "failures"]
