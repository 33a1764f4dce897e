"""Makes the input of the workloads from fixed seeds, once, in blocks: the same rows whatever the size.

Runs in the environment of the bounds, which has numpy and Polars: `python data.py orders ROWS FILE`. The first rows of
a large file are those of a small one, since every block has a seed of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

SEED = 20260101
BLOCK_ROWS = 500_000
NULL_SHARE = 0.02
CUSTOMERS = 100_000
CITIES = (
    *("Berlin", "Paris", "London", "Madrid", "Rome", "Vienna"),
    *("Prague", "Lisbon", "Oslo", "Dublin", "Athens", "Warsaw"),
)
STATES = ("new", "paid", "shipped", "cancelled", "returned")
PRODUCTS = [f"product {n:05d} {'abcdefghij'[n % 10] * (n % 7 + 1)}" for n in range(20_000)]
FIRST_SECOND = 1_735_689_600  # 2025-01-01
YEAR_SECONDS = 365 * 86_400
INSERTED_SHARE = 0.144
"""The share of changed rows whose id is new; the others change a row that is there."""


def block(ids: Any, seed: tuple[int, ...]) -> pl.DataFrame:
    """Return one block of orders: eight columns, six of them with two per cent of nulls."""
    import numpy as np
    import polars as pl

    chance = np.random.default_rng(seed)
    rows = len(ids)

    def picked(words: tuple[str, ...] | list[str]) -> pl.Series:
        return pl.Series(words)[chance.integers(0, len(words), rows)]

    def holed(values: Any) -> pl.Series:
        series = values if isinstance(values, pl.Series) else pl.Series(values)
        return series.set(pl.Series(chance.random(rows) < NULL_SHARE), None)

    seconds = FIRST_SECOND + chance.integers(0, YEAR_SECONDS, rows)
    return pl.DataFrame(
        {
            "id": pl.Series(ids),
            "customer_id": holed(chance.integers(0, CUSTOMERS, rows)),
            "product": holed(picked(PRODUCTS)),
            "city": holed(picked(CITIES)),
            "status": picked(STATES),
            "qty": holed(chance.integers(1, 20, rows)),
            "price": holed(np.round(chance.gamma(2.0, 30.0, rows), 2)),
            "ts": holed(pl.Series(seconds * 1_000_000).cast(pl.Datetime("us"))),
        }
    )


def write_blocks(blocks: Any, path: Path) -> None:
    """Write blocks as one CSV file: header, no quotes, nulls empty, prices with two places."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        for number, rows in enumerate(blocks):
            rows.write_csv(
                file, include_header=number == 0, datetime_format="%Y-%m-%d %H:%M:%S", float_precision=2, null_value=""
            )
    partial.rename(path)


def write_orders(rows: int, path: Path) -> None:
    """Write orders with ids from 0 up."""
    import numpy as np

    starts = range(0, rows, BLOCK_ROWS)
    write_blocks((block(np.arange(s, min(s + BLOCK_ROWS, rows)), (SEED, s // BLOCK_ROWS)) for s in starts), path)


def write_changes(orders: int, path: Path) -> None:
    """Write changed rows for so many orders, a sixth of them, in the order of a shuffled deck."""
    import numpy as np

    rows = orders // 6
    inserted = round(rows * INSERTED_SHARE)
    chance = np.random.default_rng((SEED, 1_000_000))
    changed = chance.permutation(orders)[: rows - inserted]
    ids = chance.permutation(np.concatenate([changed, np.arange(orders, orders + inserted)]))
    starts = range(0, rows, BLOCK_ROWS)
    write_blocks((block(ids[s : s + BLOCK_ROWS], (SEED, 2_000_000, s // BLOCK_ROWS)) for s in starts), path)


def orders(rows: int) -> Path:
    """Return the file with so many orders; make it if it is not there."""
    return _made("orders", rows)


def changes(rows: int) -> Path:
    """Return the file with the changed rows for a table of so many orders; make it if it is not there."""
    return _made("changes", rows)


def _made(kind: str, rows: int) -> Path:
    from benchmarks import places, venvs

    path = places.DATA / f"{kind}-{rows}.csv"
    if not path.exists():
        places.DATA.mkdir(parents=True, exist_ok=True)
        print(f"making {places.inside(path)}", flush=True)
        subprocess.run([venvs.python("bounds"), __file__, kind, str(rows), path], check=True)
    return path


def main(arguments: list[str]) -> None:
    """Run in the environment of the bounds: KIND ROWS FILE."""
    kind, rows, path = arguments
    {"orders": write_orders, "changes": write_changes}[kind](int(rows), Path(path))


if __name__ == "__main__":
    main(sys.argv[1:])
