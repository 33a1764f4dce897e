"""Plugins in Zig, AssemblyScript and Go pass the golden suite, and their pages do what they say."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dataflare.errors import UnavailableError
from dataflare.plugin.building import toolchain_of
from dataflare.plugin.languages import LANGUAGES
from tests.integration.plugin.golden.languages import ASSEMBLYSCRIPT, GO, ZIG, Language, tools
from tests.integration.plugin.golden.suite import TESTS, Golden
from tests.integration.plugin.pages import ROWS, example

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]
MORE = [ZIG, ASSEMBLYSCRIPT, GO]


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Language], Golden]:
    """Return what compiles the plugin in a language, once."""

    @lru_cache
    def made(language: Language) -> Golden:
        return Golden(language.built(tmp_path_factory.mktemp(language.name)), language.limits)

    return made


@pytest.mark.parametrize("test", TESTS, ids=lambda test: test.__name__)
@pytest.mark.parametrize("language", MORE, ids=lambda language: language.name)
def test_a_plugin_does_what_the_golden_suite_says(
    language: Language, test: Callable[[Golden], None], golden: Callable[[Language], Golden]
) -> None:
    test(golden(language))


@pytest.mark.parametrize("language", MORE, ids=lambda language: language.name)
def test_the_example_of_the_page_runs(language: Language, tmp_path: Path) -> None:
    try:
        toolchain_of(LANGUAGES[language.name], tmp_path, tools())
    except UnavailableError as error:
        pytest.skip(f"{error.what}: {error.hint}")
    kind = {"zig": "zig", "assemblyscript": "typescript", "go": "go"}[language.name]
    assert example(f"plugins-in-{language.name}.md", kind, tmp_path, tools()) == ROWS
