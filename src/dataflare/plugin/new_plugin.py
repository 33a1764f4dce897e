"""A plugin to start from: the files of its language, with its name in them. Overwrites nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dataflare.errors import UnavailableError, WorkflowError
from dataflare.plugin.languages import LANGUAGES, SHORT, sdk, templates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable
    from pathlib import Path

NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")
MARK, IGNORED = "@NAME@", ".gitignore"
_ENTRY = re.compile(r'^entry = "(.*)"$', re.MULTILINE)
_MANIFEST = "plugin.toml"


def language_of(text: str) -> str:
    """Return the name of a language as manifests have it; raise WorkflowError where there is none."""
    found = SHORT.get(text.lower(), text.lower())
    if found not in LANGUAGES:
        raise WorkflowError(f"there are no plugins in {text!r}", hint=f"there are: {', '.join(LANGUAGES)}")
    return found


def write_plugin(folder: Path, name: str, language: str) -> list[str]:
    """Write all files of a new plugin, or none where one is there already; return their paths in the folder.

    Raises WorkflowError for a name that cannot be one, UnavailableError where the folder cannot be written.
    """
    if not NAME.fullmatch(name):
        raise WorkflowError(
            f"{name!r} is no name of a plugin",
            hint="a small letter, then up to 63 small letters, digits and hyphens: add-totals",
        )
    language = language_of(language)
    texts = {path: text.replace(MARK, name) for path, text in _texts(templates().joinpath(language), "")}
    for path, copied in LANGUAGES[language].beside.items():
        texts[path] = sdk().joinpath(copied).read_text(encoding="utf-8")
    texts[IGNORED] = _ignored(texts[_MANIFEST], built=bool(LANGUAGES[language].toolchains))
    there = sorted(path for path in texts if (folder / path).exists() and path != IGNORED)
    if there:
        raise WorkflowError(
            f"{folder / there[0]} is there already: nothing is written",
            hint=f"name another folder: --into FOLDER; in the way: {', '.join(there)}",
        )
    if (folder / IGNORED).exists():  # whoever has one knows what to leave out
        del texts[IGNORED]
    try:
        for path, text in texts.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("x", encoding="utf-8") as opened:  # where somebody else writes it now, theirs stays
                opened.write(text)
    except OSError as error:
        raise UnavailableError(
            f"{error.filename} cannot be written: {error.strerror}", hint="name a folder that can be: --into FOLDER"
        ) from error
    return list(texts)


def _ignored(manifest: str, *, built: bool) -> str:
    """Return what is not for a repository: what is built, and what that needs."""
    entry = _ENTRY.search(manifest)
    return "".join([f"/{entry[1]}\n" if built and entry else "", "*.dfp\n", "node_modules/\n"])


def _texts(folder: Traversable, prefix: str) -> Iterator[tuple[str, str]]:
    """Yield the files below a folder, the manifest first."""
    for entry in sorted(folder.iterdir(), key=lambda e: (e.name != _MANIFEST, e.name)):
        if entry.name == "__pycache__":  # an installer compiles all that ends in .py
            continue
        if entry.is_dir():
            yield from _texts(entry, f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}", entry.read_text(encoding="utf-8")


__all__ = ["language_of", "write_plugin"]
