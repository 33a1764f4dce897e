"""No function of the engine lets a value out: not by an error, not by a result that does not carry its tag."""

from __future__ import annotations

import re
from collections.abc import Iterator

import duckdb
import pyarrow as pa
import pytest

from dataflare.errors import DataError, DataFlareError, WorkflowError
from dataflare.expression.chain import Chain
from dataflare.expression.check import Checker
from dataflare.expression.explain import engine_failed, is_about_rows, reason
from dataflare.expression.session import Session, select
from dataflare.expression.step import Step
from dataflare.schema import Column, Schema

CANARY = "zq7canary7qz"
SCHEMA = Schema((Column("mail", "string", tags=("pii",)), Column("n", "int64"), Column("name", "string")))
ROW = pa.table({"mail": [CANARY], "n": [1], "name": ["ada"]})
ARGUMENTS = {
    "VARCHAR": "mail",
    "BLOB": "cast(mail as blob)",
    "BIGINT": "n",
    "INTEGER": "1",
    "DOUBLE": "1.5",
    "DATE": "date '2020-01-01'",
    "TIMESTAMP": "timestamp '2020-01-01'",
    "TIMESTAMP WITH TIME ZONE": "timestamptz '2020-01-01 00:00:00+00'",
    "INTERVAL": "interval 1 day",
    "BOOLEAN": "true",
    "VARCHAR[]": "[mail]",
    "T[]": "[mail]",
    "ANY[]": "[mail]",
    "JSON": "to_json(mail)",
    "MAP": "map([mail], [mail])",
    "STRUCT": "{'a': mail}",
    "TIME": "time '10:00:00'",
    "DECIMAL": "1.5::decimal(3,1)",
    "UUID": "uuid '00000000-0000-0000-0000-000000000000'",
    "BIT": "'101'::bit",
}
"""An expression for each type of a parameter, made of the tagged value where that can be."""


def calls() -> Iterator[str]:
    """Yield a call of every function, and others in which one argument is the value in the place of another type."""
    session = Session(None)
    functions = session.execute(
        "select distinct function_name, parameter_types, varargs from duckdb_functions() "
        "where function_type in ('scalar', 'macro')"
    )
    for name, given, rest in sorted(functions, key=str):
        kinds = list(given or [])
        usual = [ARGUMENTS.get(k or "ANY", "mail") for k in kinds]
        more = [ARGUMENTS.get(rest, "mail")] * 2 if rest else []
        if not re.fullmatch(r"\w+", name):
            continue
        yield f"{name}({', '.join([*usual, *more])})"
        for place, kind in enumerate(kinds):
            if kind == "VARCHAR":  # the others are constants, which some functions ask for
                others = ["'a%'" if k == "VARCHAR" and at != place else usual[at] for at, k in enumerate(kinds)]
                yield f"{name}({', '.join([*others, *more])})"
            elif kind and re.fullmatch(r"[A-Z ]+", kind) and kind not in ("ANY", "T", "STRUCT", "MAP"):
                cast = [f"cast(mail as {kind})" if at == place else u for at, u in enumerate(usual)]
                yield f"{name}({', '.join([*cast, *more])})"


@pytest.mark.once
def test_no_function_tells_a_value_by_its_error_or_by_a_result_without_a_tag() -> None:
    checker, session = Checker(), Session(None)
    session.register(ROW)
    ran = failed = 0
    for text in dict.fromkeys(calls()):
        try:
            expression = checker.read(text, SCHEMA.names)
        except DataFlareError as error:
            assert CANARY not in str(error), text
            continue
        try:
            made = str(session.fetch(select([f"cast({expression.sql()} as varchar) as c"])).to_pylist())
            ran += 1
        except (duckdb.BinderException, duckdb.CatalogException) as error:  # a plan would not have come so far
            assert CANARY not in str(error), text
        except duckdb.Error as error:
            failed += 1
            said = reason(error) if is_about_rows(error) else str(engine_failed(error))
            assert CANARY not in said.lower(), text
        else:
            tagged = any(origin.column == "mail" for origin in expression.origins)
            assert tagged or CANARY not in made, text
    assert ran > 500
    assert failed > 100


STUBBORN = [
    "timezone(mail, timestamp '2020-01-01')",
    "name like 'a' escape mail",
    "json_merge_patch(cast(mail as json), cast(mail as json))",
    "cast(cast(mail as json) as struct(a int))",
    "case when n = 1 then timezone(mail, timestamp '2020-01-01') end",
]
"""Expressions whose error TRY lets through."""


@pytest.mark.parametrize("text", STUBBORN)
@pytest.mark.parametrize("policy", ["dead_letter", "skip", "null"])
def test_a_row_that_try_does_not_catch_is_found_all_the_same(text: str, policy: str) -> None:
    steps = [Step("n", (("n", "n"), ("fine", "cast(n as tinyint)"), ("x", text)))]
    good = {"mail": None, "n": 2, "name": "bob"}
    rows = pa.Table.from_pylist([*[good] * 5, *ROW.to_pylist(), *[good] * 6], schema=SCHEMA.to_arrow())
    chain = Chain(steps, SCHEMA, policies=[policy])
    result = chain.run(rows)
    assert result.rows.num_rows == (12 if policy == "null" else 11)
    assert [r.rows.num_rows for r in result.rejected] == ([] if policy == "null" else [1])
    for rejected in result.rejected:
        assert CANARY not in str(rejected.as_errors().to_pylist())
        assert "column 'x'" in rejected.reasons[0].as_py()
    with pytest.raises(DataError, match=r"column 'x': .* \(row 5 of its batch\)") as raised:
        Chain(steps, SCHEMA).run(rows)
    assert CANARY not in str(raised.value)


def test_a_map_of_nothing_is_refused_with_a_cure() -> None:
    with pytest.raises(WorkflowError, match="no type for its keys"):
        Chain([Step("n", (("x", "map([], [])"),))], SCHEMA)
