"""The typed shape of a workflow document: every key that it may have, outside the settings of components."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from dataflare.component.settings import Config, Duration, Rate, Size
from dataflare.listening.settings import CallerAuth  # noqa: TC001 - pydantic reads it
from dataflare.plan_words import Action, Change, Ddl, Level
from dataflare.workflow.example_text import ExampleText  # noqa: TC001 - pydantic reads it

NAME = r"[A-Za-z_][A-Za-z0-9_-]*"


class BudgetText(Config):
    """What a run may use."""

    memory: Size = Field(1 << 30, description="Memory of the whole run.")


class CheckpointText(Config):
    """When progress is made durable."""

    interval: Duration = Field(10.0, gt=0, description="The longest time from the first row of an epoch to its end.")
    timeout: Duration = Field(60.0, gt=0, description="How long an epoch may take before it is tried again.")
    retain: int = Field(5, ge=1, le=1000, description="How many checkpoints are kept.")


class RestartText(Config):
    """What happens after a failure that may pass."""

    strategy: Literal["exponential", "fixed", "none"] = Field("exponential", description="How waits grow.")
    initial: Duration = Field(1.0, gt=0, description="The first wait.")
    max: Duration = Field(60.0, gt=0, description="The longest wait.")
    attempts: int = Field(10, ge=0, description="Restarts within the window before the run fails.")
    window: Duration = Field(600.0, gt=0, description="The time in which attempts are counted.")


class BatchText(Config):
    """How rows are gathered before a destination is called."""

    rows: int | None = Field(None, ge=1, description="At most so many rows.")
    bytes: Size | None = Field(None, description="At most so many bytes.")
    period: Duration | None = Field(None, gt=0, description="At most so long.")


class RuntimeText(Config):
    """How the workflow runs."""

    profile: Literal["standalone", "edge", "cloud"] = Field("standalone", description="Where it runs.")
    parallelism: int = Field(1, ge=1, le=256, description="Tasks that share the work of a node.")
    budget: BudgetText = Field(BudgetText(), description="What it may use.")
    checkpoint: CheckpointText = Field(CheckpointText(), description="When progress is made durable.")
    state: dict[str, Any] = Field({"type": "sqlite"}, description="The state store: its type and its settings.")
    restart: RestartText = Field(RestartText(), description="What happens after a failure.")
    batch: BatchText = Field(BatchText(), description="How large batches are.")
    ledger: Literal["counts", "hash"] = Field(
        "counts",
        description="What is compared before an epoch is sealed: how many rows passed each edge and what became of "
        "them (counts), or also the sum of their hashes where they leave and where they come (hash).",
    )


class SecretText(Config):
    """Where secrets come from."""

    type: Literal["env", "file"] = Field(description="The kind of store.")
    prefix: str = Field("", description="env: what stands before the key in the name of the variable.")
    path: str = Field("", description="file: a JSON file, or a folder with a file for each key.")


class OnErrorText(Config):
    """What happens to rows that a node cannot handle."""

    action: Action = Field(Action.FAIL, description="fail, skip, null, or dead_letter (to the output `errors`).")
    max_rate: Rate = Field(1.0, description="The share of bad rows in an epoch that fails the run.")


class EventTimeText(Config):
    """The time that rows carry."""

    field: str = Field(description="The column.")
    watermark_delay: Duration = Field(0.0, description="How late rows may come.")
    idle_timeout: Duration | None = Field(None, description="After so long without rows a source holds nobody up.")


class _NodeText(Config):
    type: str = Field(description="The component, or python:package.module:Class.")
    description: str = Field("", description="What it is for.")
    config: dict[str, Any] = Field({}, description="The settings of the component.")
    on_error: OnErrorText = Field(OnErrorText(), description="What happens to bad rows.")
    parallelism: int | None = Field(None, ge=1, le=256, description="Tasks that share its work.")


class ContractText(Config):
    """What becomes of data that is not as it was planned."""

    tables: Literal["evolve", "discard", "freeze"] | None = Field(
        None,
        description="Tables that come or go behind a pattern in `tables`: the next plan takes up the one, leaves out "
        "the other, and says so (evolve, the default); new ones are left out (discard); either is an error (freeze).",
    )
    columns: Literal["evolve", "discard", "discard_row", "freeze"] | None = Field(
        None,
        description="Columns that come or go: the next plan takes them up, and says so (evolve); nobody hears of new "
        "ones (discard); rows that have new ones are left out (discard_row, where rows name their fields); either is "
        "an error (freeze). Default: the settings of the source.",
    )
    data_type: Literal["evolve", "discard", "discard_row", "freeze"] | None = Field(
        None,
        description="Values of another type: those that fit are taken, others are bad rows (evolve, the default); null "
        "stands for those that do not fit (discard); their rows are left out (discard_row); a column of another type "
        "is refused (freeze).",
    )


class SchemaText(Config):
    """What may change in the columns of a source."""

    contract: ContractText = Field(ContractText(), description="What becomes of data that is not as planned.")
    ddl: Ddl | None = Field(
        None,
        description="What becomes of changes of a table that is followed: each ends the run (exception); each reaches "
        "the destinations (evolve), or as far as they can (try_evolve); nothing is lost: dropped columns stay and are "
        "null, types become wider only (lenient, the default); nobody hears of them (ignore).",
    )
    include: list[Change] | None = Field(None, description="The kinds of change that are heeded; default: all.")
    exclude: list[Change] = Field([], description="Kinds of change that nobody hears of.")


class SourceText(_NodeText):
    """A source."""

    mode: str | None = Field(None, description="full, incremental, cdc, hybrid or streaming.")
    tags: dict[str, str | list[str]] = Field({}, description="What columns hold, such as pii.email.")
    contract: SchemaText = Field(SchemaText(), alias="schema", description="What may change in its columns.")
    event_time: EventTimeText | None = Field(None, description="The column of the event time.")


class ProcessorText(_NodeText):
    """A transformation."""

    inputs: list[str] = Field([], description="node, node.output or a glob such as *.errors.")
    lookup: str | None = Field(None, description="The output in which rows are looked up.")


class DestinationText(_NodeText):
    """A destination."""

    inputs: list[str] = Field([], description="node, node.output or a glob such as *.errors.")
    write_mode: str | None = Field(None, description="append, overwrite, merge, insert_only, ...")
    key: list[str] = Field(
        [], description="The columns that tell rows apart; default: the key that the rows have, such as a primary key."
    )
    batch: BatchText = Field(BatchText(), description="How rows are gathered.")


class AfterText(Config):
    """Another workflow whose runs start this one."""

    workflow: str = Field(pattern=f"^{NAME}$", description="Its id; it keeps its state in the same store.")
    when: Literal["succeeded", "failed", "ended"] = Field("succeeded", description="How its run must have ended.")


class WebhookText(Config):
    """Calls by HTTP, each of which starts a run."""

    path: str = Field(
        "", pattern=r"^(/[^?#\s]*)?$", description="The path that is called; default: / and the id of the workflow."
    )
    auth: CallerAuth | None = Field(None, description="Who may call; only a loopback address may do without.")
    key_header: str = Field(
        "Idempotency-Key",
        pattern=r"^[A-Za-z0-9-]{1,100}$",
        description="The header that tells calls apart: one that comes again starts no second run.",
    )
    body_bytes_max: Size = Field(1 << 20, description="Bytes of a body at most; else 413. The run does not see it.")


class RetriesText(Config):
    """What happens after a run that failed."""

    attempts: int = Field(0, ge=0, le=100, description="How often it is tried again.")
    initial: Duration = Field(10.0, gt=0, description="The first wait; it doubles each time.")
    max: Duration = Field(600.0, gt=0, description="The longest wait.")


class ScheduleText(Config):
    """When the workflow runs."""

    type: Literal["cron", "interval", "once", "event"] = Field(description="The kind of schedule.")
    expression: str = Field("", description="cron: five fields, six with seconds first, or @daily and its like.")
    interval: Duration | None = Field(None, ge=0.001, description="interval: the time between starts.")
    align: Literal["clock", "start"] = Field(
        "clock", description="interval: counted from start_date (else from 1970), or from when it is taken up."
    )
    timezone: str = Field("UTC", description="The zone of the expression and of dates.")
    start_date: str | None = Field(None, description="Not before; once: when. A date or a time.")
    end_date: str | None = Field(None, description="Not after. A date is meant to its end.")
    jitter: Duration | None = Field(None, gt=0, description="Starts are put off by up to so long, each by its own.")
    overlap: Literal["skip", "queue", "cancel"] = Field(
        "skip", description="When the run before has not ended: leave out, wait, or stop that one."
    )
    queue_max: int = Field(16, ge=1, le=1000, description="How many runs may wait; more are left out.")
    missed: Literal["one", "all", "none"] = Field("one", description="What happens after a time of absence.")
    missed_max: int = Field(100, ge=1, le=1000, description="all: so many at most, the newest.")
    deadline: Duration | None = Field(None, gt=0, description="A run commits and stops before so long.")
    retries: RetriesText = Field(RetriesText(), description="What happens after a run that failed.")
    retain: int = Field(100, ge=1, le=10000, description="How many runs the history keeps.")
    files: str = Field("", description="event: a glob; files that come or change start a run.")
    settle: Duration = Field(2.0, ge=0, description="event: files count when unchanged for so long.")
    event: str = Field("", description="event: its name, as `dataflare trigger` is given it.")
    after: AfterText | None = Field(None, description="event: the end of another workflow's run.")
    webhook: WebhookText | None = Field(None, description="event: a call by HTTP.")


class WorkflowText(Config):
    """A workflow document."""

    id: str = Field(pattern=f"^{NAME}$", max_length=200, description="The name of the workflow; its state hangs on it.")
    description: str = Field("", description="What it is for.")
    version: str = Field("", description="The version of this workflow.")
    guarantee: Level | None = Field(None, description="What must hold; refused when not reachable.")
    runtime: RuntimeText = Field(RuntimeText(), description="How it runs.")
    secrets: dict[str, SecretText] = Field({}, description="Where secrets come from.")
    sources: dict[str, SourceText] = Field({}, description="Where rows come from.")
    transformations: dict[str, ProcessorText] = Field({}, description="What happens to them.")
    destinations: dict[str, DestinationText] = Field({}, description="Where they go.")
    schedule: ScheduleText | None = Field(None, description="When it runs.")
    metadata: dict[str, Any] = Field({}, description="Anything you like to note.")
    tests: list[ExampleText] = Field([], description="Rows in, rows expected.")
