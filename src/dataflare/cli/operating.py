"""The commands of those who keep workflows running; importing this module adds them to the command line."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads it
from typing import Annotated

import typer

from dataflare.cli import completion
from dataflare.cli.commands import AsJson, File, State, Workflow, app

dead_letter = typer.Typer(help="Look at rejected rows; replay, drop them.", rich_markup_mode=None, no_args_is_help=True)
app.add_typer(dead_letter, name="dead-letter")

Node = Annotated[str, typer.Option("--node", help="Only rows that this node rejected.", show_default=False)]
Code = Annotated[str, typer.Option("--code", help="Only rows with this code.", show_default=False)]
Since = Annotated[
    str,
    typer.Option(
        "--since", help="Only rows of the last 2h, say, or since 2026-01-31.", metavar="T", show_default=False
    ),
]
Ids = Annotated[list[str] | None, typer.Argument(help="Only the rows with these ids.", show_default=False)]


@app.command()
def history(
    workflow: Annotated[
        str, typer.Argument(help="The workflow file, or the name of the workflow; all by default.", show_default=False)
    ] = "",
    *,
    last: Annotated[int, typer.Option(min=1, help="So many runs, the newest.", metavar="N")] = 20,
    status: Annotated[
        str, typer.Option(help="Only runs that succeeded, failed, stopped, ...", metavar="STATUS", show_default=False)
    ] = "",
    state: State = None,
    as_json: AsJson = False,
) -> int:
    """List the runs that there were.

    The newest come last.
    """
    from dataflare.cli.history import history_command

    return history_command(workflow, state, last, status, as_json=as_json)


@app.command()
def verify(  # noqa: PLR0913 - users name what they mean
    file: File,
    destinations: Annotated[
        list[str] | None,
        typer.Argument(
            help="Only these; all that can be read by default.",
            show_default=False,
            autocompletion=completion.complete_node,
        ),
    ] = None,
    *,
    key: Annotated[
        str, typer.Option(help="Columns that tell rows apart; the key of the destination by default.", metavar="A,B")
    ] = "",
    columns: Annotated[str, typer.Option(help="Only these columns.", metavar="A,B")] = "",
    leave_out: Annotated[str, typer.Option("--except", help="Not these columns.", metavar="A,B")] = "",
    where: Annotated[str, typer.Option(help="Only rows that fulfil it, in SQL.", metavar="CONDITION")] = "",
    sample: Annotated[str, typer.Option(help="Only a share of the keys, such as 5%.", metavar="SHARE")] = "",
    looks: Annotated[int, typer.Option(min=1, max=100, help="How often rows that differ are read.", metavar="N")] = 2,
    pause: Annotated[str, typer.Option(help="How long to wait between looks.", metavar="TIME")] = "0s",
    examples: Annotated[int, typer.Option(min=0, max=10_000, help="So many are named at most.", metavar="N")] = 20,
    rows: Annotated[bool, typer.Option("--rows", help="Read all rows; ask no database for sums of hashes.")] = False,
    as_json: AsJson = False,
) -> int:
    """Prove that nothing was lost.

    Reads the sources as a whole, passes the rows through the workflow, reads what the destinations hold, and compares
    row by row. Databases that hold a side as it is sum up hashes themselves, so that only rows that differ travel.
    Writes nothing and keeps no state. Rows that differ are read again, as others may be on their way. Ends with 1 where
    rows differ.
    """
    from dataclasses import replace

    from dataflare.cli.verifying import options_of, verify_command

    options = options_of((key, columns, leave_out), where, sample, (examples, looks), pause)
    options = replace(options, sums=not rows)
    return verify_command(file, destinations or [], options, as_json=as_json)


@app.command()
def refresh(  # noqa: PLR0913 - users name what they mean
    file: File,
    *,
    stream: Annotated[
        str, typer.Option(help="A source, an output of one, or a destination; if there are several.", metavar="NAME")
    ] = "",
    keys: Annotated[str, typer.Option(help="Only this range of the key, such as 1000..2000.", metavar="A..B")] = "",
    where: Annotated[str, typer.Option(help="Only rows that fulfil it, in SQL.", metavar="CONDITION")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing; tell what differs.")] = False,
    pause: Annotated[str, typer.Option(help="How long to wait between looks.", metavar="TIME")] = "0s",
    examples: Annotated[int, typer.Option(min=0, max=10_000, help="So many are named at most.", metavar="N")] = 20,
    as_json: AsJson = False,
) -> int:
    """Repair rows of a destination.

    Compares as verify does, and writes rows of the source that differ, by key. Changes may go on meanwhile where the
    destination keeps the place of each row in the log (changes: {tx: ...}); else the workflow must not run. Ends with 1
    where rows differ in the end, or would be written.
    """
    from dataflare.cli.refreshing import refresh_command
    from dataflare.cli.verifying import options_of

    options = options_of(("", "", ""), where, "", (examples, 2), pause)
    return refresh_command(file, stream, keys, options, dry_run=dry_run, as_json=as_json)


@app.command()
def trigger(
    event: Annotated[str, typer.Argument(help="The name of the event.", show_default=False)],
    *,
    state: State = None,
    as_json: AsJson = False,
) -> int:
    """Say that an event has happened.

    Workflows of that state are run whose schedule waits for an event of this name.
    """
    from dataflare.cli.history import trigger_command

    return trigger_command(event, state, as_json=as_json)


@dead_letter.command(name="list")
def dead_letter_list(  # noqa: PLR0913 - users name what they mean
    workflow: Workflow,
    *,
    node: Node = "",
    code: Code = "",
    since: Since = "",
    last: Annotated[int, typer.Option(min=1, help="So many rows, the newest.", metavar="N")] = 20,
    state: State = None,
    as_json: AsJson = False,
) -> int:
    """List rejected rows."""
    from dataflare.cli.letters import Filters, list_command

    return list_command(workflow, state, Filters((), node, code, since), last, as_json=as_json)


@dead_letter.command(name="show")
def dead_letter_show(
    workflow: Workflow,
    identity: Annotated[str, typer.Argument(metavar="ID", help="The id of the row.", show_default=False)],
    *,
    state: State = None,
    as_json: AsJson = False,
) -> int:
    """Show all that is known of a row."""
    from dataflare.cli.letters import show_command

    return show_command(workflow, identity, state, as_json=as_json)


@dead_letter.command(name="replay")
def dead_letter_replay(  # noqa: PLR0913 - users name what they mean
    file: File,
    ids: Ids = None,
    *,
    node: Node = "",
    code: Code = "",
    since: Since = "",
    rows: Annotated[
        Path | None,
        typer.Option(help="Corrected rows: lines of JSON with id and row.", metavar="FILE", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Run rows through their node again.

    Correct the workflow first, or the rows (--rows). Each row lands once, also where the replay is killed: it is gone
    on with by the next one.
    """
    from dataflare.cli.letters import Filters, replay_command

    return replay_command(file, Filters(tuple(ids or ()), node, code, since), rows, as_json=as_json)


