"""How a call into a plugin fails."""

from __future__ import annotations

import re

from dataflare.errors import Place

_PLACED = re.compile(r"(?P<what>.*) \((?P<line>\d+)(:(?P<column>\d+))?\)", re.DOTALL)
_FRAMES = re.compile(r"^\s*\d+:\s+0x|wasm backtrace|^Caused by|^\s*$|^note:|error while executing")
_WORDS = (
    ("wasm trap: interrupt", "it took longer than it may"),
    ("all fuel consumed", "it used more fuel than it may"),
    ("call stack exhausted", "its calls are nested too deeply"),
    ("wasm `unreachable` instruction executed", "it gave up"),
    ("out of bounds memory access", "it reached beyond its memory"),
    ("exited with i32 exit status", "it ended itself"),
    ("argument type mismatch", "its functions take other values than they should"),
    (", found i32", "its functions take other values than they should"),
    ("fuel allocated for hostcalls", "it returned more than it may"),
    ("store handle limit exceeded", "it opened more than it may"),
    ("incomplete utf-8", "what it returned is no Unicode text"),
    ("invalid utf-8", "what it returned is no Unicode text"),
)


ELEMENTS_MAX = 1 << 17
"""Of a list that a plugin returns; numbers of rows, which are copied as a whole, may be more."""
_SHOWN_MAX = 2000
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def shown(text: str) -> str:
    """Return what a plugin says as it is shown: 2,000 characters at most, and none that moves a cursor."""
    cut = text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}... ({len(text):,} characters)"
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", cut)


class PluginError(Exception):
    """A plugin said so itself; it can be called again. `what` is its own text."""

    def __init__(self, what: str) -> None:
        """Keep the text, as it is shown."""
        self.what = shown(what)
        super().__init__(self.what)


class BadRecordError(PluginError):
    """The record is bad."""


class TransientError(PluginError):
    """The same call may succeed later."""


class FatalError(PluginError):
    """The plugin cannot go on."""


class TrappedError(PluginError):
    """The instance was stopped in the middle of a call: it is dead, and a new one takes its place."""


ERRORS: dict[str, type[PluginError]] = {
    "bad-record": BadRecordError,
    "transient": TransientError,
    "fatal": FatalError,
}
"""By the cases of `plugin-error`, in their order."""


def too_many(count: int) -> TrappedError:
    """Return the error for a list of too many elements."""
    return TrappedError(f"it returned a list of {count:,} elements, which are more than {ELEMENTS_MAX:,}")


def trapped(text: str, denied: str = "") -> TrappedError:
    """Make an error of what wasmtime says; `denied` is what a host function refused in that call."""
    if denied:
        return TrappedError(denied)
    for word, meaning in _WORDS:
        if word in text.lower():
            return TrappedError(meaning)
    lines = [line.strip() for line in text.splitlines() if not _FRAMES.search(line)]
    return TrappedError(lines[-1].split(": ", 1)[-1] if lines else "it ended")


def placed(what: str, file: str) -> tuple[str, Place]:
    """Return what a plugin says about its own file, and the place there, where it names one."""
    found = _PLACED.fullmatch(what)
    if not found:
        return what, Place(file)
    return found["what"], Place(file, int(found["line"]), int(found["column"] or 0))


__all__ = [
    "ELEMENTS_MAX",
    "ERRORS",
    "BadRecordError",
    "FatalError",
    "PluginError",
    "TransientError",
    "TrappedError",
    "placed",
    "shown",
    "too_many",
    "trapped",
]
