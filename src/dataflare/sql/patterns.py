"""Tables that are named by patterns, such as `public.*` and `!public.audit_*`: those of them that are there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from dataflare.errors import WorkflowError
from dataflare.sql.naming import is_ours
from dataflare.sql.quoting import split_name, written

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dataflare.component import StageContext

    There = Callable[[str], Sequence[str]]

_ANY, _NOT = "*", "!"
S_contra = TypeVar("S_contra", contravariant=True)
S = TypeVar("S")


class Finds(Protocol[S_contra]):
    """A source whose tables may be named by patterns."""

    config: Any
    context: StageContext

    def tables(self, session: S_contra, schema: str) -> Sequence[str]:
        """Return the names of the tables of a schema ("": the usual one), without views and parts of other tables."""
        ...


def is_pattern(text: str) -> bool:
    """Tell whether a text names tables by what they are called."""
    return _ANY in text or text.startswith(_NOT)


def find_tables(source: Finds[S], session: S, *, planned: bool = False) -> None:
    """Let the settings of a source name the tables that are there, where patterns stand for them.

    `planned`: only those that the plan has. Raises WorkflowError where there is none.
    """
    config = source.config
    if not any(map(is_pattern, config.tables)):
        return
    names = matching(config.tables, lambda schema: source.tables(session, schema), dotted=config.dotted)
    if not names:
        raise WorkflowError(
            f"no table is called {', '.join(config.tables)}", hint="look for its schema and its spelling"
        )
    found = config.found(names)
    if planned and source.context.schemas:
        found = config.found([name for output, name in found.outputs().items() if output in source.context.schemas])
    source.config = found


def tables_since(source: Finds[S], session: S) -> dict[str, str]:
    """Return the tables that have come since the plan was made by output, of a source that is open.

    None where they are left out anyway.
    """
    config = source.config
    if not config.by_pattern or source.context.contract.get("tables") == "discard":
        return {}
    found = config.found_again(
        lambda patterns: matching(patterns, lambda schema: source.tables(session, schema), dotted=config.dotted)
    )
    return {output: name for output, name in found.outputs().items() if output not in source.context.schemas}


def matching(wanted: Sequence[str], there: There, *, dotted: bool = True) -> list[str]:
    """Return the tables that are wanted, as settings write them; raise WorkflowError for a pattern of schemas.

    `there` tells those of a schema. What begins with `!` is left out; without a schema, in all of them. Names that are
    not `dotted` have no schema before them.
    """
    split = split_name if dotted else _whole
    found: dict[str, tuple[str, str]] = {}
    for text in wanted:
        if text.startswith(_NOT):
            continue
        schema, pattern = split(text)
        if _ANY in schema:
            raise WorkflowError(f"{text} is a pattern of schemas", hint="name each schema: tables: [one.*, other.*]")
        if _ANY in pattern:
            names = [n for n in there(schema) if like(n, pattern) and not is_ours(n)]
            found |= {written(schema, n) if dotted else n: (schema, n) for n in names}
        else:
            found[text] = schema, pattern
    left = [split(text.removeprefix(_NOT)) for text in wanted if text.startswith(_NOT)]
    return [
        text
        for text, (schema, name) in found.items()
        if not any(other in ("", schema) and like(name, pattern) for other, pattern in left)
    ]


def _whole(text: str) -> tuple[str, str]:
    return "", text


def like(name: str, pattern: str) -> bool:
    """Tell whether a name is as a pattern says, in which `*` is any text, and all else itself."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split(_ANY))), name, re.DOTALL) is not None


__all__ = ["Finds", "find_tables", "is_pattern", "like", "matching", "tables_since"]
