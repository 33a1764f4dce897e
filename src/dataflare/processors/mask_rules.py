"""The settings of a mask, and the method that each of its rules asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import field_validator, model_validator

from dataflare.component import Config, Field
from dataflare.security.coarsening import Beginning, Bucket, DateShift, Truncate
from dataflare.security.format_preserving import KEPT, FormatPreserving
from dataflare.security.masking import Hash, Null, Partial, Redact, RedactJson
from dataflare.security.tokens import PREFIX, Tokenise

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataflare.security.masking import Mask

_SETTINGS: dict[str, tuple[str, ...]] = {
    "redact": ("text",),
    "null": (),
    "hash": (),
    "hmac_sha256": ("key",),
    "partial": ("first", "last", "fill", "keep_domain"),
    "generalise": ("bucket", "to", "first"),
    "date_shift": ("key", "by", "days"),
    "tokenise": ("key", "prefix", "context"),
    "format_preserving": ("key", "alphabet", "keep", "context"),
}
_ONE_OF = {"partial": ("first", "last", "keep_domain"), "generalise": ("bucket", "to", "first")}
_NEEDED = {
    "hmac_sha256": ("key",),
    "date_shift": ("key", "by"),
    "tokenise": ("key",),
    "format_preserving": ("key",),
}
_SECRET = "write it as a secret reference, such as ${secret:store/KEY}"  # noqa: S105 - words about one


class MaskRule(Config):
    """What is done to values; each method takes the settings that its line names."""

    method: Literal[
        "redact",
        "null",
        "hash",
        "hmac_sha256",
        "partial",
        "generalise",
        "date_shift",
        "tokenise",
        "format_preserving",
    ] = Field(
        description="`redact` puts a text in their place, `null` nothing; `hash` is their SHA-256, `hmac_sha256` one "
        "with a key; `partial` shows some characters; `generalise` makes numbers, dates and postcodes coarser; "
        "`date_shift` moves the dates of one person by the same days; `tokenise` puts a token in their place and "
        "`format_preserving` a text of the same form, from both of which the key leads back to the value."
    )
    key: str = Field(
        "",
        description=f"hmac_sha256, date_shift, tokenise, format_preserving: the key, 16 characters or more; {_SECRET}.",
        repr=False,
    )
    text: str = Field("***", description="redact: what stands in the place of a value.")
    first: int = Field(0, ge=0, description="partial, generalise: characters to show at the beginning of a text.")
    last: int = Field(0, ge=0, description="partial: characters to show at the end.")
    fill: str = Field("*", min_length=1, max_length=1, description="partial: what stands for each hidden character.")
    keep_domain: bool = Field(False, description="partial: show what stands behind the last @, too.")  # noqa: FBT003
    bucket: float | None = Field(None, gt=0, description="generalise: the width of the intervals of numbers.")
    to: Literal["hour", "day", "week", "month", "quarter", "year"] | None = Field(
        None, description="generalise: the time whose beginning stands for a date."
    )
    by: str = Field("", description="date_shift: the column whose value tells whose dates they are.")
    prefix: str = Field(PREFIX, description="tokenise: what each token begins with.")
    alphabet: str = Field(
        "digits",
        description="format_preserving: the characters that are changed, into each other: digits, hexadecimal, lower, "
        "upper, letters, alphanumeric, or the characters themselves.",
    )
    keep: str = Field(
        KEPT,
        description="format_preserving: characters that stay where they are; a text with any other is not masked.",
    )
    context: str = Field(
        "",
        description="tokenise, format_preserving: what the values are for; those of different contexts cannot be "
        "joined.",
    )
    days: int = Field(30, ge=1, le=3650, description="date_shift: the most days by which a date moves.")

    @field_validator("method", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        return "null" if value is None else value  # which YAML makes of the word without quotes

    @model_validator(mode="after")
    def _fits(self) -> Self:
        known = _SETTINGS[self.method]
        for name in sorted(self.model_fields_set - {"method"} - set(known)):
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise ValueError(f"{self.method} has no setting {name!r}: {takes}")
        for name in _NEEDED.get(self.method, ()):
            if not getattr(self, name):
                raise ValueError(f"{self.method} needs {name!r}")
        choices = _ONE_OF.get(self.method, ())
        chosen = [name for name in choices if getattr(self, name)]
        if choices and not chosen:
            raise ValueError(f"{self.method} needs one of {', '.join(choices)}")
        if self.method == "generalise" and len(chosen) > 1:
            raise ValueError(f"generalise takes one of {', '.join(choices)}")
        return self

    def mask(self, kind: str) -> Mask:
        """Return the method for values of a type; raise WorkflowError for a weak key."""
        makers: dict[str, Callable[[], Mask]] = {
            "redact": lambda: RedactJson(self.text) if kind == "json" else Redact(self.text),
            "null": Null,
            "hash": Hash,
            "hmac_sha256": lambda: Hash(self.key),
            "partial": lambda: Partial(self.first, self.last, self.fill, keep_domain=self.keep_domain),
            "generalise": self._coarser,
            "date_shift": lambda: DateShift(self.key, self.days),
            "tokenise": lambda: Tokenise(self.key, self.prefix, self.context),
            "format_preserving": lambda: FormatPreserving(self.key, self.alphabet, self.keep, self.context),
        }
        return makers[self.method]()

    def _coarser(self) -> Mask:
        if self.bucket is not None:
            return Bucket(self.bucket)
        return Truncate(self.to) if self.to is not None else Beginning(self.first)


__all__ = ["MaskRule"]
