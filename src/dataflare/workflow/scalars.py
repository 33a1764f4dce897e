"""What an unquoted word of YAML means: null, true, false, a number, or text; nothing else.

Dates, times, octal-looking codes and `1_000` stay text: nothing is lost, and the setting that takes them converts
them. `on`, `off`, `yes`, `no` are text that is marked, because readers disagree on them.
"""

from __future__ import annotations

import math
import re

AMBIGUOUS = frozenset(form for word in ("on", "off", "yes", "no") for form in (word, word.capitalize(), word.upper()))
_NULLS = {"", "~", "null", "Null", "NULL"}
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,38})")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_DIGITS = re.compile(r"[-+]?[0-9]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]{1,16}")


def meaning(text: str) -> bool | int | float | str | None:
    """Return what an unquoted word means."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    return _number(text) if text[0] in "0123456789-+." else text


def _number(text: str) -> int | float | str:
    if _INTEGER.fullmatch(text):
        return int(text)
    if _HEXADECIMAL.fullmatch(text):
        return int(text, 16)
    if _FLOAT.fullmatch(text) and not _DIGITS.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else text
    return text
