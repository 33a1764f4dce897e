"""Files that grow and are rotated are followed: every line once, whatever becomes of their names."""

from __future__ import annotations

import random
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflare.connectors.file import follow
from dataflare.connectors.file.source import SPLIT, FileSource, FileSourceConfig
from dataflare.errors import DataError, WorkflowError
from dataflare.testing.source_suite import plain
from dataflare.testing.stage import batches_of, splits_of, staged


class Tail:
    """Catches up with a folder, run after run, as `--until now` does; keeps the position between runs."""

    def __init__(self, folder, path="app.log", **config):
        self.folder, self.events, self.since, self.batches = folder, [], None, []
        changes = config.pop("context", {})
        told = {"format": "jsonl", "columns": {"n": "int64"}, **config}
        self.make = lambda: staged(
            FileSource(FileSourceConfig(path=path, **told)), folder, self.events, mode="streaming", **changes
        )

    def read(self, most=None):
        """Return the numbers that are new; `most` batches, as a process does that is killed behind them."""
        source = self.make()
        source.open()
        (split,) = splits_of(source)
        try:
            self.batches = list(batches_of(source, split, self.since, plain(source.ends()[SPLIT])))[:most]
        finally:
            source.close()
        for batch in self.batches:
            self.since = plain(batch.position)
        return [n for b in self.batches if not b.stream for n in b.rows["n"].to_pylist()]

    def told(self):
        return [e.code for e in self.events if hasattr(e, "code")]


def lines(*numbers):
    return "".join(f'{{"n":{n}}}\n' for n in numbers)


def append(path, text):
    with path.open("a") as file:
        file.write(text)


def test_what_is_appended_is_read_once_and_a_line_without_an_end_waits(tmp_path):
    log, tail = tmp_path / "app.log", Tail(tmp_path)
    log.write_text(lines(1, 2) + '{"n":')
    assert tail.read() == [1, 2]
    assert tail.read() == []
    append(log, "3}\n" + lines(4))
    assert tail.read() == [3, 4]
    append(log, lines(5))
    assert tail.read() == [5]
    assert tail.told() == []


def test_a_file_that_is_not_there_yet_is_waited_for(tmp_path):
    tail = Tail(tmp_path)
    assert tail.read() == []
    (tmp_path / "app.log").write_text("")
    assert tail.read() == []
    append(tmp_path / "app.log", lines(1))
    assert tail.read() == [1]


def test_a_renamed_file_is_read_to_its_end_and_the_new_one_from_its_beginning(tmp_path):
    log, tail = tmp_path / "app.log", Tail(tmp_path)
    log.write_text(lines(1))
    assert tail.read() == [1]
    append(log, lines(2))
    log.rename(tmp_path / "app.log.1")
    log.write_text(lines(3))
    append(tmp_path / "app.log.1", lines(4))  # the writer has not noticed yet
    assert sorted(tail.read()) == [2, 3, 4]
    (tmp_path / "app.log.1").rename(tmp_path / "app.log.2")
    append(tmp_path / "app.log.2", lines(5))
    assert tail.read() == [5]
    assert tail.told() == []


def test_a_glob_of_rotated_names_reads_files_that_came_and_went_meanwhile(tmp_path):
    log, tail = tmp_path / "app.log", Tail(tmp_path, "app.log*")
    log.write_text(lines(1))
    assert tail.read() == [1]
    for number in (2, 3, 4):
        for old in sorted(tmp_path.glob("app.log.*"), reverse=True):
            old.rename(tmp_path / f"app.log.{int(old.suffix[1:]) + 1}")
        log.rename(tmp_path / "app.log.1")
        log.write_text(lines(number))
    assert sorted(tail.read()) == [2, 3, 4]
    assert tail.read() == []


@pytest.mark.parametrize("longer", [False, True])
def test_a_truncated_file_is_read_anew_and_the_rest_from_the_copy(tmp_path, longer):
    log, tail = tmp_path / "app.log", Tail(tmp_path)
    log.write_text(lines(*range(100)))
    assert tail.read() == [*range(100)]
    append(log, lines(100, 101))
    shutil.copy(log, tmp_path / "app.log.1")
    new = [*range(200, 400)] if longer else [200]
    log.write_text(lines(*new))  # the same inode
    assert tail.read() == [100, 101, *new]
    assert tail.read() == []
    assert tail.told() == ["file.truncated"]


def test_a_truncation_without_a_copy_is_told(tmp_path):
    log, tail = tmp_path / "app.log", Tail(tmp_path)
    log.write_text(lines(1, 2))
    tail.read()
    log.write_text(lines(3))
    assert tail.read() == [3]
    assert "was not read" in tail.events[-1].message


