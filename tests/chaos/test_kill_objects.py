"""kill -9 at random steps of the epoch protocol and at random moments, with buckets as source and destinations."""

from __future__ import annotations

import io
import json
import random
import shutil
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.chaos.conftest import HEAD, STEPS, Case
from tests.objects import Bucket
from tests.objects import bucket as bucket  # noqa: PLC0414 - a fixture

OBJECTS = """
  rows: {type: file, inputs: [big], config: {path: "PLACE/rows", format: parquet, s3: S3}}
  names: {type: file, inputs: [per_name], config: {path: "PLACE/names.jsonl", s3: S3}}
  dead: {type: file, inputs: ["*.errors"], config: {path: "PLACE/dead", format: jsonl, s3: S3}}
"""


def content(bucket: Bucket) -> dict[str, list[Any]]:
    """Return what the run made, in an order of its own."""
    shown = [key for key in bucket.all_keys() if not any(part[0] == "." for part in key.split("/"))]
    tables = [pq.read_table(io.BytesIO(bucket.get(k))) for k in shown if k.startswith("out/rows/")]
    dead = [line for k in shown if k.startswith("out/dead/") for line in bucket.get(k).splitlines()]
    return {
        "rows": sorted(tuple(r.values()) for t in tables for r in t.to_pylist()),
        "names": sorted(tuple(json.loads(line).values()) for line in bucket.get("out/names.jsonl").splitlines()),
        "dead": sorted(json.loads(line)["row"] for line in dead),
    }


def prepared(case: Case, bucket: Bucket) -> None:
    """Put the rows into the bucket, and let the workflow read and write there."""
    bucket.put("in.csv", (case.folder / "in.csv").read_bytes())
    s3 = json.dumps(bucket.settings)
    head = HEAD.replace("path: in.csv", f'path: "{bucket.path("in.csv")}"\n      s3: {s3}')
    case.file.write_text(head + OBJECTS.replace("PLACE", bucket.path("out")).replace("S3", s3))


@pytest.mark.parametrize("seed", [1, 2])
def test_kills_change_nothing(case: Case, bucket: Bucket, seed: int) -> None:
    prepared(case, bucket)
    assert case.run(run="calm").returncode == 0
    expected = content(bucket)
    assert len(expected["rows"]) > 9000
    assert len(expected["dead"]) == 13
    bucket.delete_below("out/")
    shutil.rmtree(case.folder / ".dataflare")

    rng = random.Random(seed)
    kills = [f"{when}:{step}:{rng.randint(1, 5)}" for when, step in rng.choices(STEPS, k=6)]
    kills += [f"time:{0.6 + rng.random():.3f}" for _ in range(2)]
    killed = case.run_through(kills, seed)

    assert killed >= 1
    assert content(bucket) == expected
