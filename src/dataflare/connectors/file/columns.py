"""Compares the columns that files have with those that are planned, and tells what is odd."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.component.deviations import Contract, listed
from dataflare.connectors.file.nature import other_delimiter
from dataflare.connectors.file.partitions import Placed
from dataflare.connectors.file.settings import FileSourceConfig, format_of
from dataflare.errors import DataError, Place

if TYPE_CHECKING:
    import pyarrow as pa

    from dataflare.component import StageContext
    from dataflare.schema import Schema

_WORDS = {"ignore": "evolve", "null": "evolve", "error": "freeze"}


class Columns:
    """The planned columns of one source."""

    def __init__(self, context: StageContext, config: FileSourceConfig, schema: Schema) -> None:
        """`schema` is that of the rows."""
        self._context, self._config = context, config
        self._contract = Contract(context, "file", _WORDS[config.missing_columns], _WORDS[config.extra_columns])
        self._placed = Placed(schema, config)
        self.notice = self._contract.notice

    def check(self, name: str, found: list[str]) -> None:
        """Compare the columns of a file with the planned ones."""
        if not found:
            return
        wanted = self._placed.inner(name)
        missing = self._contract.lacks(wanted, found, name)
        if missing and len(missing) == len(wanted.columns):
            raise DataError(
                f"the file has none of the columns {listed(wanted.names)}; it has {listed(found)}",
                hint="is the header there? set header: false if not; check delimiter and encoding",
                place=Place(name),
            )
        if delimiter := other_delimiter(found) if format_of(name, self._config.format) == "csv" else "":
            message = f"{name} has one column, {found[0]!r}: if that is no name, set delimiter: {delimiter}"
            self.notice("file.delimiter", message)
        known = set(self._config.columns or self._planned())
        extra = [c for c in found if c not in known] if known else []
        self._contract.tell_missing(missing, name)
        self._contract.has_more(extra, name, tell=self._config.columns is None)

    def check_types(self, name: str, schema: pa.Schema) -> None:
        """Hold the types that a file tells of itself to the contract."""
        from dataflare.formats.container import infer

        if self._contract.data_type == "freeze":
            self._contract.check_types(self._placed.inner(name), infer(schema), name)

    def _planned(self) -> list[str]:
        if self._context.hints.columns is not None or "" not in self._context.schemas:
            return []
        return self._context.schemas[""].names


__all__ = ["Columns"]
