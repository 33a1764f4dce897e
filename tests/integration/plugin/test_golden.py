"""Plugins in C and Rust pass the golden suite; the other languages do in the long tests."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import pytest
from tests.integration.plugin.golden.languages import RUST, C, Language
from tests.integration.plugin.golden.suite import TESTS, Golden

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Language], Golden]:
    """Return what compiles the plugin in a language, once."""

    @lru_cache
    def made(language: Language) -> Golden:
        return Golden(language.built(tmp_path_factory.mktemp(language.name)), language.limits)

    return made


@pytest.mark.parametrize("test", TESTS, ids=lambda test: test.__name__)
@pytest.mark.parametrize("language", [C, RUST], ids=lambda language: language.name)
def test_a_plugin_does_what_the_golden_suite_says(
    language: Language, test: Callable[[Golden], None], golden: Callable[[Language], Golden]
) -> None:
    test(golden(language))
