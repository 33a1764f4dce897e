"""A destination in thirty lines that is exactly once: a file for each epoch, hidden until its commit."""

import json
import os
from collections.abc import Sequence

from dataflare import Batch, Config, DataRecord, DestinationConnector, Epoch, Field, Handle, destination
from dataflare.errors import StateError


class ShelfConfig(Config):
    """Settings of `shelf`."""

    path: str = Field(description="Folder of the files.")


@destination("shelf", mechanisms=("two_phase",), examples=[{"path": "shelf"}])
class Shelf(DestinationConnector[ShelfConfig]):
    """Puts a file of JSON lines on a shelf for each epoch."""

    def open(self) -> None:
        self.folder = self.context.path(self.config.path)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.rows: list[DataRecord] = []
        self.files = 0

    def write(self, batch: Batch) -> None:
        self.rows += batch.rows.to_pylist()

    def prepare(self, epoch: Epoch) -> list[Handle]:
        if not self.rows:
            return []
        self.files += 1  # an epoch that timed out is prepared once more, under its number
        name = f"{epoch.number}-{epoch.attempt}-{self.files}.jsonl"
        with (self.folder / f".{name}").open("w", encoding="utf-8") as lines:
            lines.writelines(json.dumps(row) + "\n" for row in self.rows)
            lines.flush()
            os.fsync(lines.fileno())
        self.rows = []
        return [{"name": name}]

    def commit(self, epoch: Epoch, handles: Sequence[Handle]) -> None:
        for name in (handle["name"] for handle in handles):
            if (self.folder / f".{name}").exists():
                (self.folder / f".{name}").rename(self.folder / name)
            elif not (self.folder / name).exists():
                raise StateError(f"{name} is neither staged nor there", hint="was the folder cleaned by hand?")

    def abort(self, keep: Sequence[Handle]) -> None:
        kept = {f".{handle['name']}" for handle in keep}
        for staged in self.folder.glob(".*.jsonl"):
            attempt = int(staged.name.split("-")[1])
            if attempt < self.context.attempt and staged.name not in kept:
                staged.unlink()
