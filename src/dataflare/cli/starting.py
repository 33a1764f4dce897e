"""The command `init`: writes a workflow that runs, with its tests and its data, into a folder. Overwrites nothing."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from dataflare.cli.console import GREEN, painted, table, write, write_json
from dataflare.errors import UnavailableError, WorkflowError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.resources.abc import Traversable
    from pathlib import Path

WORKFLOW = "workflow.yaml"
SCHEMA = "workflow.schema.json"
IGNORED = ".gitignore"
_LOCAL = ".dataflare/\nout/\n"
"""What a run leaves behind, which is not for a repository."""

FIRST = "csv-to-parquet"
_ID_CHARACTERS = 32
"""Names are part of the paths of sockets, which are short."""

_ID = re.compile(r"^id: .*$", re.MULTILINE)
_ABOUT = re.compile(r"^description: (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Template:
    """Files by their place in the folder."""

    name: str
    about: str
    files: Mapping[str, str]


def templates() -> dict[str, Template]:
    """Return the built-in templates by name, the first one first."""
    found = {}
    for folder in files("dataflare.cli").joinpath("templates").iterdir():
        if folder.is_dir():
            texts = dict(_texts(folder, ""))
            about = _ABOUT.search(texts[WORKFLOW])
            found[folder.name] = Template(folder.name, about[1] if about else "", texts)
    return dict(sorted(found.items(), key=lambda item: (item[0] != FIRST, item[0])))


def init_command(folder: Path, name: str, *, listed: bool, as_json: bool) -> int:
    """Write a template into a folder, or list the templates. Asks only on a terminal, and only where none is named."""
    known = templates()
    if listed:
        return _list(known, as_json=as_json)
    if not name:
        name = _asked(known) if sys.stdin.isatty() and sys.stdout.isatty() and not as_json else FIRST
    if name not in known:
        from dataflare.workflow.findings import near

        raise WorkflowError(f"there is no template {name!r}", hint=near(name, known))
    written = _write(folder, known[name])
    if as_json:
        write_json({"folder": str(folder), "template": name, "files": written})
        return 0
    write(f"{painted('wrote', GREEN, sys.stdout)} {name} into {folder}: {', '.join(written)}")
    shown = folder / WORKFLOW
    write(f"\nnext:\n  dataflare test {shown}\n  dataflare run {shown}")
    return 0


def _write(folder: Path, template: Template) -> list[str]:
    """Write all files, or none where one of them is there already."""
    texts = {**template.files, SCHEMA: _schema(), IGNORED: _LOCAL}
    texts[WORKFLOW] = _ID.sub(f"id: {_identity(folder, template)}", texts[WORKFLOW], count=1)
    there = sorted(name for name in texts if (folder / name).exists() and name != IGNORED)
    if there:
        raise WorkflowError(
            f"{folder / there[0]} is there already: nothing is written",
            hint=f"name another folder: dataflare init FOLDER; in the way: {', '.join(there)}",
        )
    if (folder / IGNORED).exists():  # whoever has one knows what to leave out
        del texts[IGNORED]
    try:
        for name, text in texts.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:  # where somebody else writes it now, theirs stays
                file.write(text)
    except OSError as error:
        raise UnavailableError(
            f"{error.filename} cannot be written: {error.strerror}", hint="check the path"
        ) from error
    return list(texts)


def _identity(folder: Path, template: Template) -> str:
    """Return the name of the folder as the name of the workflow; that of the template where it makes none."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", folder.resolve().name).strip("-")[:_ID_CHARACTERS]
    return name if re.match(r"[A-Za-z_]", name) else template.name


def _schema() -> str:
    import json

    from dataflare.component import Registry
    from dataflare.workflow.json_schema import workflow_schema

    return json.dumps(workflow_schema(Registry.installed()), indent=1, ensure_ascii=False) + "\n"


def _texts(folder: Traversable, prefix: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for entry in sorted(folder.iterdir(), key=lambda e: (e.name != WORKFLOW, e.name)):
        if entry.is_dir():
            found += _texts(entry, f"{prefix}{entry.name}/")
        else:
            found.append((f"{prefix}{entry.name}", entry.read_text(encoding="utf-8")))
    return found


def _list(known: Mapping[str, Template], *, as_json: bool) -> int:
    if as_json:
        for template in known.values():
            write_json({"template": template.name, "description": template.about, "files": list(template.files)})
    else:
        write(table(("template", "what it does"), [(t.name, t.about) for t in known.values()]))
    return 0


def _asked(known: Mapping[str, Template]) -> str:
    import typer

    write(table(("", "template", "what it does"), [(str(n), t.name, t.about) for n, t in enumerate(known.values(), 1)]))
    answer = str(typer.prompt("which one", default=FIRST)).strip()
    names = list(known)
    return names[int(answer) - 1] if answer.isdecimal() and 1 <= int(answer) <= len(names) else answer


__all__ = ["Template", "init_command", "templates"]
