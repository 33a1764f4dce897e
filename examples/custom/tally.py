"""A destination in fifteen lines: one row at a time, at least once."""

import json

from dataflare import Config, DataRecord, Field, RecordDestination, destination


class TallyConfig(Config):
    """Settings of `tally`."""

    path: str = Field(description="File that the records are appended to, one JSON object a line.")


@destination("tally", examples=[{"path": "out.jsonl"}])
class Tally(RecordDestination[TallyConfig]):
    """Appends records to a file at once; after a crash some may be there twice."""

    def write_record(self, record: DataRecord) -> None:
        with self.context.path(self.config.path).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(record) + "\n")
