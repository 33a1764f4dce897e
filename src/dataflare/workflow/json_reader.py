"""Reads JSON into values with positions, within the same bounds as YAML."""

from __future__ import annotations

import bisect
import math
import re
from json.decoder import JSONDecodeError, scanstring  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any

from dataflare.errors import Place
from dataflare.workflow.document import DEPTH_MAX, VALUES_MAX, Mark, Value

if TYPE_CHECKING:
    from dataflare.workflow.findings import Findings

_BLANKS = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORDS = {"true": True, "false": False, "null": None}
_DIGITS_MAX = 39


def read_json(text: str, findings: Findings) -> Value | None:
    """Return the document, or None when it cannot be read; the reason is among the findings."""
    reader = _Reader(text, findings)
    try:
        value = reader.value(0)
        reader.end()
    except _JsonSyntaxError as error:
        mark = reader.mark(min(error.at, len(text)))
        place = Place(findings.file, mark.line, mark.column)
        findings.error(error.code, f"not valid JSON: {error}", place, error.hint)
        return None
    return value


class _JsonSyntaxError(Exception):
    def __init__(self, what: str, at: int, hint: str = "", code: str = "syntax") -> None:
        super().__init__(what)
        self.at, self.hint, self.code = at, hint, code


class _Reader:
    def __init__(self, text: str, findings: Findings) -> None:
        self._text, self._findings = text, findings
        self._at = 0
        self._count = 0
        self._lines = [0, *(m.end() for m in re.finditer("\n", text))]

    def mark(self, at: int) -> Mark:
        line = bisect.bisect_right(self._lines, at)
        return Mark(line, at - self._lines[line - 1] + 1)

    def _blanks(self) -> str:
        found = _BLANKS.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._text[self._at : self._at + 1]

    def end(self) -> None:
        if self._blanks():
            raise _JsonSyntaxError("there is more after the end of the document", self._at)

    def value(self, depth: int) -> Value:
        sign = self._blanks()
        self._count += 1
        if self._count > VALUES_MAX:
            what, hint = f"more than {VALUES_MAX:,} values", "move data out of the workflow"
            raise _JsonSyntaxError(what, self._at, hint, code="too_many_values")
        if depth > DEPTH_MAX:
            what, hint = f"nested more than {DEPTH_MAX} levels deep", "flatten the document"
            raise _JsonSyntaxError(what, self._at, hint, code="too_deep")
        mark = self.mark(self._at)
        if sign == "{":
            return Value(self._map(depth), mark)
        if sign == "[":
            return Value(self._list(depth), mark)
        if sign == '"':
            return Value(self._string(), mark)
        return self._scalar(mark)

    def _string(self) -> str:
        start = self._at
        try:
            text, self._at = scanstring(self._text, self._at + 1, True)  # noqa: FBT003 - a positional argument in C
        except JSONDecodeError as error:
            raise _JsonSyntaxError(error.msg, error.pos) from error
        if any("\ud800" <= c <= "\udfff" for c in text):
            raise _JsonSyntaxError("half of a surrogate pair", start, "escape the whole character")
        return str(text)

    def _scalar(self, mark: Mark) -> Value:
        for word, meaning in _WORDS.items():
            if self._text.startswith(word, self._at):
                self._at += len(word)
                return Value(meaning, mark, text=word)
        found = _NUMBER.match(self._text, self._at)
        if not found:
            cure = "write text in double quotes, and no comma after the last item"
            raise _JsonSyntaxError("a value is missing here", self._at, cure)
        self._at = found.end()
        return Value(_number(found), mark, text=found[0])

    def _list(self, depth: int) -> list[Value]:
        items: list[Value] = []
        self._at += 1
        if self._blanks() == "]":
            self._at += 1
            return items
        while True:
            items.append(self.value(depth + 1))
            if self._separator("]"):
                return items

    def _map(self, depth: int) -> dict[str, Value]:
        entries: dict[str, Value] = {}
        self._at += 1
        if self._blanks() == "}":
            self._at += 1
            return entries
        while True:
            if self._blanks() != '"':
                cure = "write keys in double quotes, and no comma after the last entry"
                raise _JsonSyntaxError("a key in double quotes is missing here", self._at, cure)
            key_mark = self.mark(self._at)
            key = self._string()
            if self._blanks() != ":":
                raise _JsonSyntaxError("':' is missing here", self._at)
            self._at += 1
            value = self.value(depth + 1)
            value.key_mark = key_mark
            if key in entries:
                self._duplicate(key, key_mark, entries[key].key_mark.line)
            else:
                entries[key] = value
            if self._separator("}"):
                return entries

    def _duplicate(self, key: str, mark: Mark, line: int) -> None:
        place = Place(self._findings.file, mark.line, mark.column)
        self._findings.error(
            "duplicate_key", f"the key {key!r} is there already, in line {line}", place, "remove one of them"
        )

    def _separator(self, end: str) -> bool:
        sign = self._blanks()
        if sign not in (",", end) or not sign:
            raise _JsonSyntaxError(f"',' or '{end}' is missing here", self._at)
        self._at += 1
        return sign == end


def _number(found: re.Match[str]) -> Any:
    if found[1] or found[2]:
        number = float(found[0])
        return number if math.isfinite(number) else found[0]
    return int(found[0]) if len(found[0]) <= _DIGITS_MAX else found[0]
