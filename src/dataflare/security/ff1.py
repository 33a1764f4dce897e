"""FF1 of NIST SP 800-38G: encryption of numerals into as many numerals, of many values of one length at once.

The ten rounds work on whole columns: Arrow does the arithmetic, AES takes the blocks of all values in one call.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

DOMAIN_MIN = 1_000_000
"""The least number of values that there must be (revision 1 of the standard): fewer are soon tried through."""

_ROUNDS = 10
_HALF_MAX = 1 << 63
_WORD = 8


class FF1:
    """A key, a radix and a tweak. Values are numerals: bytes from 0 to radix - 1, one behind the other."""

    def __init__(self, key: bytes, radix: int, tweak: bytes = b"") -> None:
        """Take an AES key of 16, 24 or 32 bytes, a radix from 2 to 256, and a tweak, which is no secret."""
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        self._radix, self._tweak = radix, tweak
        self._cipher = Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305 - FF1 makes its own mode of single blocks
        lengths = range(2, 129)
        self.length_min = next(n for n in lengths if radix**n >= DOMAIN_MIN)
        self.length_max = max(n for n in lengths if radix ** (n - n // 2) < _HALF_MAX)

    def encrypt(self, numerals: bytes, length: int) -> bytes:
        """Encrypt values that are each `length` numerals long, from `length_min` to `length_max`."""
        left, right = self._halves(numerals, length)
        for modulus, base in self._rounds(length):
            left, right = right, self._sum(left, self._mixed(right, base, modulus, length), modulus)
        return self._joined(left, right, length)

    def decrypt(self, numerals: bytes, length: int) -> bytes:
        """Undo `encrypt`."""
        import pyarrow.compute as pc

        left, right = self._halves(numerals, length)
        for modulus, base in reversed(self._rounds(length)):
            mixed = self._mixed(left, base, modulus, length)
            left, right = self._sum(right, pc.subtract(_number(modulus), mixed), modulus), left
        return self._joined(left, right, length)

    # ---- values and their halves ----------------------------------------------------------------------------------

    def _halves(self, numerals: bytes, length: int) -> tuple[pa.Array, pa.Array]:
        if not self.length_min <= length <= self.length_max:
            raise ValueError(f"{length} numerals are not from {self.length_min} to {self.length_max}")
        middle = length // 2
        return self._read(numerals, length, range(middle)), self._read(numerals, length, range(middle, length))

    def _read(self, numerals: bytes, length: int, places: range) -> pa.Array:
        import pyarrow as pa
        import pyarrow.compute as pc

        count = len(numerals) // length
        found = pa.repeat(_number(0), count)
        for place in places:
            column = pa.Array.from_buffers(pa.uint8(), count, [None, pa.py_buffer(numerals[place::length])])
            found = pc.add(pc.multiply(found, _number(self._radix)), column.cast(pa.uint64()))
        return found

    def _joined(self, left: pa.Array, right: pa.Array, length: int) -> bytes:
        import pyarrow as pa
        import pyarrow.compute as pc

        made = bytearray(len(left) * length)
        middle = length // 2
        for numbers, places in ((left, range(middle)), (right, range(middle, length))):
            rest = numbers
            for place in reversed(places):
                made[place::length] = _raw(pc.remainder(rest, _number(self._radix)).cast(pa.uint8()))
                rest = pc.divide(rest, _number(self._radix))
        return bytes(made)

    # ---- rounds -----------------------------------------------------------------------------------------------------

    def _rounds(self, length: int) -> list[tuple[int, bytes]]:
        """Return the modulus of each round and, but for the half that goes into it, the last block of its CBC-MAC."""
        halves = length // 2, length - length // 2
        width = self._width(length)
        first = bytes([1, 2, 1, *self._radix.to_bytes(3, "big"), _ROUNDS, halves[0] % 256])
        first += length.to_bytes(4, "big") + len(self._tweak).to_bytes(4, "big")
        found = []
        for number in range(_ROUNDS):
            filled = self._tweak + bytes(-(len(self._tweak) + width + 1) % 16) + bytes([number]) + bytes(width)
            blocks = [filled[at : at + 16] for at in range(0, len(filled), 16)]
            state = self._aes(first)
            for block in blocks[:-1]:
                state = self._aes(_xor(state, block))
            found.append((self._radix ** halves[number % 2], _xor(state, blocks[-1])))
        return found

    def _width(self, length: int) -> int:
        """Return how many bytes hold any half."""
        largest: int = self._radix ** (length - length // 2) - 1
        return -(-largest.bit_length() // 8)

    def _aes(self, blocks: bytes | memoryview) -> bytes:
        return self._cipher.encryptor().update(blocks)

    def _mixed(self, half: pa.Array, base: bytes, modulus: int, length: int) -> pa.Array:
        """Return the round function of halves, modulo what they are added to."""
        import pyarrow as pa
        import pyarrow.compute as pc

        low = array("Q", _raw(pc.bit_wise_xor(half, _number(int.from_bytes(base[_WORD:], "big")))))
        low.byteswap()
        blocks = array("Q", base[:_WORD] + bytes(_WORD)) * len(half)
        blocks[1::2] = low
        made = array("Q", self._aes(memoryview(blocks).cast("B")))
        made.byteswap()
        upper, lower = (
            pa.Array.from_buffers(pa.uint64(), len(half), [None, pa.py_buffer(made[at::2])]) for at in (0, 1)
        )
        found = pc.remainder(upper, _number(modulus))
        if self._width(length) <= 4:  # noqa: PLR2004 - then 8 bytes of the block count, else 12
            return found
        left = 32
        while left:
            step = min(left, 64 - modulus.bit_length())
            left -= step
            bits = pc.bit_wise_and(pc.shift_right(lower, _number(32 + left)), _number((1 << step) - 1))
            found = pc.remainder(pc.add(pc.shift_left(found, _number(step)), bits), _number(modulus))
        return found

    @staticmethod
    def _sum(one: pa.Array, other: pa.Array, modulus: int) -> pa.Array:
        import pyarrow.compute as pc

        return pc.remainder(pc.add(one, other), _number(modulus))


def _number(value: int) -> Any:
    import pyarrow as pa

    return pa.scalar(value, pa.uint64())


def _raw(values: pa.Array) -> bytes:
    """Return the bytes of numbers without nulls."""
    width = values.type.bit_width // 8
    found: bytes = values.buffers()[1].slice(values.offset * width, len(values) * width).to_pybytes()
    return found


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


__all__ = ["DOMAIN_MIN", "FF1"]
