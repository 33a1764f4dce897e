"""What happens to the folder of compiled code harms nobody: what is not this user's own work is not run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.plugin.hostile_modules import hostile

from dataflare.plugin.compiled import CompiledFiles
from dataflare.plugin.engine import WasmEngine
from dataflare.plugin.host import QuietHost
from dataflare.plugin.limits import Limits
from dataflare.plugin.program import Program, Settings


def works(files: CompiledFiles, folder: Path) -> bool:
    """Load two modules in a new engine, and tell whether they answer."""
    engine = WasmEngine(fuel=False, files=files)
    answers = []
    for number, more in enumerate(("", "(func $other)")):
        (folder / f"{number}.wasm").write_bytes(hostile(more=more))
        program = Program.load(folder / f"{number}.wasm", engine, "plugin.wasm")
        instance = program.opened(Settings(), QuietHost(), Limits())
        with engine.ticking():
            answers.append(instance.call("process-batch", ("json-lines", 1, "{}")))
    return answers == [([("", 1, "{}", None)], [])] * 2


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Return a folder in which modules are kept, compiled."""
    folder = tmp_path / "cache"
    assert works(CompiledFiles(folder), tmp_path)
    assert [*folder.glob("*.compiled")]
    return folder


def overwritten(cache: Path, kept: list[Path]) -> None:
    for path in kept:
        path.write_bytes(os.urandom(path.stat().st_size))


def cut(cache: Path, kept: list[Path]) -> None:
    for path in kept:
        os.truncate(path, path.stat().st_size // 2)


def exchanged(cache: Path, kept: list[Path]) -> None:
    texts = [path.read_bytes() for path in kept]
    for path, data in zip(kept, [*texts[1:], texts[0]], strict=True):
        path.write_bytes(data)


def key_replaced(cache: Path, kept: list[Path]) -> None:
    (cache / "key").unlink()
    (cache / "key").write_bytes(b"k" * 32)
    (cache / "key").chmod(0o600)


def key_is_a_link(cache: Path, kept: list[Path]) -> None:
    (cache / "key").rename(cache.parent / "key")
    (cache / "key").symlink_to(cache.parent / "key")


def key_is_short(cache: Path, kept: list[Path]) -> None:
    (cache / "key").write_bytes(b"")


def group_may_write(cache: Path, kept: list[Path]) -> None:
    cache.chmod(0o770)


def folder_is_a_link(cache: Path, kept: list[Path]) -> None:
    cache.rename(cache.parent / "elsewhere")
    cache.symlink_to(cache.parent / "elsewhere")


def files_are_links(cache: Path, kept: list[Path]) -> None:
    for path in kept:
        (cache.parent / path.name).write_bytes(b"\0" * 4096)
        path.unlink()
        path.symlink_to(cache.parent / path.name)


def folders_in_the_way(cache: Path, kept: list[Path]) -> None:
    for path in kept:
        path.unlink()
        path.mkdir()


def gone(cache: Path, kept: list[Path]) -> None:
    shutil.rmtree(cache)


HARMS = (
    *(overwritten, cut, exchanged, key_replaced, key_is_a_link, key_is_short, group_may_write),
    *(folder_is_a_link, files_are_links, folders_in_the_way, gone),
)


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_a_cache_that_somebody_was_at_is_not_trusted(
    tmp_path: Path, cache: Path, harm: Callable[[Path, list[Path]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    harm(cache, sorted(cache.glob("*.compiled")))
    compiled = []
    original = WasmEngine._compile

    def counted(self: WasmEngine, *given: object) -> object:
        compiled.append(given)
        return original(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(WasmEngine, "_compile", counted)
    assert works(CompiledFiles(cache), tmp_path)
    assert len(compiled) == 2


FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.integration.plugin.test_hostile_cache import CompiledFiles, works
folder = Path(sys.argv[1])
assert works(CompiledFiles(folder / "other"), folder)
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
assert works(CompiledFiles(folder / "full"), folder)
left = sorted(path.name for path in (folder / "full").iterdir())
assert all(path.stat().st_size <= 8192 for path in (folder / "full").iterdir()), left
assert not [name for name in left if name.startswith("tmp")], left
"""


def test_a_disk_that_is_full_keeps_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    top = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), top], cwd=top, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
