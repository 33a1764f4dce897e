"""The commands of those who write plugins; importing this module adds them to the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dataflare.cli.commands import AsJson  # noqa: TC001 - read when the command is made
from dataflare.cli.plugin_verbs import plugin
from dataflare.plugin.languages import LANGUAGES

Folder = Annotated[Path, typer.Argument(help="The folder of the plugin.")]


@plugin.command(name="new")
def plugin_new(
    name: Annotated[str, typer.Argument(help="Its name: small letters, digits and hyphens.", show_default=False)],
    *,
    language: Annotated[
        str, typer.Option(help=f"One of {', '.join(LANGUAGES)}; also js, ts, py, rs, as.", metavar="NAME")
    ] = "",
    into: Annotated[
        Path | None, typer.Option(help="The folder; its name by default.", metavar="DIR", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Write a plugin to start from.

    A folder with its code, plugin.toml and a test, which builds and passes. Overwrites nothing.
    """
    from dataflare.cli.plugin_building import new_command

    return new_command(name, language, into or Path(name), as_json=as_json)


@plugin.command(name="build")
def plugin_build(folder: Folder = Path(), *, as_json: AsJson = False) -> int:
    """Compile a plugin, and look whether it is one.

    A script is not compiled, only looked at. The old file stays until there is a new one.
    """
    from dataflare.cli.plugin_building import build_command

    return build_command(folder, as_json=as_json)


@plugin.command(name="test")
def plugin_test(
    folder: Folder = Path(),
    *,
    only: Annotated[
        str, typer.Option("--filter", help="Only tests whose name holds this.", metavar="TEXT", show_default=False)
    ] = "",
    written: Annotated[
        bool, typer.Option("--write", help="Write what comes out as what is expected from now on.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Run the tests of a plugin, in the sandbox.

    Each folder tests/NAME has in.jsonl, the rows; out.jsonl and out.OUTPUT.jsonl, what comes of them; errors.jsonl,
    which fail. settings.json and columns.json, the types of columns, may be there. Ends with 1 where something differs.
    """
    from dataflare.cli.plugin_testing import test_command

    return test_command(folder, only, written=written, as_json=as_json)


@plugin.command(name="bench")
def plugin_bench(
    what: Annotated[Path, typer.Argument(help="The folder of the plugin, or its file.")] = Path(),
    *,
    rows: Annotated[int, typer.Option(min=1, max=10_000_000, help="So many rows each time.", metavar="N")] = 20_000,
    given: Annotated[
        Path | None,
        typer.Option(
            "--input", help="Rows, as JSON lines; those of a test by default.", metavar="FILE", show_default=False
        ),
    ] = None,
    settings: Annotated[
        str, typer.Option(help="What it is opened with; that of a test by default.", metavar="JSON", show_default=False)
    ] = "",
    as_json: AsJson = False,
) -> int:
    """Say how fast a plugin is, how it starts and how much memory it takes.

    Rates are of processor time. The rows are repeated.
    """
    from dataflare.cli.plugin_measuring import bench_command

    return bench_command(what, rows, given, settings, as_json=as_json)


@plugin.command(name="run")
def plugin_run(
    file: Annotated[Path, typer.Argument(help="The file of the plugin, or its folder.", show_default=False)],
    *,
    settings: Annotated[str, typer.Option(help="What it is opened with.", metavar="JSON")] = "{}",
    given: Annotated[str, typer.Option("--input", help="Rows, as JSON lines; -: stdin.", metavar="FILE")] = "-",
    watch: Annotated[bool, typer.Option("--watch", help="Run again whenever a file changes.")] = False,
    as_json: AsJson = False,
) -> int:
    """Run rows through a plugin.

    Rows of JSON go out on stdout as they come in, those of a named output as {"NAME": row}; why a row fails is told on
    stderr. Ends with 1 where one did.
    """
    from dataflare.cli.plugin_running import run_command

    return run_command(file, settings, given, watch=watch, as_json=as_json)
