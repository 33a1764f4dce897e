"""How a CSV file is written: its separators, its header, its words for null."""

from __future__ import annotations

from dataclasses import dataclass

from dataflare.errors import WorkflowError


@dataclass(frozen=True, slots=True)
class CsvOptions:
    """The dialect. `quote` "" means that nothing is quoted; `escape` "" that quotes are doubled inside quotes.

    A value is null when its text is one of `nulls` and it is not quoted; so `""` is an empty string.
    """

    delimiter: str = ","
    quote: str = '"'
    escape: str = ""
    header: bool = True
    nulls: tuple[str, ...] = ("",)

    def __post_init__(self) -> None:
        """Refuse what no reader can tell apart."""
        for name, value in (("delimiter", self.delimiter), ("quote", self.quote), ("escape", self.escape)):
            if len(value.encode()) > 1 or (name == "delimiter" and not value) or value in ("\n", "\r"):
                raise WorkflowError(f"{name} must be one ASCII character, not {value!r}")
        if self.delimiter in (self.quote, self.escape):
            raise WorkflowError(f"delimiter and quote or escape are the same character {self.delimiter!r}")
