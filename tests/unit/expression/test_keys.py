"""Key groups decide where state lives, so they are pinned: these numbers must never change."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pytest

from dataflare.expression.keys import KEY_GROUPS, key_groups

ROWS = pa.table(
    {
        "n": pa.array([1, 2, None, -7], pa.int64()),
        "s": pa.array(["a", None, "", "ünï"], pa.string()),
        "f": pa.array([0.0, -0.0, 1.5, float("nan")], pa.float64()),
        "t": pa.array([0, 1, 1_700_000_000_000_000, None], pa.timestamp("us", "UTC")),
    }
)
PINNED = {
    ("n",): [145, 218, 185, 117],
    ("s",): [199, 185, 192, 87],
    ("f",): [141, 141, 158, 54],
    ("t",): [114, 7, 67, 185],
    ("n", "s"): [219, 246, 124, 29],
    (): [0, 0, 0, 0],
}


@pytest.mark.parametrize("keys", PINNED)
def test_the_key_groups_of_known_keys_never_change(keys: tuple[str, ...]) -> None:
    assert key_groups(ROWS, keys).to_pylist() == PINNED[keys]


def test_the_width_of_an_integer_does_not_matter() -> None:
    narrow = pa.table({"n": ROWS.column("n").cast(pa.int8())})
    assert key_groups(narrow, ["n"]).equals(key_groups(ROWS, ["n"]))


def test_another_process_finds_the_same_groups() -> None:
    code = (
        "import pyarrow as pa; from dataflare.expression.keys import key_groups; "
        "print(key_groups(pa.table({'n': pa.array(range(50), pa.int64())}), ['n']).to_pylist())"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    here = key_groups(pa.table({"n": pa.array(range(50), pa.int64())}), ["n"]).to_pylist()
    assert found.strip() == str(here)


def test_many_keys_spread_over_all_groups() -> None:
    groups = key_groups(pa.table({"n": pa.array(range(10_000), pa.int64())}), ["n"]).to_pylist()
    assert set(groups) == set(range(KEY_GROUPS))


def test_more_schemas_than_statements_are_kept_still_work() -> None:
    for n in range(100):
        assert key_groups(pa.table({f"c{n}": [1]}), [f"c{n}"]).to_pylist() == [145]
