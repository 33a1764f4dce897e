"""The page of write modes has the destinations and modes that the components themselves name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

from dataflare.component import Registry, destination
from dataflare.component.spec import WriteMode

PAGE = Path(__file__).parents[2] / "docs" / "write-modes.md"
INNER = ("dead_letters",)
"""Destinations whose rows are not the user's."""


def rows_of(head: str) -> list[list[str]]:
    """Return the cells of the table on the page whose head begins so."""
    text = PAGE.read_text()
    lines = text[text.index(f"| {head}") :].split("\n\n")[0].splitlines()
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines if "---" not in line]


def test_the_page_tells_what_each_mode_does() -> None:
    assert {row[0] for row in rows_of("mode |")[1:]} == set(get_args(WriteMode))


def test_the_page_tells_which_destination_has_which_mode() -> None:
    (_, *modes), *told = rows_of("destination |")
    registry = Registry.installed()
    traits: dict[str, Any] = {
        name: registry.find(destination, name).spec.traits for name in registry.names(destination) if name not in INNER
    }
    expected = {name: [mode for mode in modes if mode in t.write_modes] for name, t in traits.items()}
    assert {name: [m for m, cell in zip(modes, cells, strict=True) if cell] for name, *cells in told} == expected
    assert set(modes) == {mode for t in traits.values() for mode in t.write_modes}


def test_the_settings_that_the_page_names_are_there() -> None:
    fields = Registry.installed().find(destination, "sqlite").spec.config.model_fields
    for name in ("changes", "deletes", "deleted_at", "history", "replaces"):
        assert name in fields
        assert re.search(rf"`{name}\b", PAGE.read_text())
