"""Tokens: the same for the same value, of no readable value, and undone by whoever has the key and nobody else."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflare.errors import WorkflowError
from dataflare.security.nested import Leaves
from dataflare.security.tokens import Tokenise

KEY = "a key of some length"
TOKENS = Tokenise(KEY)


def tokens(mask: Tokenise, *values: object, kind: pa.DataType | None = None) -> list[str | None]:
    return mask.apply(Leaves(pa.array(values, kind))).values.to_pylist()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.one_of(st.none(), st.text(max_size=40)), max_size=20))
def test_tokens_are_one_to_one_and_come_back(values: list[str | None]) -> None:
    made = tokens(TOKENS, *values, kind=pa.string())
    assert [m is None for m in made] == [v is None for v in values]
    assert len(set(made)) == len(set(values))
    assert TOKENS.reveal(pa.array(made, pa.string())).to_pylist() == values
    for value, token in zip(values, made, strict=True):
        assert tokens(TOKENS, value, kind=pa.string()) == [token]


def test_a_token_shows_the_length_of_its_value_only_in_steps() -> None:
    short, longer, long = tokens(TOKENS, "a", "a" * 15, "a" * 16)
    assert len(short or "") == len(longer or "") < len(long or "")


def test_another_key_context_or_prefix_gives_other_tokens_that_do_not_come_back() -> None:
    others = [Tokenise(KEY + "!"), Tokenise(KEY, context="cards"), Tokenise(KEY, prefix="t_")]
    for other in others:
        made = tokens(other, "ada@x.org")
        assert made != tokens(TOKENS, "ada@x.org")
        assert TOKENS.reveal(pa.array(made)).to_pylist() == [None]
        assert other.reveal(pa.array(made)).to_pylist() == ["ada@x.org"]


def test_a_token_that_was_tampered_with_tells_nothing() -> None:
    (token,) = tokens(TOKENS, "ada@x.org")
    assert token is not None
    changed = [token[:-1] + ("A" if token[-1] != "A" else "B"), token[:-4], "tok_", "tok_?", "", "ada@x.org"]
    assert TOKENS.reveal(pa.array(changed)).to_pylist() == [None] * len(changed)


def test_everything_that_has_a_text_gets_a_token() -> None:
    assert tokens(TOKENS, 7) == tokens(TOKENS, "7")
    assert TOKENS.type_after("decimal(12,2)") == "string"
    with pytest.raises(WorkflowError, match="no struct"):
        TOKENS.type_after("struct<a: int64>")


def test_a_weak_key_is_refused() -> None:
    with pytest.raises(WorkflowError, match="shorter"):
        Tokenise("short")
