"""Columns that the log calls by names that nobody has planned with."""

from __future__ import annotations

import pytest

from dataflare.connectors.postgres.changes.aligning import DROPPED, aligned


def gone(number: int) -> str:
    return f"{DROPPED}{number}........"


@pytest.mark.parametrize(
    ("logged", "now", "found"),
    [
        (["id", "v"], ["id", "v"], {}),
        (["id", "v"], ["id", "v", "w"], {}),
        (["id", "c"], ["id", "d"], {"c": "d"}),
        (["id", "c"], ["id", "d", "e"], {"c": "d"}),
        (["id", "c", "v"], ["id", "d", "v"], {"c": "d"}),
        (["a", "b"], ["x", "y"], {"a": "x", "b": "y"}),
        (["id", "c"], ["id", gone(2)], {}),
        (["id", "c"], ["id", gone(2), "d"], {}),
        (["id", "c", "x"], ["id", gone(2), "d"], {"x": "d"}),
        (["id", "c", "v"], ["id", gone(2), "v", "d"], {}),
        (["id", "c", "v"], ["id", gone(2), "w", "v", "d"], {"c": "w"}),
        (["id", "c"], ["id", "d", gone(3)], {"c": "d"}),
        (["id", "c"], ["id", "d", gone(3), "e"], {"c": "d"}),
        (["id", "c", "x"], ["id", "d", gone(3), "e"], {"c": "d"}),
        (["id", "c", "x"], ["id", gone(2), "d", gone(4), "e"], {}),
        (["id", "c", "x", "y"], ["id", gone(2), "d", "e"], {"x": "d", "y": "e"}),
        (["id", "c"], ["id", *map(gone, range(2, 40)), "d"], {}),
        (["id", *"cxyzuvw"], ["id", *map(gone, range(2, 40)), "d"], {}),
        (["id", "old"], ["id", "new"], {}),
    ],
)
def test_what_is_unknown_stands_between_what_is_known(logged: list[str], now: list[str], found: dict[str, str]) -> None:
    numbers = {name: number for number, name in enumerate(now, 1)}
    assert aligned(logged, numbers, {"old": "new"}) == found
