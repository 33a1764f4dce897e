"""What statements in the log do to tables: those that define, which are logged as texts, and those that should not be.

Names are found in the text, without its comments and strings; whoever reads a statement wrongly would lose rows, so
what is not understood counts as touching each table that it names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

Effect = Literal["alters", "empties", "ends", "hides", "none"]
"""`alters`: its columns may be others; `empties`: TRUNCATE; `ends`: the table is not any more what it was; `hides`: its
rows change without being logged.
"""

_TOKEN = re.compile(
    r"/\*[!M]\d*|\*/"  # what is executed though it looks like a comment
    r"|/\*.*?\*/|--[ \t][^\n]*|#[^\n]*"
    r"|`(?:[^`]|``)*`|'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\""
    r"|[\w$\u0080-\uffff]+|[.,;()@=]",
    re.DOTALL,
)
_SKIPPED = ("/*", "--", "#", "*/")
_DEFINES = ("create", "alter", "drop", "rename", "truncate")
_CHANGES = ("insert", "update", "delete", "replace", "load", "call", "with")
_PARTED = ("drop", "truncate", "exchange", "convert")


@dataclass(frozen=True, slots=True)
class Statement:
    """The words of a statement in lower case but for names; `database` is the one in which it was executed."""

    words: tuple[str, ...]
    database: str

    @classmethod
    def of(cls, text: str, database: str) -> Statement:
        """Take a text apart."""
        words = [m[0] for m in _TOKEN.finditer(text) if not m[0].startswith(_SKIPPED)]
        lower = [w.lower() for w in words]
        if lower[:2] == ["set", "statement"] and "for" in lower:
            words = words[lower.index("for") + 1 :]
        return cls(tuple(words), database)

    def effect(self, schema: str, table: str) -> Effect:
        """Tell what becomes of a table."""
        lower = [w.lower() for w in self.words]
        first = lower[0] if lower else ""
        if first == "drop" and self._of_database(lower):
            return "ends" if _plain(self.words[-1]) == schema else "none"
        if first not in (*_DEFINES, *_CHANGES) or not self._names(schema, table):
            return "none"
        if first in _CHANGES:
            return "hides"
        return self._defined(lower, schema, table)

    def mentions(self, column: str) -> bool:
        """Tell whether a column is named somewhere, or something that is called so."""
        return any(_plain(word).lower() == column.lower() for word in self.words)

    def _defined(self, lower: list[str], schema: str, table: str) -> Effect:
        first, head = lower[0], [w for w in lower[1:4] if w not in ("or", "replace", "online", "offline", "ignore")]
        if first in ("truncate", "rename"):
            return "empties" if first == "truncate" else "ends"
        if head[:1] != ["table"]:
            return "none"  # an index, a trigger, a view; a temporary table
        at = lower.index("table") + 1
        mine, pairs = self._first_name(at) == (schema, table), list(pairwise(lower))
        if first == "alter" and mine and not any(a in _PARTED and b == "partition" for a, b in pairs):
            return "ends" if any(a == "rename" and b not in _PARTS for a, b in pairs) else "alters"
        if first == "alter":
            return "hides" if mine or "exchange" in lower or "rename" in lower else "none"
        kept = lower[at : at + 2] == ["if", "not"]  # it was there, or its end would have been told
        return "ends" if first == "drop" or (mine and not kept) else "none"

    def _of_database(self, lower: Iterable[str]) -> bool:
        return any(w in ("database", "schema") for w in list(lower)[1:2])

    def _first_name(self, at: int) -> tuple[str, str]:
        words = list(self.words)
        while at < len(words) and words[at].lower() in ("if", "not", "exists"):
            at += 1
        if at + 2 < len(words) and words[at + 1] == ".":
            return _plain(words[at]), _plain(words[at + 2])
        return self.database, _plain(words[at]) if at < len(words) else ""

    def _names(self, schema: str, table: str) -> bool:
        """Tell whether a table is named somewhere."""
        for at, word in enumerate(self.words):
            if _plain(word) != table:
                continue
            qualified = at >= 2 and self.words[at - 1] == "."  # noqa: PLR2004 - a name, a dot, a name
            if (_plain(self.words[at - 2]) if qualified else self.database) == schema:
                return True
        return False


_PARTS = ("column", "index", "key", "constraint")


def _plain(word: str) -> str:
    return word[1:-1].replace("``", "`") if word.startswith("`") else word


__all__ = ["Effect", "Statement"]
