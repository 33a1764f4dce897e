"""Writes docs/reference, and the verbs in docs/command-line.md; `--check` only compares."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import functions_page
import typer
import workflow_page
import yaml

from dataflare.cli.assembly import app
from dataflare.cli.catalogue import settings_rows
from dataflare.component import Registry, Spec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FOLDER = Path(__file__).parents[1] / "docs"
COMMANDS = "command-line.md"
PIPE = "\\|"
NOTE = "<!-- Written by `make docs` from the component's own description; edit that. -->"
VERBS = re.compile(r"(<!-- Verbs: .*? -->\n).*(<!-- End of the verbs. -->)", re.DOTALL)
"""The part of the page about the command line that is written here."""


def pages() -> dict[str, str]:
    """Return the text of every page by its path in docs."""
    specs = [c.spec for c in Registry.installed() if c.__module__.startswith("dataflare.")]
    specs.sort(key=lambda spec: (spec.kind, spec.name))
    found = {"README.md": index(specs)} | {file_name(spec): page(spec) for spec in specs}
    found |= {"workflow.md": workflow_page.page(), "workflow.schema.json": workflow_page.schema_file()}
    found |= {"functions.md": functions_page.page()}
    return {f"reference/{name}": text for name, text in found.items()} | {COMMANDS: command_line()}


def command_line() -> str:
    """Return the page about the command line with its verbs as they are now."""
    text = (FOLDER / COMMANDS).read_text(encoding="utf-8")
    verbs = "\n\n".join(commands(typer.main.get_command(app), ""))
    return VERBS.sub(lambda found: f"{found[1]}\n{verbs}\n\n{found[2]}", text)


def commands(group: Any, prefix: str) -> Iterable[str]:
    """Yield a section for each command of a group, those of groups inside it too."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            if command.invoke_without_command:
                yield verb(f"{prefix}{name}", command)
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield verb(f"{prefix}{name}", command)


def verb(name: str, command: Any) -> str:
    """Return the section of one command: how it is called, what it does, its options."""
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    called = [p.name.upper() if p.required else f"[{p.name.upper()}]" for p in arguments]
    rows = [f"| `{word}` | {p.help} |" for word, p in zip(called, arguments, strict=True)]
    rows += [f"| `{option(p)}` | {p.help}{default_words(p)} |" for p in command.params if p not in arguments]
    head = f"### `{' '.join(['dataflare', name, *called])}`"
    return "\n\n".join([head, inspect.cleandoc(command.help), "\n".join(["| | |", "|---|---|", *rows])])


def option(parameter: Any) -> str:
    """Return an option as one writes it."""
    word = parameter.opts[0]
    return word if parameter.is_flag else f"{word} {parameter.metavar or parameter.name.upper()}"


def default_words(parameter: Any) -> str:
    """Return the default of an option, where it has one."""
    default = parameter.default
    return "" if parameter.is_flag or default in (None, "") else f" Default: `{default}`."


def file_name(spec: Spec) -> str:
    """Return the name of the page of a component."""
    return f"{spec.kind}-{spec.name}.md"


def index(specs: Sequence[Spec]) -> str:
    """Return the page that lists all others."""
    rows = [f"| {s.kind} | [`{s.name}`]({file_name(s)}) | {s.status} | {s.summary} |" for s in specs]
    head = [
        "# Components",
        "",
        NOTE,
        "",
        "They stand in [the workflow file](workflow.md); expressions call [functions](functions.md).",
        "",
    ]
    return "\n".join([*head, "| kind | name | status | |", "|---|---|---|---|", *rows, ""])


def page(spec: Spec) -> str:
    """Return the page of one component."""
    kind = spec.kind.replace("_", " ")
    parts = [
        f"# `{spec.name}`, {'an' if kind[0] in 'aeiou' else 'a'} {kind}",
        NOTE,
        f"{spec.summary}\n\nStatus: {spec.status}.",
        spec.description,
    ]
    if promises := list(traits(spec.traits)):
        parts.append("## Promises\n\n" + "\n".join(promises))
    schema = spec.schema()
    if schema.get("properties"):
        parts.append("## Settings\n\n" + "\n".join(settings(schema)))
    if spec.examples:
        parts.append("## Examples\n\n" + "\n\n".join(example(spec, settings) for settings in spec.examples))
    return "\n\n".join(part for part in parts if part) + "\n"


def traits(value: Any) -> Iterable[str]:
    """Yield a line for each promise that the component makes."""
    if not dataclasses.is_dataclass(value):
        return
    for field in dataclasses.fields(value):
        held = getattr(value, field.name)
        words = ", ".join(f"`{v}`" for v in held) if isinstance(held, tuple) else plain(held)
        if words:
            yield f"- {field.name.replace('_', ' ')}: {words}"


def plain(value: Any) -> str:
    """Return a promise in words; nothing where there is none."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"`{value}`" if value is not None else ""


def settings(schema: Mapping[str, Any]) -> Iterable[str]:
    """Yield the table of settings."""
    yield "| setting | type | default | meaning |"
    yield "|---|---|---|---|"
    for name, kind, default, meaning in settings_rows(schema):
        shown = default if default in ("", "required") else f"`{default}`"
        cells = (f"`{name}`", f"`{kind}`" if " | " in kind else kind, shown, meaning)
        yield f"| {' | '.join(cell.replace('|', PIPE).replace(chr(10), ' ') for cell in cells)} |"


def example(spec: Spec, config: Mapping[str, Any]) -> str:
    """Return one example as it stands in a workflow file."""
    text = yaml.safe_dump({"type": spec.name, "config": dict(config)}, sort_keys=False, allow_unicode=True)
    return f"```yaml\n{text}```"


def main() -> int:
    """Write the pages, or tell which ones are not up to date."""
    wanted = pages()
    known = [*FOLDER.glob("reference/*.md"), *FOLDER.glob("reference/*.json"), FOLDER / COMMANDS]
    there = {path.relative_to(FOLDER).as_posix(): path.read_text(encoding="utf-8") for path in known}
    stale = sorted(name for name in {*wanted, *there} if wanted.get(name) != there.get(name))
    if "--check" in sys.argv:
        print("\n".join(f"docs/{name} is not up to date; cure: make docs" for name in stale) or "up to date")
        return 1 if stale else 0
    (FOLDER / "reference").mkdir(exist_ok=True)
    for name in stale:
        if name in wanted:
            (FOLDER / name).write_text(wanted[name], encoding="utf-8")
        else:
            (FOLDER / name).unlink()
        print(f"docs/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
