"""Text that must not be seen: it shows itself to nobody who does not ask for it by name."""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

HIDDEN = "***"
SHORT = 4
"""A secret of fewer characters is hidden only where it stands as a word, or nothing could be read any more."""

_IN_URL = re.compile(r"(?<=://)([^/\s:@]*):[^@\s/]+(?=@)")


class Secret:
    """A text whose `str`, `repr` and format are `***`; only `reveal` tells it. It does not pickle and is not JSON."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Keep the text."""
        self._text = text

    def reveal(self) -> str:
        """Return the text; hand it straight to whoever needs it, and keep it nowhere."""
        return self._text

    def __str__(self) -> str:
        """Hide it."""
        return HIDDEN

    def __repr__(self) -> str:
        """Hide it."""
        return f"Secret({HIDDEN})"

    def __format__(self, spec: str) -> str:
        """Hide it, whatever the format."""
        return format(HIDDEN, spec)

    def __bool__(self) -> bool:
        """Tell whether there is a text at all."""
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        """Compare in a time that tells nothing about the text."""
        return isinstance(other, Secret) and hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        """Hash by text."""
        return hash((Secret, self._text))

    def __reduce__(self) -> NoReturn:
        """Refuse to travel: references to secrets do, secrets do not."""
        raise TypeError("a secret does not leave its process; send the reference to it")


def scrub(text: str, secrets: Iterable[Secret]) -> str:
    """Return the text with every secret hidden, also where it is written as part of a URL or of JSON.

    The password of any URL is hidden too, whether it is a known secret or not.
    """
    forms = {form for secret in secrets if secret for form in _written(secret.reveal())}
    for form in sorted(forms, key=len, reverse=True):
        if len(form) < SHORT:
            text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", HIDDEN, text)
        else:
            text = text.replace(form, HIDDEN)
    return _IN_URL.sub(rf"\1:{HIDDEN}", text)


def _written(text: str) -> set[str]:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return {text, quote(text), quote(text, safe=""), escaped, repr(text)[1:-1]}
