"""Lets pyarrow start without numpy, where nobody will hand it an array: a quarter of what a small run costs.

pyarrow takes numpy in if it is installed, and does without it else. It is wanted by code of users who call `to_pandas`
or `to_numpy` in this process, and by what reads change logs: so a file that speaks of either, or a component that
somebody else has installed, keeps it. numpy itself can be imported at any time, by whoever asks.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import entry_points
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WANTS_NUMPY = (b"python", b"cdc", b"hybrid")
"""Words of workflow files, also inside of others, that keep numpy."""
_MODE_ELSEWHERE = re.compile(rb"mode[\"']?\s*:\s*[\"']?\$")
"""A mode that the environment tells."""
FILE_BYTES_MAX = 1 << 20
FILES_MAX = 200
"""Where there is more to look through, numpy stays."""


class _Withheld:
    """Says of numpy that it is not there, to pyarrow."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        del path, target
        if name == "numpy" and _who_imports().partition(".")[0] == "pyarrow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _who_imports() -> str:
    """Return the name of the module that imports something now, of its caller where it is a compiled one."""
    frame = sys._getframe(2)  # noqa: SLF001 - importing says nothing of who asks
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("importlib"):
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", ""))


def withhold_numpy(arguments: Sequence[str]) -> None:
    """Withhold numpy from pyarrow, unless it was imported before or what the arguments name may want it."""
    if "numpy" in sys.modules or "pyarrow" in sys.modules:
        return
    files = list(islice(_files(arguments), FILES_MAX + 1))
    if not 0 < len(files) <= FILES_MAX or any(map(_wants_numpy, files)) or _others_components():
        return
    finder: Any = _Withheld()
    sys.meta_path.insert(0, finder)


def _files(arguments: Sequence[str]) -> Iterator[Path]:
    """Yield the files that are named, and the workflows of folders that are."""
    for text in arguments:
        path = Path(text)
        try:
            if path.is_dir():
                yield from path.rglob("*.y*ml")
            elif path.is_file():
                yield path
        except OSError:  # a text that is no path
            continue


def _wants_numpy(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            text = opened.read(FILE_BYTES_MAX + 1)
    except OSError:  # whoever needs the file tells
        return False
    told = any(word in text for word in WANTS_NUMPY) or _MODE_ELSEWHERE.search(text) is not None
    return told or len(text) > FILE_BYTES_MAX


def _others_components() -> bool:
    offers = entry_points()
    groups = (group for group in offers.groups if group.startswith("dataflare."))
    return any(not e.value.startswith("dataflare.") for group in groups for e in offers.select(group=group))


__all__ = ["withhold_numpy"]
