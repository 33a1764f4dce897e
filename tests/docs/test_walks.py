"""Pages that show files and commands are walked: the files are written, the commands run, the answers compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.docs.page import Shell, blocks_of, commands_of, fits
from tests.docs.test_documents import PAGES, ROOT, name

if TYPE_CHECKING:
    from pathlib import Path

WALKS = [page for page in PAGES if any(block.title for block in blocks_of(page))]


@pytest.mark.parametrize("page", WALKS, ids=name)
def test_a_reader_who_follows_a_page_sees_what_it_shows(page: Path, tmp_path: Path) -> None:
    with Shell(tmp_path) as shell:
        for block in blocks_of(page):
            if block.title:
                file = tmp_path / block.title
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(block.text)
            elif block.language == "console":
                for command in commands_of(block):
                    said = shell.run(command.line)
                    shown = "\n".join(command.shown)
                    assert fits(command.shown, said), f"$ {command.line}\n{said}\nthe page shows:\n{shown}"


@pytest.mark.parametrize("page", WALKS, ids=name)
def test_every_file_that_a_page_shows_is_used_by_one_of_its_commands_or_files(page: Path) -> None:
    blocks = blocks_of(page)
    for block in blocks:
        if block.title:
            stem = block.title.rpartition("/")[2].partition(".")[0]
            others = [b.text for b in blocks if b is not block]
            assert any(stem in text for text in others), block.title


def test_the_tutorial_is_walked() -> None:
    assert "docs/tutorial.md" in [name(page) for page in WALKS]


def test_the_components_that_a_page_shows_are_those_of_the_examples() -> None:
    shown = {block.title: block.text for block in blocks_of(ROOT / "docs" / "your-own-components.md") if block.title}
    examples = {path.name: path.read_text() for path in (ROOT / "examples" / "custom").glob("[!_]*.py")}
    assert examples == {title: text for title, text in shown.items() if title in examples}


@pytest.mark.parametrize(
    ("shown", "said", "same"),
    [
        (("a  b",), "a b\n", True),
        (("a b",), "a c\n", False),
        (("a ... c",), "a b c\n", True),
        (("a ... c",), "a b\nb c\n", False),
        (("a", "...", "c"), "a\nb\nb\nc\n", True),
        (("a", "...", "c"), "a\nc\n", True),
        (("a", "..."), "b\na\n", False),
        ((), "", True),
        ((), "a\n", False),
        (("a",), "", False),
    ],
)
def test_what_a_page_shows_is_compared_loosely_but_not_too_loosely(
    shown: tuple[str, ...], said: str, same: bool
) -> None:
    assert fits(shown, said) is same
