"""What the shell completes: workflow files, names of workflows, nodes and components; never a word besides."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer  # noqa: TC002 - typer itself reads the annotations

from dataflare.errors import DataFlareError

if TYPE_CHECKING:
    from collections.abc import Iterator

SECTIONS = ("sources", "transformations", "transforms", "processors", "destinations", "sinks")
SUFFIXES = (".yaml", ".yml", ".json")


def complete_file(incomplete: str) -> list[str]:
    """Return workflow files and folders that begin so."""
    return sorted(text for text in _paths(incomplete) if text.startswith(incomplete))


def complete_workflow(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return workflow files, and the names of workflows whose state is where it is looked for."""
    state = Path(str(ctx.params.get("state") or "./.dataflare"))
    names = {p.stem for p in state.glob("*.sock")} if state.is_dir() else set()
    return [*sorted(n for n in names if n.startswith(incomplete)), *complete_file(incomplete)]


def complete_node(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the nodes of the workflow file that stands before, as far as it can be read."""
    given = ctx.params.get("file") or ctx.params.get("workflow")
    path = Path(str(given)) if given else None
    if path is None or not path.is_file():
        return []
    return [name for name in _nodes(path) if name.startswith(incomplete)]


def complete_component(incomplete: str) -> list[str]:
    """Return the names of components."""
    from dataflare.cli.catalogue import kinds
    from dataflare.component import Registry

    registry = Registry.installed()
    return sorted({n for k in kinds().values() for n in registry.names(k) if n.startswith(incomplete)})


def complete_kind(incomplete: str) -> list[str]:
    """Return the kinds of components."""
    from dataflare.cli.catalogue import kinds

    return [name for name in kinds() if name.startswith(incomplete)]


def _paths(incomplete: str) -> Iterator[str]:
    folder = Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent
    prefix = "" if str(folder) == "." and not incomplete.startswith("./") else f"{str(folder).rstrip('/')}/"
    try:
        found = sorted(folder.iterdir())
    except OSError:
        return
    for path in found:
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield f"{prefix}{path.name}/"
        elif path.suffix in SUFFIXES:
            yield f"{prefix}{path.name}"


def _nodes(path: Path) -> list[str]:
    from dataflare.workflow.findings import Findings
    from dataflare.workflow.reading import read_document

    try:
        document: Any = read_document(path.read_bytes(), Findings(str(path)), json=path.suffix == ".json")
    except (OSError, DataFlareError):
        return []
    found = [document.root.map[s].map for s in SECTIONS if s in document.root.map] if document is not None else []
    return [name for section in found for name in section]


__all__ = ["complete_component", "complete_file", "complete_kind", "complete_node", "complete_workflow"]
