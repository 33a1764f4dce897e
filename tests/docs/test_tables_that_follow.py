"""The table of widening on the page is what the code does."""

from __future__ import annotations

from pathlib import Path

from dataflare.sql.widening import joined

PAGE = Path(__file__).parents[2] / "docs" / "tables-that-follow.md"
HEAD = "| the table has"


def test_the_page_tells_which_types_become_wider() -> None:
    text = PAGE.read_text()
    lines = text[text.index(HEAD) :].split("\n\n")[0].splitlines()[2:]
    told = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]
    assert len(told) > 10
    assert [(one, other, joined(one, other) or "") for one, other, _ in told] == [tuple(row) for row in told]
