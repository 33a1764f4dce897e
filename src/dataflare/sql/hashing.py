"""Sums of hashes of rows that a database computes itself, in forms that others compute from equal rows as well.

A row becomes a text: its columns, each in a form that says how its values are written. Rows are told apart into buckets
by their key: a whole number by its rest, anything else by the first digits of its MD5. The hash of a row is MD5, which
all databases know, or what a database has of its own, several times as fast, where both sides are of one kind.

Sums of two databases can be compared where all forms are the same: equal rows give equal sums; where sums differ, rows
may still be equal (a float that is -0 here and 0 there).
"""

# ruff: noqa: S608 - identifiers are in quotes, literals are ours or quoted

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dataflare.sql.quoting import literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dataflare.sql.predicate import Form

SAMPLE_DIGITS = 8
_SUMMED_DIGITS = 15
"""Hexadecimal digits of a row's hash that are summed: 60 bits, so that no database sees a negative number."""
_SHORT = ("int", "bool", "days", "timestamp", "datetime")
"""Forms in which no value has a comma or is a dash alone."""

Text = tuple[str, str, str]
"""A column: its form, the SQL expression of its text, and that of the column itself."""
Texts = dict[str, Text]


@dataclass(frozen=True, slots=True)
class Hashing:
    """How a database writes it.

    `joined` makes one text of several; `number` a number of hexadecimal digits; `own` a number of a text, by the hash
    of the database ("": it has none).
    """

    joined: Callable[[Sequence[str]], str]
    number: Callable[[str], str]
    own: str = ""
    text_type: str = "varchar"
    octets: str = "octet_length"
    bytewise: str = ""


@dataclass(frozen=True, slots=True)
class Hashed:
    """Which rows are meant, by the hash of their key: those of a sample, and of these those of some buckets.

    `forms`: how the columns of the key are written. `below`: hashes whose first `SAMPLE_DIGITS` digits come before
    these ("": all). `buckets` are some of 16^`digits` (none: all).
    """

    key: tuple[str, ...]
    forms: tuple[str, ...]
    below: str = ""
    digits: int = 0
    buckets: tuple[str, ...] = ()

    def as_hint(self) -> dict[str, Any]:
        """Return plain values, as a plan holds them."""
        told = {"key": list(self.key), "forms": list(self.forms), "below": self.below}
        return {**told, "digits": self.digits, "buckets": list(self.buckets)}

    @classmethod
    def of_hint(cls, hint: Mapping[str, Any]) -> Hashed:
        """Return what `as_hint` told."""
        key, forms, buckets = (tuple(hint[name]) for name in ("key", "forms", "buckets"))
        return cls(key, forms, hint["below"], hint["digits"], buckets)

    def condition(self, hashing: Hashing, texts: Texts) -> str:
        """Return the condition that a row is meant; "": all are, or the database writes the key in another form."""
        if not (self.below or self.buckets) or not texts or tuple(texts[k][0] for k in self.key) != self.forms:
            return ""
        key, parts = [texts[k] for k in self.key], []
        if self.below:
            parts.append(f"left({_digest(hashing, key)}, {SAMPLE_DIGITS}){hashing.bytewise} < {literal(self.below)}")
        if self.buckets:
            listed = ", ".join(literal(b) for b in self.buckets)
            parts.append(f"{bucket_of(hashing, key, self.digits)} in ({listed})")
        return " and ".join(parts)


@dataclass(frozen=True, slots=True)
class Summing:
    """What is summed: the hashes of some columns of rows that meet a condition, in 16^`digits` buckets.

    `own`: by the hash of the database, which only one of its kind has as well.
    """

    columns: tuple[str, ...]
    hashed: Hashed
    digits: int
    predicate: Form | None = None
    own: bool = False


@dataclass(frozen=True, slots=True)
class Sums:
    """Rows and the sum of their hashes by bucket; a bucket without rows is not there."""

    buckets: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """All rows."""
        return sum(rows for rows, _ in self.buckets.values())

    @property
    def checksum(self) -> str:
        """The sum of all, as 32 hexadecimal digits."""
        return f"{sum(total for _, total in self.buckets.values()) % (1 << 128):032x}"

    def differing(self, other: Sums) -> list[str]:
        """Return the buckets that are not the same, sorted."""
        names = {*self.buckets, *other.buckets}
        return sorted(n for n in names if self.buckets.get(n) != other.buckets.get(n))


