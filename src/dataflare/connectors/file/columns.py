"""Compares the columns that files have with those that are planned, and tells what is odd."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.connectors.file.nature import other_delimiter
from dataflare.connectors.file.partitions import Placed
from dataflare.connectors.file.sample import wider_type
from dataflare.connectors.file.settings import FileSourceConfig, format_of
from dataflare.errors import DataError, Place
from dataflare.monitoring.events import Noticed

if TYPE_CHECKING:
    import pyarrow as pa

    from dataflare.component import StageContext
    from dataflare.schema import Schema


class Columns:
    """The planned columns of one source."""

    def __init__(self, context: StageContext, config: FileSourceConfig, schema: Schema) -> None:
        """`schema` is that of the rows."""
        self._context, self._config = context, config
        self._placed = Placed(schema, config)
        self._noticed: set[tuple[str, ...]] = set()

    def check(self, name: str, found: list[str]) -> None:
        """Compare the columns of a file with the planned ones."""
        if not found:
            return
        wanted = self._placed.inner(name)
        missing = [c for c in wanted if c.name not in found]
        word = self._context.contract.get("columns")
        strict = word == "freeze" or (word is None and self._config.missing_columns == "error")
        hard = [c.name for c in missing if strict or not c.nullable]
        if hard:
            raise DataError(
                f"the file lacks {_listed(hard)}; it has {_listed(found)}",
                hint="correct the file or `columns`, or let columns be missing: contract: {columns: evolve}",
                place=Place(name),
            )
        if missing and len(missing) == len(wanted.columns):
            raise DataError(
                f"the file has none of the columns {_listed(wanted.names)}; it has {_listed(found)}",
                hint="is the header there? set header: false if not; check delimiter and encoding",
                place=Place(name),
            )
        if delimiter := other_delimiter(found) if format_of(name, self._config.format) == "csv" else "":
            message = f"{name} has one column, {found[0]!r}: if that is no name, set delimiter: {delimiter}"
            self.notice("file.delimiter", message)
        known = set(self._config.columns or self._planned())
        extra = [c for c in found if c not in known] if known else []
        if extra and (word == "freeze" or (word is None and self._config.extra_columns == "error")):
            raise DataError(
                f"the file has columns that the plan does not know: {_listed(extra)}",
                hint="declare them, or let them be more: contract: {columns: evolve}",
                place=Place(name),
            )
        if missing:
            self.notice("file.missing_columns", f"{name} lacks {_listed([c.name for c in missing])}: null in its rows")
        if extra and self._config.columns is None and word != "discard":
            self.notice("file.extra_columns", f"{name} has {_listed(extra)} beside the planned columns: not read")

    def check_types(self, name: str, schema: pa.Schema) -> None:
        """Refuse a file with a column of another type than the planned one, or a narrower one, where types are frozen.

        `schema` is what the file tells of itself.
        """
        if self._context.contract.get("data_type") != "freeze":
            return
        from dataflare.formats.container import infer

        found = infer(schema)
        for column in self._placed.inner(name):
            if column.name in found and wider_type(found[column.name].type, column.type) != column.type:
                raise DataError(
                    f"column {column.name!r} is {found[column.name].type} in this file, not {column.type}",
                    hint="declare its type under `columns`, or take what fits: contract: {data_type: evolve}",
                    place=Place(name),
                )

    def _planned(self) -> list[str]:
        if self._context.hints.columns is not None or "" not in self._context.schemas:
            return []
        return self._context.schemas[""].names

    def notice(self, code: str, message: str) -> None:
        """Tell each thing once a run, and no more than a few."""
        key = (code, message.split(" ", 1)[1])
        if key not in self._noticed and len(self._noticed) < 100:  # noqa: PLR2004
            self._noticed.add(key)
            self._context.emit(Noticed(self._context.workflow, code, message, self._context.node))


def _listed(names: list[str], most: int = 8) -> str:
    shown = ", ".join(repr(n) for n in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


__all__ = ["Columns"]
