"""DuckDB's errors in our words: where in the user's expression, what was meant, and never a value of a row."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dataflare.errors import DataFlareError, Place, UnavailableError, WorkflowError
from dataflare.expression.wording import place_as_written

if TYPE_CHECKING:
    import duckdb

_TYPE = r"([A-Z][A-Z0-9_]*(?: WITH TIME ZONE)?(?:\(\d+,\d+\))?)"
_REASONS = [
    (
        rf"Could not convert string .* to {_TYPE}(?: when casting from source column .*)?$",
        "the text is not of type {0}",
    ),
    (rf"Type {_TYPE} with value .* destination type {_TYPE}", "the {0} value is out of range for {1}"),
    (rf"(?:Could not cast|Casting) value .* to (?:type )?{_TYPE}", "the value does not fit {0}"),
    (r"Overflow in (\w+) of ([A-Z0-9]+)", "overflow in {0} of {1}"),
    (r"invalid (\w+) field format", "the text is not of type {0}"),
    (r"(\w+) field value out of range", "the text is no valid {0}"),
    (r"Malformed JSON", "malformed JSON"),
    (r"Could not parse string .* according to format", "the text does not match the format"),
    (r"Division by zero", "division by zero"),
    (r"Unknown TimeZone", "there is no such time zone"),
    (r"Invalid escape string", "what stands behind ESCAPE is not one character"),
]
_KINDS = {
    "Conversion Error": "the value cannot be converted",
    "Out of Range Error": "the value is out of range",
}


class ExpressionEngineError(DataFlareError):
    """The expression engine failed in a way that no row and no expression explains."""

    code = "expression.engine"


class WrongExpressionError(WorkflowError):
    """An expression is wrong. `text` is all of it; without a file, line and column of `place` count inside of it."""

    text: str = ""


def wrong(text: str, what: str, hint: str, *, line: int = 0, column: int = 0) -> WorkflowError:
    """Return the error of an expression: the sentence, the expression and a caret (1-based line, 0-based column)."""
    lines = text.splitlines() or [""]
    shown = "\n".join(f"  {each}" for each in lines)
    if line:
        lines = [f"  {each}" for each in lines]
        lines.insert(min(line, len(lines)), "  " + " " * column + "^")
        shown = "\n".join(lines)
    error = WrongExpressionError(f"{what}\n{shown}", hint=hint, place=Place("", line, column + 1 if line else 0))
    error.text = text
    return error


def wrong_at(text: str, offset: int, what: str, hint: str) -> WorkflowError:
    """Return the error of an expression at a byte offset of its UTF-8 text."""
    before = text.encode()[: max(0, offset)].decode(errors="ignore")
    return wrong(text, what, hint, line=before.count("\n") + 1, column=len(before.rpartition("\n")[2]))


def misread(error: duckdb.Error, text: str, written: str = "") -> WorkflowError:
    """Return the error of an expression that DuckDB cannot bind, whose text begins on the statement's second line.

    `written` is the text before it became SQL, if that is another.
    """
    message, _, where = str(error).partition("\n\nLINE ")
    first, *rest = message.splitlines()
    what = re.sub(r"^[\w ]+ Error: ", "", first).replace("INTEGER_LITERAL", "INTEGER")
    what = re.sub(r"^\w+ Function with name (\S+) does not exist!", r"there is no function \1", what)
    what, _, advice = what.partition(". ")
    hints = [advice.strip()] if advice else []
    hints += [_near(line) for line in rest if line.startswith(("Did you mean", "Candidate bindings"))]
    if "||" in text and ("compare" in what or "function matches" in what):
        hints.append("|| joins texts: write `or` between conditions")
    line, column = _place(where, text)
    if not line:
        return wrong(written or text, _lowered(what), "; ".join(hints))
    before = "".join(text.splitlines(keepends=True)[: line - 1])
    offset = len((before + text.splitlines()[line - 1][:column]).encode())
    offset = place_as_written(written, offset) if written else offset
    return wrong_at(written or text, offset, _lowered(what), "; ".join(hints))


def _near(line: str) -> str:
    """Return an advice of DuckDB in the form of ours: did you mean 'upper'?."""
    return re.sub(r'^Did you mean "([^"]*)"\?', r"did you mean '\1'?", line.strip())


def _place(where: str, text: str) -> tuple[int, int]:
    """Read `2: shown text` and its caret line; answer (0, 0) when the place is not inside the text."""
    match = re.match(r"(\d+): (.*)\n( *)\^", where)
    lines = text.splitlines()
    if not match or not 2 <= int(match[1]) < len(lines) + 2:  # noqa: PLR2004 - the text begins on line 2
        return 0, 0
    number, shown = int(match[1]) - 1, match[2]
    column = len(match[3]) - len(f"LINE {match[1]}: ")
    if shown.startswith("..."):
        column = lines[number - 1].find(shown[column:].removesuffix("..."))
    return (number, column) if column >= 0 else (0, 0)


def points_at_literal(error: duckdb.Error) -> bool:
    """Tell whether an error is about a text literal of the expression itself."""
    where = str(error).partition("\n\nLINE ")[2].splitlines()
    return len(where) > 1 and (f"LINE {where[0]}")[len(where[1]) - len(where[1].lstrip()) :].startswith("'")


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:] if sentence[1:2].islower() else sentence


def is_about_rows(error: duckdb.Error) -> bool:
    """Tell whether a failed statement may be the fault of a row's values."""
    import duckdb

    kinds: tuple[type[Any], ...] = (
        duckdb.ConversionException,
        duckdb.OutOfRangeException,
        duckdb.InvalidInputException,
        duckdb.InvalidTypeException,
        duckdb.TypeMismatchException,
        duckdb.NotImplementedException,  # a time zone that there is not
        duckdb.SyntaxException,  # ESCAPE by more than one character
        duckdb.ParserException,
    )
    return isinstance(error, kinds)


def engine_failed(error: duckdb.Error) -> DataFlareError:
    """Return what a failed statement is when it is not about a row; only what is known to hold no value is told."""
    import duckdb

    first = str(error).splitlines()[0]
    if isinstance(error, duckdb.OutOfMemoryException):
        return UnavailableError(
            f"the expression engine has no memory left: {first}",
            hint="raise runtime.budget.memory or lower parallelism",
        )
    if not isinstance(error, duckdb.BinderException | duckdb.CatalogException):  # those see no rows
        first = f"{first.partition(':')[0]}, whose words are not told as they may hold values of rows"
    return ExpressionEngineError(first)


def reason(error: duckdb.Error) -> str:
    """Return why a value failed, in known sentences, without any value."""
    kind, _, message = str(error).partition("\n\nLINE ")[0].partition(": ")
    for pattern, words in _REASONS:
        if match := re.match(pattern, message, re.DOTALL):
            return words.format(*match.groups())
    return _KINDS.get(kind, "the value is not valid input")


__all__ = [
    "ExpressionEngineError",
    "WrongExpressionError",
    "engine_failed",
    "is_about_rows",
    "misread",
    "points_at_literal",
    "reason",
    "wrong",
    "wrong_at",
]
