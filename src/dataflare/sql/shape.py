"""What a destination stages of its rows, and which columns the target must have for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dataflare.batch import RESERVED
from dataflare.changes import COMMIT_TS, OP, TX, UNCHANGED
from dataflare.errors import Place, WorkflowError
from dataflare.schema import Column, Schema
from dataflare.sql.ddl import check_key, merged_schemas

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.component import StageContext
    from dataflare.sql.settings import SqlDestinationConfig

APPLIED = ("merge", "scd2")
"""Modes that apply changes of rows."""
_UNIQUE = ("merge", "insert_only")
"""Modes in which a unique index on the key decides what happens to a row."""
_REPEATING = ("update", "delete_insert", "scd2")
"""Modes in which several rows of the table may have one key."""
_TYPES = {OP: "string", COMMIT_TS: "timestamp", TX: "string"}


@dataclass(frozen=True, slots=True)
class Shape:
    """The columns of rows on their way into a table.

    `staged`: those of staging tables. `target`: those that the table must have. `kept`: the column of the table by
    reserved column whose values it keeps. `changes`: rows are staged as changes that are applied by `key`. `unique`:
    the columns that must have a unique index. `plain`: rows come, not changes. `repeats`: several rows of the table may
    have one key.
    """

    staged: Schema
    target: Schema
    key: tuple[str, ...] = ()
    kept: tuple[tuple[str, str], ...] = ()
    changes: bool = False
    unique: tuple[str, ...] = ()
    plain: bool = True
    repeats: bool = False

    @property
    def primary(self) -> tuple[str, ...]:
        """The primary key of a table that is made."""
        return () if self.repeats else self.key

    @property
    def values(self) -> tuple[str, ...]:
        """The columns of the rows themselves, which staging tables and the target share."""
        return tuple(c.name for c in self.staged if not (self.changes and c.name in RESERVED))

    @property
    def may_be_unchanged(self) -> bool:
        """Whether the source may leave values out."""
        return self.changes and UNCHANGED in self.staged


def shape_of(context: StageContext, config: SqlDestinationConfig) -> Shape:
    """Return the shape for the inputs and the settings; raise WorkflowError where they do not go together."""
    schema, mode = merged_schemas(context.schemas, context.node), context.write_mode
    check_key(schema, context.key, context.node)
    _check_settings(config, mode, changes=OP in schema)
    if OP not in schema and mode != "scd2":
        if mode == "update" and not set(schema.names) - set(context.key):
            raise WorkflowError("there is nothing to update: all columns are the key", hint="bring more columns")
        return Shape(schema, schema, context.key, unique=unique_key(context), repeats=mode in _REPEATING)
    if mode == "append":
        logged = _logged(schema, config.changes.named())
        return Shape(logged, logged, plain=False)
    if mode not in APPLIED:
        raise WorkflowError(
            f"write_mode {mode} cannot apply changes, and changes come",
            hint="use write_mode: merge with a key, or keep them as a log: write_mode: append with changes",
        )
    return _applied(schema, context, config)


def _check_settings(config: SqlDestinationConfig, mode: str, *, changes: bool) -> None:
    """Refuse settings that would say nothing here."""
    own = {"history": ("scd2",), "replaces": ("delete_insert",), "deletes": APPLIED, "changes": ("append", "merge")}
    for name in sorted(config.model_fields_set & own.keys()):
        wants = name in ("deletes", "changes")
        if mode in own[name] and (changes or not wants):
            continue
        what = f"{name} is for {'changes in ' if wants else ''}write_mode {' and '.join(own[name])}"
        got = "" if changes or not wants else "; what comes are rows, not changes"
        raise WorkflowError(f"{what}{got}", hint=f"leave {name} out").at(Place(path=name))


def unique_key(context: StageContext) -> tuple[str, ...]:
    """Return the columns on which the table needs a unique index in this mode."""
    return context.key if context.write_mode in _UNIQUE else ()


def kept_as(reserved: str, name: str, schema: Schema) -> Column:
    """Return the column of the table that keeps a reserved one."""
    return replace(schema[reserved], name=name, nullable=True)


def _logged(schema: Schema, named: Mapping[str, str]) -> Schema:
    """Return the columns of a log of changes."""
    if not named.get(OP):
        raise WorkflowError(
            "changes come, and write_mode append would take a deleted row for a new one",
            hint="apply them: write_mode: merge with a key; or keep them as a log: "
            f"changes: {{op: {OP}, commit_ts: {COMMIT_TS}, tx: {TX}}}",
        )
    values = Schema(tuple(replace(c, nullable=True) for c in schema if c.name not in RESERVED))
    lost = next((name for reserved, name in named.items() if reserved not in schema), None)
    if lost is not None:
        raise WorkflowError(f"the changes have nothing for {lost}", hint="leave it out of changes")
    return _with(values, [kept_as(reserved, name, schema) for reserved, name in named.items()])


def _applied(schema: Schema, context: StageContext, config: SqlDestinationConfig) -> Shape:
    """Return the shape of changes that are applied by key, and of rows whose versions are kept."""
    values = Schema(tuple(c for c in schema if c.name not in RESERVED))
    merges, named = context.write_mode == "merge", config.changes.named()
    extra = [name for reserved, name in named.items() if not merges or reserved not in _TYPES]
    if extra:
        raise WorkflowError(
            f"{extra[0]} is what a change says beside the row: write_mode {context.write_mode} has no place for it",
            hint="leave it out of changes, or keep a log: write_mode: append",
        )
    own = [Column(name, _TYPES[reserved]) for reserved, name in named.items()]
    if not merges:
        own += _versions(values, config)
    elif config.deletes == "soft":
        own.append(Column(config.deleted_at, "timestamp"))
    staged = [replace(c, nullable=True) for c in values]
    staged += [Column(name, kind) for name, kind in _TYPES.items()]
    staged += [Column(UNCHANGED, "list<string>")] if UNCHANGED in schema else []
    return Shape(
        Schema(tuple(staged)),
        _with(values, own),
        context.key,
        tuple(named.items()),
        changes=True,
        unique=unique_key(context),
        plain=OP not in schema,
        repeats=not merges,
    )


def _versions(values: Schema, config: SqlDestinationConfig) -> list[Column]:
    """Return the columns of versions."""
    told = config.history
    if told.at and told.at not in values:
        raise WorkflowError(
            f"{told.at} is not among the columns that come: {', '.join(values.names)}",
            hint="name a column of the rows in history: {at: ...}",
        )
    if told.at and values[told.at].type not in ("timestamp", "datetime", "date"):
        raise WorkflowError(
            f"{told.at} is {values[told.at].type}, and history needs a time", hint="cast it in a mapping before"
        )
    start, end, current = told.valid_from, told.valid_to, told.is_current
    return [Column(start, "timestamp"), Column(end, "timestamp"), Column(current, "bool")]


def _with(values: Schema, own: list[Column]) -> Schema:
    """Return columns of rows together with those that the destination adds; no name may be there twice."""
    names = [*values.names, *(c.name for c in own)]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise WorkflowError(
            f"{twice} would be there twice: as a column of the rows and as one that is added",
            hint="give it another name in the settings, or drop it in a mapping before",
        )
    return Schema((*values, *own))


__all__ = ["APPLIED", "Shape", "kept_as", "shape_of", "unique_key"]
