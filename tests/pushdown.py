"""Random conditions, and whether a source that evaluates them itself yields the rows that the filter would keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
from hypothesis import strategies as st

from dataflare.component.context import ReadHints
from dataflare.expression.check import Checker
from dataflare.expression.predicate import predicate_of
from dataflare.testing.stage import batches_of, settled, splits_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dataflare.component.source import SourceConnector

SIGNS = ("=", "<>", "<", "<=", ">", ">=")


@st.composite
def conditions(draw: Any, columns: dict[str, Sequence[str]], depth: int = 3) -> str:
    """Yield conditions over columns, by name with literals that they are compared to."""
    kind = draw(st.sampled_from(["leaf", "leaf", "and", "or", "not"])) if depth else "leaf"
    if kind in ("and", "or"):
        parts = draw(st.lists(conditions(columns, depth - 1), min_size=2, max_size=3))
        return f" {kind} ".join(f"({p})" for p in parts)
    if kind == "not":
        return f"not ({draw(conditions(columns, depth - 1))})"
    name = draw(st.sampled_from(sorted(columns)))
    value = st.sampled_from(list(columns[name]))
    no = draw(st.sampled_from(["", "not "]))
    listed = ", ".join(draw(st.lists(value, min_size=1, max_size=3)))
    sign, pattern = draw(st.sampled_from(SIGNS)), draw(st.sampled_from(PATTERNS))
    forms = [
        f'"{name}" is {no}null',
        f'"{name}" {no}in ({listed})',
        f'"{name}" {no}between {draw(value)} and {draw(value)}',
        f'"{name}" {sign} {draw(value)}',
        f'{draw(value)} {sign} "{name}"',
        *([f'"{name}" {no}like {pattern}'] if name == "text" else []),
    ]
    return str(draw(st.sampled_from(forms)))


PATTERNS = ("'a%'", "'%b'", "'%'", "'A%'", "'%é%'", "''", "'a*%'", "'%[a]'", "'it''s%'")


def rows_read(source: SourceConnector[Any]) -> pa.Table:
    """Return all rows in the order in which they come."""
    settled(source.open())
    try:
        found = [b.rows for s in list(splits_of(source)) for b in batches_of(source, s) if b.stream == ""]
    finally:
        settled(source.close())
    return pa.concat_tables(found) if found else source.context.schemas[""].to_arrow().empty_table()


def kept(rows: pa.Table, condition: str) -> list[int]:
    """Return the ids of the rows that the engine keeps."""
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.register("t", rows)
        return sorted(i for (i,) in connection.execute(f"select id from t where {condition}").fetchall())


def pushed(make: Callable[..., SourceConnector[Any]], condition: str) -> Any:
    """Return the form of a condition as the planner finds it; None where it is not for the source."""
    source = make()
    schema = settled(source.streams())[""].schema
    tree = Checker().tree(condition, schema.names)
    return predicate_of(tree, schema, lambda column, sign: source.compares("", column, sign))


def check(make: Callable[..., SourceConnector[Any]], condition: str, whole: pa.Table, odd: set[int]) -> bool:
    """Assert that pushing a condition down changes nothing; tell whether it was pushed.

    `make` takes changes of the context; `odd` are the ids of rows that the source may not leave out by itself.
    """
    form = pushed(make, condition)
    if form is None:
        return False
    fewer = rows_read(make(hints=ReadHints(predicate=form)))
    wanted = kept(whole, condition)
    assert kept(fewer, condition) == wanted
    assert {*fewer.column("id").to_pylist()} - odd <= {*wanted}
    return True
