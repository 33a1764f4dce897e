"""Encryption that keeps the form: as the samples of NIST say, reversible, one to one, and nothing passes unmasked."""

from __future__ import annotations

import string

import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflare.errors import WorkflowError
from dataflare.security.ff1 import DOMAIN_MIN, FF1
from dataflare.security.format_preserving import ALPHABETS, FormatPreserving
from dataflare.security.nested import Leaves

KEY = "a key of some length"
LETTERS = string.digits + string.ascii_lowercase
KEYS = "2B7E151628AED2A6ABF7158809CF4F3CEF4359D8D580AA4F7F036D6F04FC6A94"
SAMPLES = [
    (32, 10, "", "0123456789", "2433477484"),
    (32, 10, "39383736353433323130", "0123456789", "6124200773"),
    (32, 36, "3737373770717273373737", "0123456789abcdefghi", "a9tv40mll9kdu509eum"),
    (48, 10, "", "0123456789", "2830668132"),
    (48, 10, "39383736353433323130", "0123456789", "2496655549"),
    (48, 36, "3737373770717273373737", "0123456789abcdefghi", "xbj3kv35jrawxv32ysr"),
    (64, 10, "", "0123456789", "6657667009"),
    (64, 10, "39383736353433323130", "0123456789", "1001623463"),
    (64, 36, "3737373770717273373737", "0123456789abcdefghi", "xs8a0azh2avyalyzuwd"),
]
"""The samples of NIST for FF1: digits of the key, radix, tweak, what goes in, what comes out."""


@pytest.mark.parametrize(("size", "radix", "tweak", "plain", "sealed"), SAMPLES)
def test_the_samples_of_nist_hold_for_many_values_at_once(
    size: int, radix: int, tweak: str, plain: str, sealed: str
) -> None:
    cipher = FF1(bytes.fromhex(KEYS[:size]), radix, bytes.fromhex(tweak))
    numerals = bytes(map(LETTERS.index, plain))
    made = cipher.encrypt(numerals * 5, len(plain))
    assert "".join(LETTERS[n] for n in made) == sealed * 5
    assert cipher.decrypt(made, len(plain)) == numerals * 5


