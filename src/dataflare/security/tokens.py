"""Puts tokens in the place of values: the same one for the same value and key, and whoever has the key can undo it.

A token is the value itself, encrypted by AES-SIV (RFC 5297), which is made to be deterministic. So there is no table of
tokens to keep, to share between tasks, or to lose, and no two values have the same one.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING

from dataflare.security.masking import Masked, by_distinct, check_ciphers, check_key, derived, raw, scalar_text, texts

if TYPE_CHECKING:
    import pyarrow as pa

    from dataflare.security.nested import Leaves

PREFIX = "tok_"
_BLOCK = 16
_END = b"\x80"


class Tokenise:
    """Encrypts the text of a value; how long it is shows only in steps of 16 bytes."""

    def __init__(self, key: str, prefix: str = PREFIX, context: str = "") -> None:
        """Tokens begin with `prefix`; those of another `context` are others, and cannot be joined."""
        check_key(key)
        check_ciphers("tokenise")
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV

        self._cipher = AESSIV(derived(key, "tokenise", 64))
        self._prefix, self._context = prefix, [context.encode()]

    def type_after(self, kind: str) -> str:
        """Masks everything that has a text."""
        return scalar_text(kind, "tokenise")

    def apply(self, leaves: Leaves, ids: pa.Array | None = None) -> Masked:
        """Encrypt each different value once."""
        del ids
        return Masked(by_distinct(texts(leaves.values), self._tokens))

    def _tokens(self, values: list[str | bytes]) -> list[str | None]:
        encrypt, context, prefix = self._cipher.encrypt, self._context, self._prefix
        padded = (raw(v) + _END for v in values)
        sealed = (encrypt(p + bytes(-len(p) % _BLOCK), context) for p in padded)
        return [prefix + urlsafe_b64encode(s).rstrip(b"=").decode() for s in sealed]

    def reveal(self, tokens: pa.Array) -> pa.Array:
        """Return the texts that tokens stand for; null for what this key and context have not made."""
        return by_distinct(tokens, lambda values: [self._value(raw(v).decode()) for v in values])

    def _value(self, token: str) -> str | None:
        from cryptography.exceptions import InvalidTag

        text = token.removeprefix(self._prefix)
        if text == token and self._prefix:
            return None
        try:
            sealed = urlsafe_b64decode(text + "=" * (-len(text) % 4))
            return self._cipher.decrypt(sealed, self._context).rstrip(b"\0").removesuffix(_END).decode()
        except (ValueError, InvalidTag):
            return None


__all__ = ["PREFIX", "Tokenise"]
