"""Says the form of a condition (`expression.predicate`) in the words of a database, and in those of people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dataflare.sql.quoting import literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Form = list[Any]


@dataclass(frozen=True, slots=True)
class Wording:
    """How a database compares as we do. Each takes SQL, made of identifiers in quotes and literals.

    `column` makes of a column and its type what is compared, `value` of a literal and a type a value of that type,
    `odd` of a column and its type the condition that a value of it is none that we would read ("" where all are):
    such rows are not for the database to leave out. `like` makes a condition of a text and a pattern in which only `%`
    means something.
    """

    column: Callable[[str, str], str]
    value: Callable[[str, str], str]
    odd: Callable[[str, str], str]
    like: str = "{} like {}"


def worded(form: Form, at: Callable[[str], str], wording: Wording) -> str:
    """Return the condition in SQL; `at` puts a column's name in quotes."""
    odd = dict.fromkeys(wording.odd(at(name), kind) for name, kind, _ in comparisons(form))
    return " or ".join([f"({_said(form, at, wording)})", *(o for o in odd if o)])


def shown(form: Form) -> str:
    """Return the condition as people write it."""
    plain = Wording(
        lambda column, _: column,
        lambda text, kind: text[1:-1] if kind == "bool" or kind.startswith(("int", "decimal")) else text,
        lambda *_: "",
    )
    return _said(form, lambda name: name, plain)


def comparisons(form: Form) -> Iterator[tuple[str, str, str]]:
    """Yield the column, its type and the sign of each comparison."""
    if form[0] in ("and", "or", "not"):
        for part in form[1:]:
            yield from comparisons(part)
    else:
        yield form[1][1], form[1][2], form[0]


def _said(form: Form, at: Callable[[str], str], wording: Wording) -> str:
    sign, *parts = form
    if sign in ("and", "or"):
        return f" {sign} ".join(f"({_said(part, at, wording)})" for part in parts)
    if sign == "not":
        return f"not ({_said(parts[0], at, wording)})"
    (_, name, kind), *values = parts
    column = wording.column(at(name), kind)
    if sign == "null":
        return f"{at(name)} is null"
    said = [wording.value(literal(text), kind) for _, text in values]
    if sign == "between":
        return f"{column} between {said[0]} and {said[1]}"
    if sign == "in":
        return f"{column} in ({', '.join(said)})"
    return wording.like.format(column, said[0]) if sign == "like" else f"{column} {sign} {said[0]}"


__all__ = ["Form", "Wording", "comparisons", "shown", "worded"]
