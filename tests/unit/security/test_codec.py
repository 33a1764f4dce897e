"""Durable bytes come back as they were, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflare.errors import StateError
from dataflare.security.codec import Codec


@given(st.binary(max_size=2000))
def test_what_was_encoded_comes_back(payload: bytes) -> None:
    assert Codec().decode(Codec().encode(payload)) == payload


@given(st.binary(max_size=100), st.data())
def test_a_flipped_bit_is_found_wherever_it_is(payload: bytes, data: st.DataObject) -> None:
    encoded = bytearray(Codec().encode(payload))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(StateError):
        Codec().decode(bytes(encoded))


@given(st.binary(min_size=1, max_size=100), st.data())
def test_a_torn_value_is_found_wherever_it_is_torn(payload: bytes, data: st.DataObject) -> None:
    encoded = Codec().encode(payload)
    with pytest.raises(StateError):
        Codec().decode(encoded[: data.draw(st.integers(0, len(encoded) - 1))])


def test_what_follows_the_payload_is_damage_too() -> None:
    with pytest.raises(StateError, match="damaged"):
        Codec().decode(Codec().encode(b"x") + b"y")


def test_a_format_of_the_future_is_named() -> None:
    encoded = bytearray(Codec().encode(b"x"))
    encoded[3] = 9
    with pytest.raises(StateError, match="format 9"):
        Codec().decode(bytes(encoded))
