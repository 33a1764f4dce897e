"""Plugins in Zig, AssemblyScript and Go pass the golden suite, and their pages do what they say."""

from __future__ import annotations

import subprocess
import sys
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


def needed(language: Language, folder: Path) -> None:
    """Skip the test where nothing compiles a language."""
    try:
        toolchain_of(LANGUAGES[language.name], folder, tools())
    except UnavailableError as error:
        pytest.skip(f"{error.what}: {error.hint}")


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
def test_a_new_plugin_builds_and_passes_its_tests(language: Language, tmp_path: Path) -> None:
    needed(language, tmp_path)
    for verb, *more in (("new", "price", "--language", language.name, "--into", "."), ("build",), ("test",)):
        command = [sys.executable, "-m", "dataflare.cli", "plugin", verb, *more]
        done = subprocess.run(command, cwd=tmp_path, env=tools(), capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), verb
    assert done.stdout == "ok    first  4 in, 2 out, 1 failed\n1 passed\n"


@pytest.mark.parametrize("language", MORE, ids=lambda language: language.name)
def test_the_example_of_the_page_runs(language: Language, tmp_path: Path) -> None:
    needed(language, tmp_path)
    kind = {"zig": "zig", "assemblyscript": "typescript", "go": "go"}[language.name]
    assert example(f"plugins-in-{language.name}.md", kind, tmp_path, tools()) == ROWS
