"""A look at a few rows of an API, without a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos.processes import dataflare
from tests.http_server import Asked, LocalServer, Said

if TYPE_CHECKING:
    from pathlib import Path

WORKFLOW = """
id: look
sources:
  rows: {type: http, config: {url: URL, columns: {id: int64, name: string}, pagination: {type: page}}}
transformations:
  odd:
    type: mapping
    inputs: [rows]
    config: {set: {half: "cast(if(id % 2 = 0, '1', 'odd') as bigint)"}}
    on_error: {action: skip}
destinations:
  out: {type: stdout, inputs: [odd]}
"""


def endless(asked: Asked) -> Said:
    page = int(asked.query["page"])
    return Said.of([{"id": n, "name": "x"} for n in range(400 * page, 400 * page + 400)])


def test_a_sample_of_an_api_is_a_few_pages_of_it(tmp_path: Path) -> None:
    with LocalServer(endless) as server:
        (tmp_path / "workflow.yaml").write_text(WORKFLOW.replace("URL", server.url))
        done = dataflare(tmp_path, "validate", "--level", "sample", "workflow.yaml")
        assert done.code == 0
        assert "500 of 1000 sampled rows are rejected" in done.out + done.err
        assert [a.query["page"] for a in server.asked][-3:] == ["1", "2", "3"]
