"""How a CSV file is written: its separators, its header, its words for null, true and false, its numbers and dates."""

from __future__ import annotations

from dataclasses import dataclass

from dataflare.errors import WorkflowError


@dataclass(frozen=True, slots=True)
class CsvOptions:
    """The dialect. `quote` "" means that nothing is quoted; `escape` "" that quotes are doubled inside quotes.

    A value is null when its text is one of `nulls` and it is not quoted; so `""` is an empty string. `comment` begins
    lines that are no records. `moments` are strptime patterns of dates and times that are tried in order before
    ISO 8601. `skip_lines`, before the header, are not looked at. The last two are for writing.
    """

    delimiter: str = ","
    quote: str = '"'
    escape: str = ""
    header: bool = True
    nulls: tuple[str, ...] = ("",)
    comment: str = ""
    skip_lines: int = 0
    decimal: str = "."
    thousands: str = ""
    true_words: tuple[str, ...] = ()
    false_words: tuple[str, ...] = ()
    moments: tuple[str, ...] = ()
    line_end: str = "\n"
    quote_all: bool = False

    def __post_init__(self) -> None:
        """Refuse what no reader can tell apart."""
        signs = {
            "delimiter": self.delimiter,
            "quote": self.quote,
            "escape": self.escape,
            "comment": self.comment,
            "decimal": self.decimal,
            "thousands": self.thousands,
        }
        for name, value in signs.items():
            needed = name in ("delimiter", "decimal")
            if len(value.encode()) > 1 or (needed and not value) or value in ("\n", "\r"):
                raise WorkflowError(f"{name} must be one ASCII character, not {value!r}")
        if self.delimiter in (self.quote, self.escape):
            raise WorkflowError(f"delimiter and quote or escape are the same character {self.delimiter!r}")
        if self.comment and self.comment in (self.delimiter, self.quote, self.escape):
            raise WorkflowError(f"comment and another sign are the same character {self.comment!r}")
        if self.decimal == self.thousands:
            raise WorkflowError(f"decimal and thousands are the same character {self.decimal!r}")
        both = set(self.true_words) & set(self.false_words)
        if both or bool(self.true_words) != bool(self.false_words):
            raise WorkflowError(
                f"{min(both)!r} means true and false" if both else "true_values and false_values go together",
                hint="name the words for both, such as true_values: [yes], false_values: [no]",
            )

    @property
    def plain_values(self) -> bool:
        """Tell whether numbers, booleans and dates are written as everywhere."""
        return self.decimal == "." and not (self.thousands or self.true_words or self.moments)
