"""JSON by the C functions of the standard library: scanners and encoders that are made once."""

import datetime as dt
import decimal
import json
import math
import uuid
from collections.abc import Iterator
from itertools import repeat
from json.encoder import c_make_encoder, encode_basestring
from json.scanner import c_make_scanner
from operator import itemgetter
from typing import Any

read = json.JSONDecoder().decode
"""Return what a JSON text holds; whole numbers are exact."""

_AS_TEXT = (decimal.Decimal, uuid.UUID)
_AS_ISO = (dt.date, dt.time)


def _other(value: Any) -> str:
    """Return decimals and moments as texts, which lose nothing."""
    if isinstance(value, _AS_TEXT):
        return str(value)
    if isinstance(value, _AS_ISO):
        return value.isoformat()
    raise TypeError(f"a value of type {type(value).__name__} cannot be written as JSON")


_scan = c_make_scanner(json.JSONDecoder())
_first = itemgetter(0)
# No marks of what is being written: what holds itself is nested too deeply.
_chunks = c_make_encoder(None, _other, encode_basestring, None, ":", ",", False, False, False)


def read_lines(data: str) -> Iterator[Any]:
    """Yield what each line holds, one at a time: all at once would take several times the memory."""
    return map(_first, map(_scan, data.split("\n"), repeat(0)))


def write(value: Any) -> str:
    """Return a value as JSON; floats that are no numbers are texts, as those that come in."""
    try:
        return _chunks(value, 0)[0]
    except ValueError:
        return _chunks(_spelled(value), 0)[0]


def _spelled(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {name: _spelled(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_spelled(one) for one in value]
    return value


def whole(text: str) -> str:
    """Return a text; raise UnicodeEncodeError where it has half a letter, which cannot leave the component."""
    if not text.isascii():
        text.encode()
    return text
