"""Writes the page about the functions of expressions: their names, what they take and give, and what examples give.

Names, meanings and examples are those of `expression/functions.txt`; signatures and results are the engine's own.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from dataflare.errors import WorkflowError
from dataflare.expression.catalogue import Offer, offers
from dataflare.expression.chain import Chain
from dataflare.expression.session import Session
from dataflare.expression.step import Step
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Iterable

NOTE = "<!-- Written by `make docs` from src/dataflare/expression/functions.txt and the engine; edit the former. -->"
HEAD = f"""# Functions

{NOTE}

What [expressions](../expressions.md) may call. A name after a comma is another name of the same function. Types are the
engine's: T is any type, T[] a list. An example shows the result as JSON. Operators, `case`, `cast`, `coalesce` and
other syntax of SQL are not functions, and work as in SQL.
"""
SIGNATURES = """
select lower(function_name), parameters, parameter_types, varargs, return_type from duckdb_functions()
where function_type in ('scalar', 'aggregate', 'macro') order by all
"""
SIGNATURES_MAX = 3
ROW = Schema.of({"_": "bool"})


def page() -> str:
    """Return the page."""
    known = signatures()
    parts = [HEAD]
    for group in dict.fromkeys(offer.group for offer in offers()):
        listed = [offer for offer in offers() if offer.group == group and offer.meaning]
        if listed:
            parts.append(f"## {group}\n\n" + "\n".join(table(listed, known)) + "\n")
    return "\n".join(parts)


def table(listed: list[Offer], known: dict[str, list[str]]) -> Iterable[str]:
    """Yield the rows of a group."""
    examples = any(offer.example for offer in listed)
    yield f"| function | gives |{' example |' if examples else ''}"
    yield f"|---|---|{'---|' if examples else ''}"
    for offer in listed:
        names = ", ".join(f"`{name}`" for name in offer.names)
        found = next((known[n.lower()] for n in offer.names if n.lower() in known), [])
        more = f"<br>and {len(found) - SIGNATURES_MAX} more" if len(found) > SIGNATURES_MAX else ""
        shown = "<br>".join(f"<small>`{s}`</small>" for s in found[:SIGNATURES_MAX]) + more
        cells = [f"{names}<br>{shown}" if shown else names, offer.meaning]
        cells += [f"`{offer.example}` → `{result(offer.example)}`" if offer.example else ""] if examples else []
        yield f"| {' | '.join(cell.replace('|', PIPE) for cell in cells)} |"


PIPE = "\\|"


def signatures() -> dict[str, list[str]]:
    """Return what functions take and give, by their names."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for name, names, kinds, rest, gives in Session(None).execute(SIGNATURES):
        taken = [str(kind or name_of) for kind, name_of in zip(kinds or names or [], names or kinds or [], strict=True)]
        taken += [f"{rest} ..."] if rest else []
        found[name][f"({', '.join(taken)})" + (f" → {gives}" if gives else "")] = None
    return {name: list(each) for name, each in found.items()}


def result(example: str) -> str:
    """Return what comes of an example, as JSON; raise WorkflowError where it is wrong."""
    import pyarrow as pa

    chain = Chain([Step("example", (("v", f"to_json({example}\n)"),))], ROW)
    value: Any = chain.run(pa.table({"_": [True]})).rows["v"][0].as_py()
    chain.close()
    if value is not None and len(value) > 120:  # noqa: PLR2004 - what fits into a cell
        raise WorkflowError(f"the result of {example} is too long for a table", hint="write a smaller example")
    return "null" if value is None else str(value).replace("\n", " ")
