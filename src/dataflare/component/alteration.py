"""What a destination changes of its table so that it can take the columns that come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from dataflare.errors import DataFlareError

Kind = Literal["rename", "add", "drop", "retype", "nullable"]
Verdict = Literal["alter", "leave", "refuse"]


@dataclass(frozen=True, slots=True)
class Alteration:
    """One change of one column of one table.

    `column` is its name (of `rename`: the new one), `was` and `now` are what is different: names of `rename`, column
    types of `retype` as the database writes them; `now` of `add` and `was` of `drop` are the type. `nullable` takes
    NOT NULL off. `widens`: nothing that is there is lost. `verdict` is what the policy says: it is made, it is left
    alone with a notice, or it ends the run. `losing` is a query that yields a row where a value would be lost; "" where
    none can be.
    """

    table: str
    kind: Kind
    column: str
    was: str = ""
    now: str = ""
    statements: tuple[str, ...] = ()
    widens: bool = True
    verdict: Verdict = "alter"
    losing: str = ""

    @property
    def statement(self) -> str:
        """What the database is told."""
        return "; ".join(self.statements)

    def __str__(self) -> str:
        """Say it in words."""
        match self.kind:
            case "rename":
                return f"column {self.was} is renamed to {self.now}"
            case "add":
                return f"column {self.column} is added as {self.now}"
            case "drop":
                return f"column {self.column} is dropped"
            case "nullable":
                return f"column {self.column} may be null"
        return f"column {self.column} becomes {self.now} instead of {self.was}"


class WouldAlterError(DataFlareError):
    """No error: what a run would change of a table, for `check` to tell."""

    code: ClassVar[str] = "schema.would_alter"
    severity: ClassVar[str] = "info"


class WouldStayError(DataFlareError):
    """No error: a column that is not what it should be, and that a run would leave alone."""

    code: ClassVar[str] = "schema.not_altered"
    severity: ClassVar[str] = "info"


__all__ = ["Alteration", "Kind", "Verdict", "WouldAlterError", "WouldStayError"]
