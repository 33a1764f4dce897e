"""The pages tell the truth: their blocks run, their links lead somewhere, and their lists are those of the code."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser
from tests.chaos.forked import Forked
from tests.chaos.processes import CLI
from tests.docs.page import FENCE, blocks_of

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
SOURCE = ROOT / "src" / "dataflare"


def name(path: Path) -> str:
    """Return the path inside the project."""
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path, language: str) -> list[str]:
    """Return the fenced blocks of one language, without those that are files of a walk (test_walks.py)."""
    return [block.text for block in blocks_of(path) if block.language == language and not block.title]


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the command line."""
    return Forked(CLI, *map(str, command)).completed(timeout=60)


def entry_points() -> dict[str, list[str]]:
    """Return the names of the built-in components by kind."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    return {group.removeprefix("dataflare."): sorted(entries) for group, entries in groups.items()}


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=name)
def test_the_python_of_a_page_runs(page: Path) -> None:
    document = Sybil([PythonCodeBlockParser()], path=str(ROOT), patterns=["**/*.md"]).parse(page)
    ran = [example.evaluate() for example in document.examples()]
    assert len(ran) == len(blocks(page, "python"))


@pytest.mark.parametrize("page", [p for p in PAGES if any(b.startswith("id:") for b in blocks(p, "yaml"))], ids=name)
def test_the_workflows_of_a_page_are_valid(page: Path, tmp_path: Path) -> None:
    for number, text in enumerate(b for b in blocks(page, "yaml") if b.startswith("id:")):
        file = tmp_path / f"workflow-{number}.yaml"
        file.write_text(text)
        done = run("validate", "--level", "static", file)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    prose = FENCE.sub("", page.read_text())
    targets = [t.partition("#")[0] for t in re.findall(r"\]\(([^)\s]+)\)", prose) if "://" not in t]
    assert [t for t in targets if t and not (page.parent / t).exists()] == []


def test_both_readmes_are_in_step() -> None:
    english, chinese = ROOT / "README.md", ROOT / "README.zh-CN.md"
    for language in ("yaml", "console", "python"):
        assert blocks(chinese, language) == blocks(english, language)
    for pattern in (r"^## ", r"^\| ", r"^- ", r"`[\w./-]+`", r"\]\((?!README)[^)]+\)"):
        found = [sorted(re.findall(pattern, FENCE.sub("", p.read_text()), re.MULTILINE)) for p in (english, chinese)]
        assert found[0] == found[1], pattern


def test_the_readme_names_every_built_in_component_and_no_other() -> None:
    lists = {"source": "Sources", "processor": "Transformations", "destination": "Destinations", "state_store": "State"}
    text = (ROOT / "README.md").read_text()
    for kind, head in lists.items():
        lines = re.search(rf"^- \*\*{head}\*\*:\n((?:  .*\n)+)", text, re.MULTILINE)
        assert lines, head
        named = re.findall(r"^  `(\w+)`", lines[1], re.MULTILINE)
        assert named == entry_points()[kind], "one a line, by name, so that parallel changes merge"
        assert len(named) == lines[1].count("\n"), "one a line"


def test_the_architecture_has_a_line_for_every_room() -> None:
    listed = "\n".join(re.findall(r"^\| (`.*?) \|", (ROOT / "ARCHITECTURE.md").read_text(), re.MULTILINE))
    rooms = {p.stem for p in SOURCE.iterdir() if (p / "__init__.py").exists() or p.suffix == ".py"} - {"__init__"}
    assert sorted(r for r in rooms if f"`{r}`" not in listed) == []


def test_every_decision_is_in_the_list() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", (folder / "README.md").read_text())
    assert listed == sorted(p.name for p in folder.glob("0*.md"))


def test_every_command_that_a_page_names_is_there() -> None:
    text = "\n".join(block for page in PAGES for block in blocks(page, "console"))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\$ make (\w+)", text)) <= targets
    for command in sorted(set(re.findall(r"\$ dataflare ([a-z][\w-]*)", text))):
        assert run(command, "--help").returncode == 0, command


def test_the_reference_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "reference.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