@dead_letter.command(name="drop")
def dead_letter_drop(  # noqa: PLR0913 - users name what they mean
    workflow: Workflow,
    ids: Ids = None,
    *,
    node: Node = "",
    code: Code = "",
    since: Since = "",
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    state: State = None,
    as_json: AsJson = False,
) -> int:
    """Forget rows."""
    from dataflare.cli.letters import Filters, drop_command

    filters = Filters(tuple(ids or ()), node, code, since)
    return drop_command(workflow, state, filters, everything=everything, as_json=as_json)


@app.command()
def top(
    workflow: Annotated[
        str, typer.Argument(help="The workflow file, or the name of the workflow; all by default.", show_default=False)
    ] = "",
    *,
    once: Annotated[bool, typer.Option("--once", help="Print it once, and leave.")] = False,
    state: State = None,
    as_json: AsJson = False,
) -> int:
    """Show what goes through running nodes.

    Rows in a second, how much of the time the tasks of a node work (busy) or wait for those behind (blocked), and how
    many batches wait for them (queue). Without a terminal it is printed once.
    """
    from dataflare.cli.inside import top_command

    return top_command(workflow, state, once=once, as_json=as_json)


@app.command()
def tap(
    workflow: Workflow,
    node: Annotated[
        str,
        typer.Argument(
            help="A node, node.output, or a destination.",
            show_default=False,
            autocompletion=completion.complete_node,
        ),
    ],
    *,
    rows: Annotated[int, typer.Option(min=0, help="Leave after so many rows; 0: never.", metavar="N")] = 0,
    rate: Annotated[int, typer.Option(min=1, max=1000, help="At most so many rows a second.", metavar="N")] = 20,
    state: State = None,
    as_json: AsJson = False,
) -> int:
    """Show rows of a running node.

    Each is a JSON object. The run is not held up: rows that come faster go by. Tagged values are hidden.
    """
    from dataflare.cli.inside import tap_command

    return tap_command(workflow, node, state, rows, rate, as_json=as_json)


@app.command()
def doctor(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="A workflow file, to see whether all that it names can be reached.",
            show_default=False,
            autocompletion=completion.complete_file,
        ),
    ] = None,
    *,
    state: State = None,
    as_json: AsJson = False,
) -> int:
    """Look whether all is well.

    Python, packages and extras, disk, the state and its permissions, the clock; with a file also the files and servers
    that it names. Ends with 3 where something keeps workflows from running.
    """
    from dataflare.cli.doctor import doctor_command

    return doctor_command(file, state, as_json=as_json)
