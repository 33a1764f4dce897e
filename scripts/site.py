"""Builds the documents as a web site that needs no network: `site.py [FOLDER]`, by default dist/site.

Pages stay where readers of the sources find them. A copy of them is staged under .cache/site, with links that leave
docs/ turned to where their page stands on the site (or into plain text where the site has none), and zensical makes the
site from it. Exit status 1: a link is broken, or zensical says so.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
STAGE = ROOT / ".cache" / "site"
BESIDE = {
    "README.md": "project/readme.md",
    "README.zh-CN.md": "project/readme-zh.md",
    "ARCHITECTURE.md": "project/architecture.md",
    "STYLE.md": "project/style.md",
    "CONTRIBUTING.md": "project/contributing.md",
}
FIRST = ("index.md", "tutorial.md")
BENEATH = ("roadmap.md", "benchmarks.md", "soak.md")
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)]*)?\)")
FENCED = re.compile(r"(^```.*?^```\s*?$)", re.MULTILINE | re.DOTALL)


def staged() -> dict[Path, str]:
    """Return each page of the project with its place on the site."""
    pages = {path: path.relative_to(DOCS).as_posix() for path in sorted(DOCS.rglob("*.md"))}
    return pages | {ROOT / name: place for name, place in BESIDE.items()}


def placed(place: str) -> str:
    """Return the place on the site of a page that is the first of its folder."""
    return re.sub(r"(^|/)README\.md$", r"\1index.md", place)


def turned(page: Path, pages: dict[Path, str], broken: list[str]) -> str:
    """Return the text of a page whose links lead to places on the site; note those that lead nowhere."""
    here = Path(placed(pages[page])).parent

    def link(found: re.Match[str]) -> str:
        picture, words, target, anchor = found.groups()
        if re.match(r"[a-z]+:", target):
            return found.group(0)
        path = (page.parent / target).resolve()
        if path.is_dir() and (path / "README.md") in pages:
            path /= "README.md"
        if path in pages:
            return f"{picture}[{words}]({relative(here, placed(pages[path]))}{anchor or ''})"
        if path.is_file() and path.is_relative_to(DOCS):
            return f"{picture}[{words}]({relative(here, path.relative_to(DOCS).as_posix())})"
        if not path.exists():
            broken.append(f"{page.relative_to(ROOT)}: {target}")
        return words

    parts = FENCED.split(page.read_text())
    return "".join(part if n % 2 else LINK.sub(link, part) for n, part in enumerate(parts))


def relative(here: Path, there: str) -> str:
    """Return the way from a folder of the site to a place on it."""
    return Path(*[".."] * len(here.parts), there).as_posix()


def title(page: Path) -> str:
    """Return the first heading of a page."""
    found = re.search(r"^# (.+)$", page.read_text(), re.MULTILINE)
    return re.sub(r"[`*]", "", found.group(1)) if found else page.stem


def navigation(pages: dict[Path, str]) -> list[Any]:
    """Return the pages as the site lists them: to learn, to do, to look up, to understand."""

    def entries(wanted: list[Path]) -> list[dict[str, str]]:
        return [{title(page): placed(pages[page])} for page in wanted]

    top = [page for page in pages if page.parent == DOCS]
    guides = [page for page in top if page.name not in FIRST + BENEATH]
    return [
        {"Start": entries([DOCS / name for name in FIRST])},
        {"Guides": entries(guides)},
        {"Reference": entries([page for page in pages if page.parent == DOCS / "reference"])},
        {"Decisions": entries([page for page in pages if page.parent == DOCS / "decisions"])},
        {"Project": entries([ROOT / name for name in BESIDE] + [DOCS / name for name in BENEATH])},
    ]


def settings(nav: list[Any]) -> str:
    """Return the settings of zensical; TOML reads JSON's strings and lists, not its objects."""

    def value(given: Any) -> str:
        if isinstance(given, dict):
            return "{" + ", ".join(f"{json.dumps(k, ensure_ascii=False)} = {value(v)}" for k, v in given.items()) + "}"
        if isinstance(given, list):
            return "[" + ", ".join(map(value, given)) + "]"
        return json.dumps(given, ensure_ascii=False)

    project = {
        "site_name": "DataFlare",
        "site_description": "Moves and changes data exactly once, as one workflow file says.",
        "docs_dir": "pages",
        "site_dir": "site",
        "use_directory_urls": False,
        "nav": nav,
    }
    theme = {"font": False, "features": ["navigation.indexes", "navigation.top", "content.code.copy", "toc.follow"]}
    sections = {"project": project, "project.theme": theme}
    return "\n".join(
        f"[{name}]\n" + "".join(f"{k} = {value(v)}\n" for k, v in section.items()) for name, section in sections.items()
    )


def main(arguments: list[str]) -> int:
    """Build the site; return the exit status."""
    folder = Path(arguments[0] if arguments else ROOT / "dist" / "site").resolve()
    pages, broken = staged(), list[str]()
    shutil.rmtree(STAGE, ignore_errors=True)
    for page, place in pages.items():
        target = STAGE / "pages" / placed(place)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(turned(page, pages, broken))
    for picture in DOCS.rglob("*.*"):
        if picture.suffix in {".svg", ".png", ".json", ".cast"}:
            target = STAGE / "pages" / picture.relative_to(DOCS)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(picture, target)
    if broken:
        print("\n".join(["links that lead nowhere:", *broken]), file=sys.stderr)
        return 1
    (STAGE / "zensical.toml").write_text(settings(navigation(pages)))
    zensical = Path(sys.executable).with_name("zensical")
    done = subprocess.run([zensical, "build", "--strict"], cwd=STAGE, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(STAGE / "site", folder)
    shown = folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder.name
    print(f"{len(pages)} pages: {shown}/index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
