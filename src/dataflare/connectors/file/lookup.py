"""Looks rows up in files: all of them are read at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.component import lookup
from dataflare.component.lookup import SourceLookup
from dataflare.connectors.file.settings import FileSourceConfig
from dataflare.connectors.file.source import FileSource

if TYPE_CHECKING:
    from dataflare.component import SourceConnector


@lookup("file", status="beta", examples=[{"path": "customers.csv", "columns": {"id": "int64", "segment": "string"}}])
class FileLookup(SourceLookup[FileSourceConfig]):
    """Looks rows up in files of any format that the source `file` reads.

    All rows are read when the first one is asked for, and again after `refresh`; they must fit into `cache_bytes`.
    A row that cannot be read fails the lookup. Settings are those of the source `file`.
    """

    def source(self) -> SourceConnector[Any]:
        """Return the source of these files."""
        return FileSource(self.config)


__all__ = ["FileLookup"]
