"""Whole runs on a bucket, by the command line, with keys that nobody sees."""

from __future__ import annotations

from tests.chaos.processes import dataflare, lines, run
from tests.objects import KEY, SECRET

WORKFLOW = """
id: land
secrets:
  s3: {type: env, prefix: TEST_S3_}
sources:
  orders:
    type: file
    mode: incremental
    config:
      path: "s3://BUCKET/in/*.csv"
      split_bytes: 20kB
      s3:
        endpoint: "URL"
        region: us-east-1
        access_key_id: "${secret:s3/KEY}"
        secret_access_key: "${secret:s3/SECRET}"
destinations:
  out: {type: file, inputs: [orders], config: {path: out, format: jsonl}}
"""
ENVIRON = {"TEST_S3_KEY": KEY, "TEST_S3_SECRET": SECRET}


def test_a_run_reads_what_is_new_in_a_bucket_and_tells_no_key(bucket, tmp_path):
    (tmp_path / "workflow.yaml").write_text(WORKFLOW.replace("BUCKET", bucket.name).replace("URL", bucket.url))
    said = []
    for part in range(2):
        rows = range(5000 * part, 5000 * (part + 1))
        bucket.put(f"in/{part}.csv", "id,name\n" + "".join(f"{n},name of {n}\n" for n in rows))
        done = run(tmp_path, environ=ENVIRON)
        assert done.code == 0, done.err
        assert sorted(r["id"] for r in lines(tmp_path / "out")) == list(range(5000 * (part + 1)))
        said += [done.out, done.err]

    wrong = (tmp_path / "workflow.yaml").read_text().replace(bucket.name, "t-not-there")
    (tmp_path / "wrong.yaml").write_text(wrong.replace("id: land", "id: wrong"))
    checked = dataflare(tmp_path, "validate", "wrong.yaml", "--level", "connect", "--json", environ=ENVIRON)
    assert checked.code == 3
    assert "no such bucket" in checked.out
    said += [checked.out, checked.err]
    said += [f.read_bytes().decode(errors="replace") for f in (tmp_path / ".dataflare").rglob("*") if f.is_file()]
    assert not [text for text in said if SECRET in text]
