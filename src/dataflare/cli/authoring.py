"""The commands of those who write workflows; importing this module adds them to the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dataflare.cli import completion
from dataflare.cli.commands import AsJson, File, app


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where the files go.")] = Path(),
    *,
    template: Annotated[
        str,
        typer.Option(help="Which one; csv-to-parquet unless asked on a terminal.", metavar="NAME", show_default=False),
    ] = "",
    listed: Annotated[bool, typer.Option("--list", help="List the templates.")] = False,
    as_json: AsJson = False,
) -> int:
    """Write a workflow to start from.

    It runs as it is, has tests and data, and the JSON Schema with which editors complete it. Overwrites nothing.
    """
    from dataflare.cli.starting import init_command

    return init_command(folder, template, listed=listed, as_json=as_json)


@app.command(name="test")
def run_tests(
    path: Annotated[Path, typer.Argument(help="A workflow file, a file of tests, or a folder.")] = Path(),
    *,
    only: Annotated[
        str, typer.Option("--filter", help="Only tests whose name holds this.", metavar="TEXT", show_default=False)
    ] = "",
    as_json: AsJson = False,
) -> int:
    """Run the tests of workflows.

    Rows in, rows expected: no source or destination is opened. Ends with 1 where a test failed, with 2 where a workflow
    or a test is wrong.
    """
    from dataflare.cli.testing import test_command

    return test_command(path, only, as_json=as_json)


@app.command()
def preview(
    file: File,
    node: Annotated[
        str,
        typer.Argument(
            help="A node, node.output, or a destination.",
            show_default=False,
            autocompletion=completion.complete_node,
        ),
    ],
    *,
    rows: Annotated[int, typer.Option(min=1, max=10_000, help="So many rows, the first.", metavar="N")] = 10,
    as_json: AsJson = False,
) -> int:
    """Show the first rows at a node.

    The first thousand rows of each source are passed through the plan. Nothing is written, no state is kept, and tagged
    values are hidden.
    """
    from dataflare.cli.looking import preview_command

    return preview_command(file, node, rows, as_json=as_json)
