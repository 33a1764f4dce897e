"""Makes the input of the workloads from fixed seeds, once, in blocks: the same rows whatever the size.

Runs in the environment of the bounds, which has numpy and Polars: `python data.py orders ROWS FILE`. Orders, changes
and customers are CSV, events and bids JSON Lines. The first rows of a large file are those of a small one, since every
block has a seed of its own.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

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
EVENT_TYPES = ("view", "click", "purchase", "signup", "error")
COUNTRIES = ("DE", "FR", "GB", "US", "ES", "IT")
SEGMENTS = ("gold", "silver", "bronze", "none")
USERS = 500_000
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
    unfinished = path.with_suffix(".partial")
    with unfinished.open("wb") as file:
        for number, rows in enumerate(blocks):
            rows.write_csv(
                file, include_header=number == 0, datetime_format="%Y-%m-%d %H:%M:%S", float_precision=2, null_value=""
            )
    unfinished.rename(path)


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


def events_block(start: int, rows: int) -> pl.DataFrame:
    """Return one block of events as a web shop would send them: objects inside, a list, two per cent without e-mail."""
    import numpy as np
    import polars as pl

    chance = np.random.default_rng((SEED, 3_000_000, start // BLOCK_ROWS))
    user, ids = chance.integers(0, USERS, rows), np.arange(start, start + rows)
    person = pl.DataFrame({"id": user, "gone": chance.random(rows) < NULL_SHARE})
    return person.select(
        pl.lit(pl.Series(ids)).alias("id"),
        pl.lit(pl.Series(FIRST_SECOND * 1000 + ids * 20 + chance.integers(0, 20, rows))).alias("ts"),
        pl.lit(pl.Series(EVENT_TYPES)[chance.integers(0, len(EVENT_TYPES), rows)]).alias("type"),
        pl.struct(
            "id",
            pl.when("gone")
            .then(None)
            .otherwise(pl.format("user{}@example{}.com", "id", pl.col("id") % 50))
            .alias("email"),
            pl.format("User {}", "id").alias("name"),
            pl.struct(
                pl.lit(pl.Series(COUNTRIES)[chance.integers(0, len(COUNTRIES), rows)]).alias("country"),
                (pl.col("id") % 99_999).cast(pl.String).str.zfill(5).alias("zip"),
            ).alias("address"),
        ).alias("user"),
        pl.concat_list(
            pl.struct(
                pl.format("S{}", pl.lit(pl.Series(chance.integers(0, 20_000, rows)))).alias("sku"),
                pl.lit(pl.Series(chance.integers(1, 9, rows))).alias("qty"),
            )
        ).alias("items"),
        pl.lit(pl.Series(np.round(chance.gamma(2, 40, rows), 2))).alias("amount"),
        pl.struct(
            pl.lit("Mozilla/5.0 (X11; Linux x86_64)").alias("ua"),
            pl.format("10.{}.{}.9", pl.col("id") % 256, pl.col("id") % 251).alias("ip"),
        ).alias("meta"),
    )


def records_block(start: int, rows: int) -> pl.DataFrame:
    """Return one block of flat records of about 88 bytes each."""
    import numpy as np
    import polars as pl

    chance = np.random.default_rng((SEED, 5_000_000, start // BLOCK_ROWS))
    seconds = FIRST_SECOND + chance.integers(0, YEAR_SECONDS, rows)
    moments = pl.Series(seconds * 1_000_000).cast(pl.Datetime("us")).dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return pl.DataFrame(
        {
            "nr": np.arange(start, start + rows),
            "amount": np.round(chance.gamma(2.0, 30.0, rows), 2),
            "name": pl.Series(PRODUCTS)[chance.integers(0, len(PRODUCTS), rows)].str.slice(8, 7),
            "city": pl.Series(CITIES)[chance.integers(0, len(CITIES), rows)],
            "ts": moments,
        }
    )


def bids_block(start: int, rows: int) -> pl.DataFrame:
    """Return one block of bids in an auction: small flat records."""
    import numpy as np
    import polars as pl

    chance = np.random.default_rng((SEED, 4_000_000, start // BLOCK_ROWS))
    number = np.arange(start, start + rows)
    return pl.DataFrame(
        {
            "auction": number // 5000 * 20 + chance.integers(0, 100, rows),
            "bidder": chance.integers(0, 50_000, rows),
            "price": np.round(np.exp(chance.normal(6, 1, rows))).astype("int64"),
            "ts": FIRST_SECOND * 1000 + number // 10,
            "channel": ["web"] * rows,
            "url": pl.select(pl.format("https://x.example/{}", pl.lit(pl.Series(number % 977)))).to_series(),
        }
    )


def write_lines(make: Callable[[int, int], pl.DataFrame], rows: int, path: Path) -> None:
    """Write blocks as JSON Lines."""
    unfinished = path.with_suffix(".partial")
    with unfinished.open("wb") as file:
        for start in range(0, rows, BLOCK_ROWS):
            make(start, min(BLOCK_ROWS, rows - start)).write_ndjson(file)
    unfinished.rename(path)


def write_customers(rows: int, path: Path) -> None:
    """Write what is known of each customer: a row for every id from 0 up."""
    import numpy as np
    import polars as pl

    chance = np.random.default_rng((SEED, 5_000_000))
    pl.DataFrame(
        {
            "customer_id": np.arange(rows),
            "name": [f"Customer {n}" for n in range(rows)],
            "segment": pl.Series(SEGMENTS)[chance.integers(0, len(SEGMENTS), rows)],
            "country": pl.Series(COUNTRIES)[chance.integers(0, len(COUNTRIES), rows)],
            "discount": np.round(chance.random(rows) * 0.3, 3),
        }
    ).write_csv(path)


def orders(rows: int) -> Path:
    """Return the file with so many orders; make it if it is not there."""
    return _made("orders", rows)


def changes(rows: int) -> Path:
    """Return the file with the changed rows for a table of so many orders; make it if it is not there."""
    return _made("changes", rows)


def events(rows: int) -> Path:
    """Return the file with so many events of a shop; make it if it is not there."""
    return _made("events", rows, "jsonl")


def records(rows: int) -> Path:
    """Return the file with so many records of about 88 bytes; make it if it is not there."""
    return _made("records", rows, "jsonl")


def bids(rows: int) -> Path:
    """Return the file with so many bids; make it if it is not there."""
    return _made("bids", rows, "jsonl")


def customers() -> Path:
    """Return the file with all customers; make it if it is not there."""
    return _made("customers", CUSTOMERS)


def _made(kind: str, rows: int, ending: str = "csv") -> Path:
    from benchmarks import places, venvs

    path = places.DATA / f"{kind}-{rows}.{ending}"
    if not path.exists():
        places.DATA.mkdir(parents=True, exist_ok=True)
        print(f"making {places.inside(path)}", flush=True)
        subprocess.run([venvs.python("bounds"), __file__, kind, str(rows), path], check=True)
    return path


def main(arguments: list[str]) -> None:
    """Run in the environment of the bounds: KIND ROWS FILE."""
    kind, rows, path = arguments
    writers: dict[str, Callable[[int, Path], None]] = {
        "orders": write_orders,
        "changes": write_changes,
        "customers": write_customers,
        "events": partial(write_lines, events_block),
        "bids": partial(write_lines, bids_block),
        "records": partial(write_lines, records_block),
    }
    writers[kind](int(rows), Path(path))


if __name__ == "__main__":
    main(sys.argv[1:])