def plainly(key: bytes, radix: int, tweak: bytes, numerals: list[int]) -> list[int]:
    """Encrypt one value as the standard writes it down, with integers of any size."""
    n = len(numerals)
    u, v = n // 2, n - n // 2
    b = -(-(radix**v - 1).bit_length() // 8)
    d = 4 * -(-b // 4) + 4
    aes = Cipher(algorithms.AES(key), modes.ECB())  # the standard's PRF is made of single blocks
    head = (
        bytes([1, 2, 1, *radix.to_bytes(3, "big"), 10, u % 256]) + n.to_bytes(4, "big") + len(tweak).to_bytes(4, "big")
    )

    def number(part: list[int]) -> int:
        found = 0
        for x in part:
            found = found * radix + x
        return found

    left, right = numerals[:u], numerals[u:]
    for i in range(10):
        q = tweak + bytes(-(len(tweak) + b + 1) % 16) + bytes([i]) + number(right).to_bytes(b, "big")
        state = bytes(16)
        for at in range(0, len(head + q), 16):
            block = bytes(x ^ y for x, y in zip(state, (head + q)[at : at + 16], strict=True))
            state = aes.encryptor().update(block)
        m = u if i % 2 == 0 else v
        c = (number(left) + int.from_bytes(state[:d], "big")) % radix**m
        made = []
        for _ in range(m):
            c, digit = divmod(c, radix)
            made.insert(0, digit)
        left, right = right, made
    return left + right


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_whole_columns_are_encrypted_as_one_value_is_by_the_letter_of_the_standard(data: st.DataObject) -> None:
    radix = data.draw(st.one_of(st.sampled_from([2, 10, 16, 26, 36, 62]), st.integers(2, 256)))
    key, tweak = data.draw(st.binary(min_size=16, max_size=16)), data.draw(st.binary(max_size=40))
    cipher = FF1(key, radix, tweak)
    length = data.draw(st.integers(cipher.length_min, cipher.length_max))
    value = st.lists(st.integers(0, radix - 1), min_size=length, max_size=length)
    values = data.draw(st.lists(value, min_size=1, max_size=4))
    made = cipher.encrypt(bytes(n for v in values for n in v), length)
    assert [list(made[at : at + length]) for at in range(0, len(made), length)] == [
        plainly(key, radix, tweak, v) for v in values
    ]
    assert cipher.decrypt(made, length) == bytes(n for v in values for n in v)


@pytest.mark.parametrize("radix", [2, 10, 36, 256])
def test_a_domain_is_never_smaller_than_the_standard_asks(radix: int) -> None:
    cipher = FF1(bytes(16), radix)
    assert radix**cipher.length_min >= DOMAIN_MIN > radix ** (cipher.length_min - 1) or cipher.length_min == 2
    for length in (cipher.length_min - 1, cipher.length_max + 1):
        with pytest.raises(ValueError, match="numerals"):
            cipher.encrypt(bytes(length), length)


def masked(mask: FormatPreserving, *values: str | None) -> list[str | None]:
    return mask.apply(Leaves(pa.array(values, pa.string()))).values.to_pylist()


def test_separators_stay_and_everything_else_changes() -> None:
    (card, phone, null) = masked(FormatPreserving(KEY), "4111-1111-1111-1111", "+49 (30) 123456", None)
    assert card != "4111-1111-1111-1111"
    assert [i for i, c in enumerate(card or "") if c == "-"] == [4, 9, 14]
    assert [c for c in phone or "" if not c.isdigit()] == ["+", " ", "(", ")", " "]
    assert null is None


@pytest.mark.parametrize("value", ["12345", "", "1" * 37, "12345a", "é123456", "123456\n", "123456\0", "١٢٣٤٥٦"])
def test_a_value_that_cannot_be_masked_is_null_and_told(value: str) -> None:
    done = FormatPreserving(KEY).apply(Leaves(pa.array(["123456", value, None])))
    assert done.failed is not None
    assert done.failed.to_pylist() == [False, True, False]
    assert done.values.to_pylist()[1:] == [None, None]
    assert value not in done.reason or not value


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(sorted(ALPHABETS)),
    st.lists(st.one_of(st.none(), st.text("0123456789abcdefABCxyz -.", max_size=30)), max_size=30),
    st.sampled_from(["", "cards"]),
)
def test_texts_come_back_keep_their_form_and_stay_apart(alphabet: str, values: list[str | None], context: str) -> None:
    mask = FormatPreserving(KEY, alphabet, context=context)
    given_values = pa.array(values, pa.string())
    done = mask.apply(Leaves(given_values))
    made = done.values.to_pylist()
    assert done.failed is not None
    assert [m is None for m in made] == [v is None or f for v, f in zip(values, done.failed.to_pylist(), strict=True)]
    pairs = {(v, m) for v, m in zip(values, made, strict=True) if m is not None}
    assert len({v for v, _ in pairs}) == len({m for _, m in pairs}) == len(pairs)
    for value, text in pairs:
        assert [c if c in " -." else "x" for c in value or ""] == [c if c in " -." else "x" for c in text]
        assert set(text) <= set(ALPHABETS[alphabet] + " -.")
        assert masked(mask, value) == [text], "it depends on the other rows"
    back = mask.reveal(done.values).to_pylist()
    assert back == [None if m is None else v for v, m in zip(values, made, strict=True)]


def test_sliced_arrays_are_masked_like_whole_ones() -> None:
    mask = FormatPreserving(KEY)
    whole = pa.array([None, "123456", "654321-7", "x", "123456"])
    assert mask.apply(Leaves(whole.slice(1, 3))).values.to_pylist() == masked(mask, *whole.to_pylist())[1:4]


def test_another_key_or_context_gives_other_texts() -> None:
    kinds = [FormatPreserving(KEY), FormatPreserving(KEY, context="x"), FormatPreserving(KEY + "!")]
    assert len({masked(m, "123456789")[0] for m in kinds}) == 3


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"alphabet": "a"}, "two"),
        ({"alphabet": "aab"}, "once"),
        ({"alphabet": "äöü"}, "ASCII"),
        ({"keep": "\n"}, "ASCII"),
    ],
)
def test_an_alphabet_that_is_none_is_refused(settings: dict[str, str], what: str) -> None:
    with pytest.raises(WorkflowError, match=what):
        FormatPreserving(KEY, **settings)


def test_numbers_are_refused_with_a_cure() -> None:
    with pytest.raises(WorkflowError, match="not int64") as raised:
        FormatPreserving(KEY).type_after("int64")
    assert "cast" in raised.value.hint
