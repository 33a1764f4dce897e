"""Keeps rejected rows in files of their own, for `dataflare dead-letter`: bounded, and the oldest go first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.component import Config, DestinationConnector, Epoch, Field, Handle, Size, destination
from dataflare.connectors.file.destination import FileDestination
from dataflare.connectors.file.settings import FileDestinationConfig
from dataflare.connectors.file.staging import PART
from dataflare.connectors.file.storage import storage
from dataflare.monitoring.events import Noticed
from dataflare.plan_words import Mechanism
from dataflare.security.secrets import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dataflare.batch import Batch


class DeadLettersConfig(Config):
    """Where rejected rows are kept, and how many."""

    path: str = Field("", description="The folder; by default `dead-letters/WORKFLOW` in the folder of the state.")
    bytes_max: Size = Field(64 << 20, ge=1 << 10, description="So much is kept at most; the oldest files go first.")
    hidden: list[str] = Field([], description="Nodes whose rows are not kept, only why they were rejected.")


@destination("dead_letters", status="beta", mechanisms=(Mechanism.TWO_PHASE,), parallel=True, examples=[{}])
class DeadLetters(DestinationConnector[DeadLettersConfig]):
    """Keeps rejected rows for `dataflare dead-letter list`, `show`, `replay` and `drop`.

    Takes `errors` outputs. Rows that no other destination takes come here by themselves, where the policy of their node
    is `dead_letter` and the state is in a folder. Each epoch adds a file to the folder; when there is more than
    `bytes_max`, the oldest files are removed, with a notice. Folder and files are for their user alone.
    """

    def open(self) -> None:
        """Create the folder."""
        self._folder = self.context.path(self.config.path or f".dataflare/dead-letters/{self.context.workflow}")
        with storage(self._folder):
            for folder in (self._folder.parent, self._folder):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._files = FileDestination(FileDestinationConfig(path=str(self._folder.absolute()), format="jsonl"))
        self._files.context = self.context
        self._files.open()

    def write(self, batch: Batch) -> None:
        """Append to the hidden file of this task; what is tagged is not kept."""
        self._files.write(batch.replace(_veiled(batch.rows, self.config.hidden)) if self.config.hidden else batch)

    def prepare(self, epoch: Epoch) -> Sequence[Handle]:
        """Make the hidden files durable, for this user alone; return their names."""
        handles = self._files.prepare(epoch)
        for handle in handles:
            with storage(self._folder):
                (self._folder / str(handle["staged"])).chmod(0o600)
        return handles

    def commit(self, epoch: Epoch, handles: Sequence[Handle]) -> None:
        """Publish, then remove the oldest files where there is too much."""
        self._files.commit(epoch, handles)
        if handles:
            self._bound()

    def abort(self, keep: Sequence[Handle]) -> None:
        """Remove hidden files of earlier attempts."""
        self._files.abort(keep)

    def close(self) -> None:
        """Remove hidden files that were not handed over."""
        if hasattr(self, "_files"):
            self._files.close()

    def _bound(self) -> None:
        with storage(self._folder):
            found = sorted((p for p in self._folder.iterdir() if PART.fullmatch(p.name)), key=_age)
            sizes = [p.stat().st_size for p in found]
            left, removed = sum(sizes), 0
            for path, size in zip(found[:-1], sizes, strict=False):  # the newest stays, whatever its size
                if left <= self.config.bytes_max:
                    break
                path.unlink(missing_ok=True)
                left, removed = left - size, removed + 1
        if removed:
            what = f"more than {self.config.bytes_max:,} bytes of rejected rows: the oldest {removed} files are removed"
            self.context.emit(Noticed(self.context.workflow, "dead_letters.dropped", what, self.context.node))


def _age(path: Path) -> tuple[float, str]:
    return path.stat().st_mtime, path.name


def _veiled(rows: Any, nodes: Sequence[str]) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    hidden = pc.is_in(rows["node"], value_set=pa.array(nodes, pa.string()))
    place = rows.column_names.index("row")
    return rows.set_column(place, "row", pc.if_else(hidden, pa.scalar(HIDDEN), rows["row"]))


__all__ = ["DeadLetters", "DeadLettersConfig"]
