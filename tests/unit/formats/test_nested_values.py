"""JSON texts are values of lists, structs and maps, digit by digit, or an error that does not show them."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest

from dataflare.errors import DataError
from dataflare.formats.jsonl.nested import nested_values

GOOD = [
    ("list<int32>", "[1,null,\n3]", [1, None, 3]),
    ("list<int32>", "[]", []),
    ("struct<a: int32, b: string>", r'{"a":1,"b":"x\ny"}', {"a": 1, "b": "x\ny"}),
    ("map<string, float64>", '{"k":1.5}', [("k", 1.5)]),
    ("list<struct<a: bool>>", '[{"a":true},null]', [{"a": True}, None]),
    ("list<decimal(18,2)>", "[1.25,-0.5]", [Decimal("1.25"), Decimal("-0.50")]),
    ("list<decimal(38,10)>", "[12345678901234567.1234567891]", [Decimal("12345678901234567.1234567891")]),
]


@pytest.mark.parametrize(("kind", "text", "value"), GOOD)
def test_a_text_is_its_value_and_null_is_null(kind: str, text: str, value: object) -> None:
    assert nested_values(pa.array([None, text, None]), kind, "c").to_pylist() == [None, value, None]
    assert nested_values(pa.array([], pa.string()), kind, "c").to_pylist() == []


@pytest.mark.parametrize("text", ["{}", "[1.5]", '["secret"]', "[1", "1", "[3000000000]", '[1]}\n{"v":[2]'])
def test_a_text_that_is_no_such_value_is_an_error(text: str) -> None:
    with pytest.raises(DataError, match="a value of c is no list<int32>") as found:
        nested_values(pa.array(["[1]", text]), "list<int32>", "c")
    assert "secret" not in str(found.value)
