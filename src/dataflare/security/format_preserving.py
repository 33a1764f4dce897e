"""Encrypts texts into texts of the same form, by FF1: a card number into a card number, with its dashes in place."""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING

from dataflare.errors import WorkflowError
from dataflare.security.ff1 import FF1
from dataflare.security.masking import Masked, check_ciphers, check_key, derived

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from dataflare.security.nested import Leaves

ALPHABETS = {
    "digits": string.digits,
    "hexadecimal": string.hexdigits[:16],
    "lower": string.ascii_lowercase,
    "upper": string.ascii_uppercase,
    "letters": string.ascii_letters,
    "alphanumeric": string.digits + string.ascii_letters,
}
"""Alphabets by name."""

KEPT = " -./+()"
"""Characters that stay where they are, unless a rule says otherwise."""


class FormatPreserving:
    """Puts other characters of an alphabet in the place of those of a text; whoever has the key can undo it.

    What is to be kept stays where it is. A text with any other character is not masked, nor is one that is too short
    to be safe or too long.
    """

    def __init__(self, key: str, alphabet: str = "digits", keep: str = KEPT, context: str = "") -> None:
        """`alphabet` is a name or the characters; `context` is the tweak: another one gives other results."""
        check_key(key)
        check_ciphers("format_preserving")
        letters = ALPHABETS.get(alphabet, alphabet)
        _check_alphabet(letters, keep)
        kept = "".join(c for c in keep if c not in letters)
        self._cipher = FF1(derived(key, "format_preserving", 32), len(letters), context.encode())
        self._letters, self._kept = letters.encode(), kept.encode()
        self._numerals = bytes(max(self._letters.find(c), 0) for c in range(256))
        self._members = bytes(c in self._letters for c in range(256))
        self._pattern = f"^[{re.escape(letters + kept)}]*$"
        self._apart = f"[{re.escape(kept)}]" if kept else ""

    def type_after(self, kind: str) -> str:
        """Masks texts."""
        if kind == "string":
            return kind
        hint = "cast it to text before; a number would lose its leading zeros"
        raise WorkflowError(f"format_preserving masks texts, not {kind}", hint=hint)

    def apply(self, leaves: Leaves, ids: pa.Array | None = None) -> Masked:
        """Encrypt each different text once."""
        del ids
        return self._changed(leaves.values, self._cipher.encrypt)

    def reveal(self, values: pa.Array) -> pa.Array:
        """Return the texts that were masked with these settings; null for one that cannot be masked."""
        return self._changed(values, self._cipher.decrypt).values

    def _changed(self, values: pa.Array, change: Callable[[bytes, int], bytes]) -> Masked:
        import pyarrow as pa
        import pyarrow.compute as pc

        encoded, cipher = values.dictionary_encode(), self._cipher
        texts = encoded.dictionary
        inner = pc.replace_substring_regex(texts, self._apart, "") if self._apart else texts
        lengths = pc.binary_length(inner)
        fits = pc.and_(pc.greater_equal(lengths, cipher.length_min), pc.less_equal(lengths, cipher.length_max))
        fits = pc.and_(fits, pc.match_substring_regex(texts, self._pattern))
        made = self._encrypted(texts.filter(fits), lengths.filter(fits), change)
        made = pc.replace_with_mask(pa.nulls(len(texts), pa.string()), fits, made)
        failed = pc.fill_null(pc.invert(fits).take(encoded.indices), fill_value=False)
        size = f"from {cipher.length_min} to {cipher.length_max}"
        reason = f"it has not {size} characters of the alphabet, or others than those of `keep` besides"
        return Masked(made.take(encoded.indices), failed, reason)

    def _encrypted(self, texts: pa.Array, lengths: pa.Array, change: Callable[[bytes, int], bytes]) -> pa.Array:
        """Change texts that fit: those of one length together, whose characters lie in one row."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if not len(texts):
            return texts
        order = pc.sort_indices(lengths).cast(pa.int64())
        whole = pa.concat_arrays([texts.take(order)])  # offsets begin at 0
        _, offsets, data = whole.buffers()
        characters = data.to_pybytes()[: pc.sum(pc.binary_length(whole)).as_py()]
        numerals = characters.translate(self._numerals, self._kept)
        made, at = b"", 0
        groups = pc.value_counts(lengths.take(order))
        for group in groups.to_pylist():  # as many as there are lengths
            size = group["values"] * group["counts"]
            made += change(numerals[at : at + size], group["values"])
            at += size
        letters = pa.Array.from_buffers(pa.uint8(), len(made), [None, pa.py_buffer(made.translate(self._back()))])
        flags = characters.translate(self._members)
        is_letter = pa.Array.from_buffers(pa.uint8(), len(flags), [None, pa.py_buffer(flags)]).cast(pa.bool_())
        before = pa.Array.from_buffers(pa.uint8(), len(flags), [None, pa.py_buffer(characters)])
        after = pc.replace_with_mask(before, is_letter, letters)
        changed = pa.StringArray.from_buffers(len(whole), offsets, after.buffers()[1])
        return changed.take(pc.inverse_permutation(order))

    def _back(self) -> bytes:
        return self._letters + bytes(256 - len(self._letters))


def _check_alphabet(letters: str, keep: str) -> None:
    """Refuse what is not at least two different printable characters of ASCII."""
    hint = f"name one of {', '.join(ALPHABETS)}, or write the characters"
    if not (letters + keep).isascii() or not (letters + keep).isprintable():
        raise WorkflowError("an alphabet, and what is kept, are printable characters of ASCII", hint=hint)
    if len(letters) < 2 or len(set(letters)) < len(letters):  # noqa: PLR2004 - a radix of 2 is the least
        raise WorkflowError("an alphabet has two characters or more, each once", hint=hint)


__all__ = ["ALPHABETS", "KEPT", "FormatPreserving"]
