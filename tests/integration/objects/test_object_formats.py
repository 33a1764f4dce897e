"""Files of columns, documents and workbooks in a bucket: the contract of the destination, and splits of the source."""

from __future__ import annotations

from typing import ClassVar

import pytest
from tests.integration.objects.test_object_destination import ObjectSuite, destination, run

from dataflare.connectors.file.source import FileSource, FileSourceConfig
from dataflare.testing.source_suite import rows_of
from dataflare.testing.stage import batches_of, splits_of, staged


class TestFolderOfArrow(ObjectSuite):
    config: ClassVar = {"format": "arrow"}


class TestSingleAvro(ObjectSuite):
    path, at_end = "out.avro", True


class TestSingleArray(ObjectSuite):
    path, at_end = "out.json.gz", True
    config: ClassVar = {"format": "json_array"}


@pytest.mark.parametrize("path", ["o.arrow", "o.arrows", "o.avro", "o.json", "o.xlsx", "o.parquet"])
def test_what_is_written_is_read_in_splits(bucket, tmp_path, path):
    kind = {"format": "json_array"} if path == "o.json" else {}
    run(destination(bucket, tmp_path, path, {"row_group_rows": 100, "file_rows_max": 250, **kind}), range(1000))
    source = staged(
        FileSource(FileSourceConfig(path=bucket.path(path), s3=bucket.settings, split_bytes=1500)), tmp_path
    )
    try:
        splits = list(splits_of(source))
        found = rows_of(b for s in splits for b in batches_of(source, s))[""]
    finally:
        source.close()
    assert sorted(r["id"] for r in found) == list(range(1000))
    if path in ("o.arrow", "o.arrows", "o.parquet"):
        assert len(splits) > 1
