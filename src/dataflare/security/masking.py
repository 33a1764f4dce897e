"""Masks: what becomes of values that may not be seen. A null stays null, whatever the method."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from dataflare.errors import WorkflowError
from dataflare.security.secrets import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from dataflare.security.nested import Leaves

KEY_CHARACTERS_MIN = 16
_NESTED = ("struct<", "list<", "map<", "null")
_DOMAIN = r"(?s)^(?P<local>.*)(?P<domain>@[^@]*)$"


@dataclass(frozen=True, slots=True)
class Masked:
    """Masked values, and which of them could not be masked (they are null) for what reason."""

    values: pa.Array
    failed: pa.Array | None = None
    reason: str = ""


class Mask(Protocol):
    """One method with its settings; the same value always gives the same result."""

    def type_after(self, kind: str) -> str:
        """Return the type of masked values of a type; raise WorkflowError where it masks no such values."""
        ...

    def apply(self, leaves: Leaves, ids: pa.Array | None = None) -> Masked:
        """Return the masked values; `ids` are those of the column that a mask may be keyed by, row by row."""
        ...


def check_key(key: str) -> None:
    """Refuse a key that is soon guessed; one that still is a reference to a secret passes."""
    if key.startswith("${secret:") or len(key) >= KEY_CHARACTERS_MIN:
        return
    what = f"the key is shorter than {KEY_CHARACTERS_MIN} characters" if key else "there is no key"
    raise WorkflowError(what, hint='make one with `openssl rand -hex 32`, and write key: "${secret:store/NAME}"')


def check_ciphers(method: str) -> None:
    """Refuse a method where the library of ciphers is not installed."""
    from importlib.util import find_spec

    if find_spec("cryptography") is None:
        what = f"{method} needs the package cryptography"
        raise WorkflowError(what, hint="pip install 'dataflare[masking]'")


def derived(key: str, purpose: str, length: int) -> bytes:
    """Return a key of `length` bytes for one purpose; keys of different purposes tell nothing of each other."""
    blocks = -(-length // 32)
    return b"".join(hmac.digest(key.encode(), f"dataflare/{purpose}/{n}".encode(), "sha256") for n in range(blocks))[
        :length
    ]


def scalar_text(kind: str, method: str) -> str:
    """Return `string` for a type whose values have one text each; raise WorkflowError for the others."""
    if kind.startswith(_NESTED):
        hint = "name a field inside it under `columns`, tag the field at the source, or use the method null"
        raise WorkflowError(f"{method} masks no {kind.partition('<')[0]}", hint=hint)
    return "string"


def texts(values: pa.Array) -> pa.Array:
    """Return values as texts."""
    import pyarrow as pa

    return values if pa.types.is_binary(values.type) else values.cast(pa.string())


def by_distinct(values: pa.Array, change: Callable[[list[str | bytes]], list[str | None]]) -> pa.Array:
    """Return what `change` makes of values, which it is asked of each different one once."""
    import pyarrow as pa

    encoded = values.dictionary_encode()
    made = pa.array(change(encoded.dictionary.to_pylist()), pa.string())
    return made.take(encoded.indices)


def raw(value: str | bytes) -> bytes:
    """Return the bytes of a text."""
    return value.encode() if isinstance(value, str) else value


class Redact:
    """Puts one text in the place of every value."""

    def __init__(self, text: str = HIDDEN) -> None:
        """Take the text."""
        self._text = text

    def type_after(self, kind: str) -> str:
        """Masks texts and JSON."""
        if kind in ("string", "json"):
            return kind
        raise WorkflowError(f"redact masks texts, not {kind}", hint="use null, generalise, or cast it to text before")

    def apply(self, leaves: Leaves, ids: pa.Array | None = None) -> Masked:
        """Keep nulls and nothing else."""
        import pyarrow as pa
        import pyarrow.compute as pc

        del ids
        nothing = pa.scalar(None, pa.string())
        return Masked(pc.if_else(leaves.values.is_null(), nothing, self._text))


class RedactJson(Redact):
    """Puts one JSON text in the place of every JSON value."""

    def __init__(self, text: str = HIDDEN) -> None:
        """Take the text."""
        import json

        super().__init__(json.dumps(text))


class Null:
    """Leaves nothing."""

    def type_after(self, kind: str) -> str:
        """Masks everything."""
        return kind

    def apply(self, leaves: Leaves, ids: pa.Array | None = None) -> Masked:
        """Return nulls."""
        import pyarrow as pa

        del ids
        return Masked(pa.nulls(len(leaves.values), leaves.values.type))


class Hash:
    """The SHA-256 of a value's text, in hexadecimal; with a key its HMAC."""

    def __init__(self, key: str | None = None) -> None:
        """Take the key of an HMAC; None: a plain hash."""
        if key is not None:
            check_key(key)
        self._key = None if key is None else key.encode()

    def type_after(self, kind: str) -> str:
        """Masks everything that has a text."""
        return scalar_text(kind, "hash" if self._key is None else "hmac_sha256")

    def apply(self, leaves: Leaves, ids: pa.Array | None = None) -> Masked:
        """Hash each different value once."""
        del ids
        return Masked(by_distinct(texts(leaves.values), self._hashed))

    def _hashed(self, values: list[str | bytes]) -> list[str | None]:
        if self._key is None:
            return [hashlib.sha256(raw(v)).hexdigest() for v in values]
        return [hmac.digest(self._key, raw(v), "sha256").hex() for v in values]


class Partial:
    """Shows the beginning or the end of a text; of a short one, which that would show whole, nothing."""

    def __init__(self, first: int = 0, last: int = 0, fill: str = "*", *, keep_domain: bool = False) -> None:
        """Show so many characters; `keep_domain` shows what stands behind the last @ besides."""
        self._first, self._last, self._fill, self._domain = first, last, fill, keep_domain

    def type_after(self, kind: str) -> str:
        """Masks texts."""
        if kind == "string":
            return kind
        raise WorkflowError(f"partial masks texts, not {kind}", hint="cast it to text before, or use generalise")

    def apply(self, leaves: Leaves, ids: pa.Array | None = None) -> Masked:
        """Work on all values at once."""
        import pyarrow as pa
        import pyarrow.compute as pc

        del ids
        local, domain = leaves.values, None
        if self._domain:
            found = pc.extract_regex(leaves.values, _DOMAIN)
            local = pc.coalesce(pc.struct_field(found, "local"), leaves.values)
            domain = pc.fill_null(pc.struct_field(found, "domain"), "")
        length = pc.utf8_length(local)
        long = pc.greater(length, self._first + self._last)
        hidden = pc.if_else(long, pc.subtract(length, self._first + self._last), length)
        nothing = pa.scalar("")
        parts = [pc.binary_repeat(self._fill, hidden)]
        if self._first:
            parts.insert(0, pc.if_else(long, pc.utf8_slice_codeunits(local, 0, self._first), nothing))
        if self._last:
            parts.append(pc.if_else(long, pc.utf8_slice_codeunits(local, -self._last), nothing))
        if domain is not None:
            parts.append(domain)
        return Masked(pc.binary_join_element_wise(*parts, ""))


__all__ = [
    "Hash",
    "Mask",
    "Masked",
    "Null",
    "Partial",
    "Redact",
    "RedactJson",
    "by_distinct",
    "check_ciphers",
    "check_key",
    "derived",
    "raw",
    "scalar_text",
    "texts",
]
