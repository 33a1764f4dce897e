"""A secret shows itself to nobody who does not ask for it by name."""

from __future__ import annotations

import json
import logging
import pickle

import pytest

from dataflare.security.secrets import Secret, scrub

SECRET = Secret("swordfish")


@pytest.mark.parametrize("shown", [str(SECRET), repr(SECRET), f"{SECRET:>20}", f"{[SECRET]}", f"{SECRET!r}"])
def test_a_secret_is_not_shown(shown: str) -> None:
    assert "***" in shown
    assert "fish" not in shown


def test_a_secret_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("test").warning("password %s %r", SECRET, SECRET)
    assert "fish" not in caplog.text


def test_a_secret_does_not_travel() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(SECRET)
    with pytest.raises(TypeError):
        json.dumps(SECRET)


def test_a_secret_tells_itself_when_asked_and_equals_its_like() -> None:
    assert SECRET.reveal() == "swordfish"
    assert len({SECRET, Secret("swordfish"), Secret("other")}) == 2
    assert SECRET != "swordfish"


@pytest.mark.parametrize(
    ("text", "secret", "scrubbed"),
    [
        ("login with swordfish failed", "swordfish", "login with *** failed"),
        ("postgresql://app:a%2Fb%20c@host/db", "a/b c", "postgresql://app:***@host/db"),
        ('{"password": "say \\"x\\" now"}', 'say "x" now', '{"password": "***"}'),
        ("app is at app.example, not in happy", "app", "*** is at ***.example, not in happy"),
        ("nothing to hide", "", "nothing to hide"),
        ("http://user:unknown@host", "other secret", "http://user:***@host"),
    ],
)
def test_secrets_are_scrubbed_from_text(text: str, secret: str, scrubbed: str) -> None:
    assert scrub(text, [Secret(secret)]) == scrubbed


def test_a_secret_that_holds_another_is_scrubbed_whole() -> None:
    assert scrub("swordfish2", [SECRET, Secret("swordfish2")]) == "***"
