"""Files as they are found: packed, encoded, in lists, in folders that hold columns."""

from __future__ import annotations

import bz2
import gzip
import lzma

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.unit.connectors.test_file_source import OPENED, csv_text, read, source

from dataflare.connectors.file.stores import Stores
from dataflare.errors import DataError, UnavailableError
from dataflare.formats.packing import packed
from dataflare.testing.source_suite import SourceSuite

PACKERS = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: packed(data, "zstd"),
}


@pytest.fixture(autouse=True)
def _closed():
    yield
    while OPENED:
        OPENED.pop().close()


@pytest.mark.parametrize("end", PACKERS)
class TestPackedFiles:
    def test_members_follow_each_other(self, tmp_path, end):
        text = csv_text(3000).encode()
        pack = PACKERS[end]
        (tmp_path / f"a.csv{end}").write_bytes(pack(text[:20_000]) + pack(text[20_000:]))
        (tmp_path / "plain.csv").write_bytes(text)
        expected = read(source(tmp_path, path="plain.csv"))
        assert read(source(tmp_path, path=f"a.csv{end}", split_bytes=5000)) == expected

    def test_one_that_is_cut_off_is_named(self, tmp_path, end):
        (tmp_path / f"a.csv{end}").write_bytes(PACKERS[end](csv_text(3000).encode())[:-20])
        with pytest.raises(DataError, match=r"a\.csv.*cut off"):
            read(source(tmp_path, path=f"a.csv{end}", columns={"id": "int64"}, context={"schemas": {}}))

    def test_what_is_something_else_is_named(self, tmp_path, end):
        (tmp_path / f"a.csv{end}").write_bytes(b"id\n" + b"1\n" * 100)
        with pytest.raises(DataError, match="not a sound"):
            read(source(tmp_path, path=f"a.csv{end}", columns={"id": "int64"}, context={"schemas": {}}))

    def test_what_unpacks_to_far_more_is_read_in_pieces(self, tmp_path, end):
        text = b"id\n" + b"1\n" * 4_000_000
        (tmp_path / f"a.csv{end}").write_bytes(PACKERS[end](text))
        opened = source(tmp_path, path=f"a.csv{end}", columns={"id": "int64"}, context={"schemas": {}})
        batches = [b for s in opened.splits(None) for b in opened.read(s, None, None)]
        assert sum(b.num_rows for b in batches) == 4_000_000
        assert max(b.num_rows for b in batches) < 4_000_000


class TestXzFiles(SourceSuite):
    @pytest.fixture(autouse=True)
    def files(self, tmp_path):
        self.path = tmp_path
        text = "left out\n" + csv_text(200)
        (tmp_path / "a").write_bytes(lzma.compress(text.encode("latin-1")))

    def new(self, **changes):
        settings = {"format": "csv", "compression": "xz", "encoding": "latin-1", "skip_lines": 1}
        return source(self.path, path="a", split_bytes=500, context=changes, **settings)


class TestCommentedFiles(SourceSuite):
    @pytest.fixture(autouse=True)
    def files(self, tmp_path):
        self.path = tmp_path
        header, *rest = csv_text(200).splitlines(keepends=True)
        lines = "".join(f"# it's \"a\n{line}" if line[0].isdigit() else line for line in rest)
        (tmp_path / "a.csv").write_text(f"Report of today\n\n{header}{lines}")

    def new(self, **changes):
        return source(self.path, path="a.csv", split_bytes=500, context=changes, skip_lines=2, comment="#")

    def test_all_rows_are_there(self):
        assert [r["id"] for r in self._all()[""]] == list(range(200))


class TestHiveFolders(SourceSuite):
    @pytest.fixture(autouse=True)
    def files(self, tmp_path):
        self.path = tmp_path
        for year, land in ((2025, "DE"), (2026, "A%2FB"), (2026, "__HIVE_DEFAULT_PARTITION__")):
            folder = tmp_path / "in" / f"year={year}" / f"land={land}"
            folder.mkdir(parents=True)
            (folder / "a.csv").write_text(csv_text(50))

    def new(self, **changes):
        return source(self.path, path="in/**/*.csv", hive=True, name_column="file", split_bytes=500, context=changes)

    def test_folders_are_columns(self):
        rows = self._all()[""]
        assert {(r["year"], r["land"]) for r in rows} == {(2025, "DE"), (2026, "A/B"), (2026, None)}
        assert rows[0]["file"] == "in/year=2025/land=DE/a.csv"

    def test_only_they_may_be_wanted(self):
        from dataflare.component.context import ReadHints

        wanted = self.new(hints=ReadHints(columns=("year",)))
        assert [r["year"] for r in read(wanted)[""]] == [2025] * 50 + [2026] * 100


def test_hive_folders_of_parquet_files(tmp_path):
    folder = tmp_path / "day=2026-01-31"
    folder.mkdir()
    pq.write_table(pa.table({"id": [1, 2]}), folder / "a.parquet")
    rows = read(source(tmp_path, path="*/*.parquet", hive=True))[""]
    assert [(r["id"], str(r["day"])) for r in rows] == [(1, "2026-01-31"), (2, "2026-01-31")]
    with pytest.raises(DataError, match="which is not int64"):
        read(source(tmp_path, path="*/*.parquet", hive=True, columns={"id": "int64", "day": "int64"}))


def test_lists_of_paths_are_read_in_order_and_once(tmp_path):
    for name in ("b/2.csv", "b/c/3.csv", "a/1.csv", "a/old.csv", "a/1.tmp.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"id\n{ord(name[-5])}\n")
    made = source(
        tmp_path, path=["b/**/*.csv", "a", "a/1.csv"], exclude=["old.csv", "**/*.tmp.csv"], columns={"id": "int64"}
    )
    found = Stores(made.context, made.config.s3).behind(made.config, allow_empty=False)
    assert [entry.name for entry in found] == ["a/1.csv", "b/2.csv", "b/c/3.csv"]
    with pytest.raises(UnavailableError, match="no file"):
        read(source(tmp_path, path=["a", "z*.csv"], columns={"id": "int64"}))
    with pytest.raises(UnavailableError, match="exclude"):
        read(source(tmp_path, path="a", exclude=["*"], columns={"id": "int64"}))
