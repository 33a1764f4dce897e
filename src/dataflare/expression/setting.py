"""The type of settings that hold an SQL expression."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator


def expression_text(value: Any) -> Any:
    """Let numbers, booleans and null of the workflow file stand for themselves where an expression is wanted."""
    if value is None or isinstance(value, bool | int | float):
        return "null" if value is None else str(value).lower()
    return value


Sql = Annotated[str, BeforeValidator(expression_text)]
"""An SQL expression over the columns of the input."""
