"""A page of the documents as a walk: files to write and commands to run, in the order in which a reader meets them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

FENCE = re.compile(r"^```(\w*)(?: title=(\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
"""A fenced block: its language, the file that it shows (` ```yaml title=workflow.yaml `), its text."""

ANYTHING = "..."
PROMPT = "$ "
END = "\x1e"


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    title: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command of a `console` block, and the lines that the page shows under it."""

    line: str
    shown: tuple[str, ...]


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page in order."""
    return [Block(*found) for found in FENCE.findall(page.read_text())]


def commands_of(block: Block) -> Iterator[Command]:
    """Yield the commands of a console block; a line that ends with a backslash goes on in the next."""
    chunks: list[list[str]] = []
    for line in block.text.splitlines():
        if line.startswith(PROMPT):
            chunks.append([line.removeprefix(PROMPT)])
        elif len(chunks[-1]) == 1 and chunks[-1][0].endswith("\\"):
            chunks[-1][0] += f"\n{line}"
        else:
            chunks[-1].append(line)
    return (Command(first, tuple(rest)) for first, *rest in chunks)


def fits(shown: tuple[str, ...], said: str) -> bool:
    """Tell whether a command said what a page shows.

    Runs of blanks count as one. `...` stands for anything within a line; alone on a line, for any number of lines.
    """
    pattern = ""
    for line in shown:
        if line.strip() == ANYTHING:
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*?".join(re.escape(_even(part)) for part in line.split(ANYTHING)) + r"\n"
    return re.fullmatch(pattern, "".join(f"{_even(line)}\n" for line in said.splitlines())) is not None


class Shell:
    """One shell for a whole page, in a folder of its own: what it starts in the background stays there till the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        inside = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        self._environ = {**os.environ, **inside, "NO_COLOR": "1", "COLUMNS": "120", "LC_ALL": "C.UTF-8"}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=self._folder,
            env=self._environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def run(self, line: str) -> str:
        """Run a command; return what it wrote to both streams."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\nprintf '{END}\\n'\n")
        self._process.stdin.flush()
        said = ""
        while not said.endswith(f"{END}\n"):
            more = self._process.stdout.readline()
            assert more, f"the shell ended in: {line}\n{said}"
            said += more
        return said.removesuffix(f"{END}\n")


def _even(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
