"""The settings of `parse`, and which of them each format knows."""

from __future__ import annotations

from typing import Literal

from dataflare.component import Config, Field

Format = Literal["json", "csv", "key_value", "regex", "grok", "url", "user_agent"]

_OWN = {
    "paths": ("json",),
    "delimiter": ("csv",),
    "quote": ("csv",),
    "separator": ("key_value",),
    "sign": ("key_value",),
    "pairs": ("key_value",),
    "pattern": ("regex", "grok"),
    "patterns": ("grok",),
    "times": ("json", "csv", "key_value", "regex", "grok"),
}


class ParseConfig(Config):
    """The text, what is written in it, and the columns that come of it."""

    column: str = Field(description="The column of texts.")
    format: Format = Field(description="What is written in it.")
    columns: dict[str, str] | list[str] = Field(
        {},
        description="Names and types of what is read: {id: int64, at: timestamp}; a list is of texts. json: members of "
        "the object; csv: all fields in order; key_value: keys; regex, grok: types of groups that are not text; url, "
        "user_agent: the parts that are wanted (none: all).",
    )
    prefix: str = Field("", description="What the names of the new columns begin with.")
    keep: bool = Field(default=True, description="Whether the column of texts stays.")
    required: list[str] = Field([], description="Columns that must be there: a row where one is missing is at fault.")
    times: dict[str, str] = Field(
        {}, description='How times are written that are not ISO 8601, by column: {at: "%d/%b/%Y:%H:%M:%S %z"}.'
    )
    paths: dict[str, str] = Field(
        {}, description="json: where a column is, if not under its name: {email: user.email, first: /items/0}."
    )
    delimiter: str = Field(",", min_length=1, max_length=1, description="csv: what stands between fields.")
    quote: str = Field('"', max_length=1, description='csv: what stands around a field that holds others; "": nothing.')
    separator: str = Field(" ", min_length=1, description="key_value: what stands between pairs; a blank: any blanks.")
    sign: str = Field("=", min_length=1, description="key_value: what stands between a key and its value.")
    pairs: str = Field("", description="key_value: a column for all pairs, as a map.")
    pattern: str | list[str] = Field(
        [], description="regex, grok: the pattern, or several of which one must match; its named groups are columns."
    )
    patterns: dict[str, str] = Field({}, description="grok: patterns of your own, by name.")

    def types(self) -> dict[str, str]:
        """Return the types of the columns by name; those of a list are texts."""
        return dict(self.columns) if isinstance(self.columns, dict) else dict.fromkeys(self.columns, "string")

    def alternatives(self) -> list[str]:
        """Return the patterns, of which one must match."""
        return [self.pattern] if isinstance(self.pattern, str) else list(self.pattern)

    def foreign(self) -> list[str]:
        """Return the settings that were given and that the format does not know."""
        return [name for name, formats in _OWN.items() if name in self.model_fields_set and self.format not in formats]


__all__ = ["Format", "ParseConfig"]