def form_of(kind: str) -> str:
    """Return the form in which all databases write values of a type; "" where there is none."""
    if kind.startswith(("int", "uint")) and kind != "interval":
        return "int"
    if kind.startswith("decimal("):
        return f"decimal.{kind[:-1].rpartition(',')[2]}"
    return _FORMS.get(kind, "")


_FORMS = {
    "string": "text",
    "bool": "bool",
    "date": "days",
    "timestamp": "timestamp",
    "datetime": "datetime",
    "binary": "hex",
}


def bucket_of(hashing: Hashing, key: Sequence[Text], digits: int) -> str:
    """Return the bucket of a key, a text."""
    if [form for form, *_ in key] == ["int"]:
        return f"coalesce(cast({key[0][2]} % {16**digits} as {hashing.text_type}), '-')"
    return f"left({_digest(hashing, key)}, {digits})"


def _digest(hashing: Hashing, texts: Sequence[Text]) -> str:
    return f"md5({_whole(hashing, texts)})"


def _whole(hashing: Hashing, texts: Sequence[Text]) -> str:
    """Return one text of columns; no two rows share one."""
    parts = []
    for form, text, _ in texts:
        if form in _SHORT or form.startswith("decimal."):
            parts.append(f"coalesce({text}, '-')")
        else:
            long = hashing.joined([f"cast({hashing.octets}({text}) as {hashing.text_type})", "':'", text])
            parts.append(f"coalesce({long}, '-')")
        parts.append("','")
    return hashing.joined(parts)


def summing_query(hashing: Hashing, texts: Texts, summing: Summing, source: str, conditions: Sequence[str]) -> str:
    """Return the query for (bucket, rows, rows that have a hash, sum of hashes) of what stands behind `from`."""
    row = [texts[c] for c in summing.columns]
    key = bucket_of(hashing, [texts[k] for k in summing.hashed.key], summing.digits)
    if summing.own and hashing.own:
        number = hashing.own.format(_whole(hashing, row))
    else:
        number = hashing.number(f"left({_digest(hashing, row)}, {_SUMMED_DIGITS})")
    where = " and ".join(f"({c})" for c in conditions if c)
    inner = f"select {key} as p, {number} as h from {source}{f' where {where}' if where else ''}"
    return f"select p, count(*), count(h), cast(sum(h) as {hashing.text_type}) from ({inner}) t group by p"


def _concatenated(texts: Sequence[str]) -> str:
    return f"({' || '.join(texts)})"


POSTGRES_HASHING = Hashing(
    _concatenated,
    lambda digits: f"('x' || {digits})::bit(60)::int8",
    'hashtextextended({} collate "C", 0)',
    bytewise=' collate "C"',
)
DUCKDB_HASHING = Hashing(_concatenated, lambda digits: f"('0x' || {digits})::ubigint", "hash({})", octets="strlen")
MARIADB_HASHING = Hashing(
    lambda texts: f"concat({', '.join(texts)})",
    lambda digits: f"cast(conv({digits}, 16, 10) as unsigned)",
    text_type="char",
)

_DUCKDB = {
    "int": "{}::varchar",
    "text": "{}",
    "bool": "{}::int::varchar",
    "days": "coalesce(datediff('day', date '1970-01-01', {0})::varchar, {0}::varchar)",
    "timestamp": "coalesce(epoch_us({0})::varchar, {0}::varchar)",
    "datetime": "coalesce(epoch_us({0})::varchar, {0}::varchar)",
    "hex": "lower(hex({}))",
}


def duckdb_text(name: str, kind: str) -> Text | None:
    """Return form and text of a column of DuckDB, by its name in quotes and the type that it has there."""
    form = form_of(kind)
    if kind in ("float32", "float64"):
        return f"duckdb.{kind}", f"{name}::varchar", name
    if form.startswith("decimal."):
        return form, f"{name}::varchar", name
    return (form, _DUCKDB[form].format(name), name) if form else None


__all__ = [
    "DUCKDB_HASHING",
    "MARIADB_HASHING",
    "POSTGRES_HASHING",
    "Hashed",
    "Hashing",
    "Summing",
    "Sums",
    "bucket_of",
    "duckdb_text",
    "form_of",
    "summing_query",
]
