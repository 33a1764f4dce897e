"""What comes in by a webhook is held to the contract of its source."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.integration.http.test_webhook import Hook, hook

from dataflare.connectors.http.webhook_settings import WebhookConfig
from dataflare.errors import DataError
from dataflare.testing.source_suite import rows_of

if TYPE_CHECKING:
    from pathlib import Path


async def test_what_is_left_over_stays_in_a_column(tmp_path: Path) -> None:
    contract = {"data_type": "discard"}
    async with hook(tmp_path, contract=contract, rest_column="rest", received_column="at") as one:
        await one.send([{"id": 1, "name": "a"}, {"id": "x", "more": {"deep": 1}}])
        found = await one.rows(2)
        assert [(r["id"], r["name"], r["rest"]) for r in found] == [(1, "a", None), (None, None, '{"more":{"deep":1}}')]


async def test_rows_with_new_fields_are_left_out_or_end_the_run(tmp_path: Path) -> None:
    rows = [{"id": 1}, {"id": 2, "new": 1}, {"id": 3}]
    async with hook(tmp_path, contract={"columns": "discard_row"}, on_error="fail") as one:
        await one.send(rows)
        assert [r["id"] for r in await one.rows(2)] == [1, 3]
        await one.send({"id": 4})
        await one.rows(3)  # what was left out came before it
        (bad,) = rows_of(one.batches)["errors"]
        assert json.loads(bad["raw"]) == {"id": 2, "new": 1}
        last = one.batches[-1].position
    again = Hook(tmp_path, {"contract": {"columns": "freeze"}})
    with pytest.raises(DataError, match="does not know: 'new'"):
        await again.read(None, last)
    await again.source.close()


def test_the_rest_needs_columns() -> None:
    with pytest.raises(ValueError, match="declare them"):
        WebhookConfig.model_validate({"rest_column": "rest"})