def test_a_file_that_is_gone_is_told_and_forgotten(tmp_path):
    log, tail = tmp_path / "app.log", Tail(tmp_path)
    log.write_text(lines(1))
    tail.read()
    log.unlink()
    (tmp_path / "keep").write_text("")  # so that the inode is not given away at once
    log.write_text(lines(2))
    assert tail.read() == [2]
    assert set(tail.told()) <= {"file.gone", "file.truncated"}
    assert tail.told()
    assert len(tail.since["files"]) == 1


def test_what_was_rotated_long_ago_ends_with_its_last_line_and_is_forgotten(tmp_path, monkeypatch):
    log, tail = tmp_path / "app.log", Tail(tmp_path)
    log.write_text(lines(1) + '{"n":2}')
    assert tail.read() == [1]
    log.rename(tmp_path / "old")
    assert tail.read() == []
    monkeypatch.setattr(follow, "ROTATED_SECONDS", -1)
    assert tail.read() == [2]
    log.write_text(lines(3))
    assert tail.read() == [3]
    assert [f[0] for f in tail.since["files"]] == ["app.log"]


def test_headers_are_read_in_each_file_and_bad_rows_are_told_with_their_line(tmp_path):
    tail = Tail(tmp_path, "*.csv", format="csv", context={"on_error": "dead_letter"})
    (tmp_path / "a.csv").write_text("n,m\n1,x\n")
    (tmp_path / "b.csv").write_text("m,n")
    assert tail.read() == [1]
    append(tmp_path / "b.csv", "\ny,2\ny,bad\ny,3\n")
    append(tmp_path / "a.csv", "4,x\n")
    assert sorted(tail.read()) == [2, 3, 4]
    (errors,) = [b for b in tail.batches if b.stream]
    assert errors.rows.select(["file", "line"]).to_pylist() == [{"file": "b.csv", "line": 3}]


def test_a_kill_between_good_and_bad_rows_repeats_neither(tmp_path):
    tail = Tail(tmp_path, context={"on_error": "dead_letter"})
    (tmp_path / "app.log").write_text(lines(1) + "oops\n" + lines(2))
    assert tail.read(most=1) == [1, 2]
    (tmp_path / "app.log").rename(tmp_path / "app.log.1")
    (tmp_path / "app.log").write_text(lines(3))
    assert tail.read() == [3]
    assert [b.rows["raw"].to_pylist() for b in tail.batches if b.stream] == [["oops"]]
    assert tail.read() == []


def test_files_of_few_lines_make_one_batch(tmp_path):
    tail = Tail(tmp_path, "*.jsonl")
    for number in range(300):  # more than are kept open
        (tmp_path / f"{number:03}.jsonl").write_text(lines(number))
    assert tail.read() == [*range(300)]
    assert len(tail.batches) == 1
    for number in range(300):
        append(tmp_path / f"{number:03}.jsonl", lines(1000 + number))
    assert tail.read() == [*range(1000, 1300)]


def test_packed_files_and_objects_are_not_followed(tmp_path):
    (tmp_path / "a.jsonl.gz").write_bytes(b"x")
    tail = Tail(tmp_path, "*")
    assert tail.read() == []
    assert tail.told() == ["file.not_followed"]


def test_a_line_without_an_end_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(follow, "RECORD_BYTES_MAX", 1 << 20)
    monkeypatch.setattr(follow, "BLOCK_BYTES_MAX", 1 << 16)
    (tmp_path / "app.log").write_text("{" + " " * (3 << 20))
    with pytest.raises(DataError, match="no record ends"):
        Tail(tmp_path).read()


def test_there_is_a_limit_to_followed_files(tmp_path, monkeypatch):
    monkeypatch.setattr(follow, "FILES_MAX", 3)
    for number in range(4):
        (tmp_path / f"{number}.jsonl").write_text(lines(number))
    with pytest.raises(WorkflowError, match="more than 3 files"):
        Tail(tmp_path, "*.jsonl").read()


@pytest.mark.once
@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=60, deadline=None)
def test_whatever_writer_rotation_and_kills_do_every_line_comes_once(tmp_path_factory, seed):
    folder, chance = tmp_path_factory.mktemp("followed"), random.Random(seed)
    tail, log, written, got, held = Tail(folder, "app.log*"), folder / "app.log", 0, [], ""
    log.write_text("")
    for _ in range(40):
        step = chance.random()
        if step < 0.5:
            count = chance.randrange(1, 50)
            text = held + lines(*range(written, written + count))
            written += count
            cut = chance.randrange(len(text) + 1)
            append(log, text[:cut])
            held = text[cut:]
        elif step < 0.65:
            append(log, held)  # a writer rotates between lines
            held = ""
            for old in sorted(folder.glob("app.log.*"), key=lambda p: -int(p.suffix[1:])):
                old.rename(folder / f"app.log.{int(old.suffix[1:]) + 1}")
            log.rename(folder / "app.log.1")
            log.write_text("")
        else:
            got += tail.read(most=chance.choice([None, 0, 1]))
    append(log, held)
    got += tail.read()
    assert sorted(got) == [*range(written)]
