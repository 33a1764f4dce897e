"""Finds the reader of a format; what is wrong with the settings is told here, before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from dataflare.errors import WorkflowError
from dataflare.processors.columns import known, near
from dataflare.processors.parsing.delimited import csv_reading, pairs_reading
from dataflare.processors.parsing.grok import GrokExpressions
from dataflare.processors.parsing.groups import checked, group_reading, named_groups
from dataflare.processors.parsing.json_texts import json_reading
from dataflare.processors.parsing.reading import Reading, TextReader, Wanted, check_readable
from dataflare.processors.parsing.urls import PARTS, url_reading
from dataflare.processors.parsing.user_agents import AGENT_PARTS, AgentReader
from dataflare.schema import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pyarrow as pa

    from dataflare.component import Budget
    from dataflare.processors.parsing.settings import ParseConfig


class Reader(Protocol):
    """Reads texts into columns; each row that it cannot read has a reason, and nulls where nothing was found."""

    @property
    def wanted(self) -> tuple[Wanted, ...]:
        """The columns, before any prefix."""
        ...

    def open(self, budget: Budget) -> None:
        """Prepare."""
        ...

    def run(self, texts: pa.ChunkedArray) -> tuple[pa.Table, pa.ChunkedArray]:
        """Return the columns, and the reason of each row that could not be read."""
        ...

    def close(self) -> None:
        """Free what was prepared."""
        ...


def reader_of(config: ParseConfig) -> Reader:
    """Return the reader; raise WorkflowError where the settings have no meaning."""
    for setting in config.foreign():
        raise WorkflowError(f"{setting}: the format {config.format} does not know it", hint=f"leave {setting} out")
    if config.format == "url":
        return TextReader(url_reading(), _parts(config, PARTS))
    if config.format == "user_agent":
        return AgentReader(_parts(config, AGENT_PARTS))
    if config.format in ("regex", "grok"):
        return _by_pattern(config)
    wanted = _wanted(config, config.types(), nested=config.format == "json")
    reading: Reading
    if config.format == "key_value":
        if config.pairs:
            wanted = (*wanted, Wanted(config.pairs, "map<string, string>"))
        reading = pairs_reading(wanted, config.separator, config.sign, config.pairs)
    elif config.format == "csv":
        reading = csv_reading(wanted, config.delimiter, config.quote)
    else:
        known(config.paths, config.types(), "paths")
        reading = json_reading(wanted, config.paths)
    if not wanted:
        raise WorkflowError("columns: none is named", hint="name what is to be read: {id: int64, name: string}")
    return TextReader(reading, wanted)


def _wanted(config: ParseConfig, types: Mapping[str, str], *, nested: bool = False) -> tuple[Wanted, ...]:
    known(config.times, types, "times")
    known(config.required, types, "required")
    found = []
    for name, kind in types.items():
        wanted = Wanted(name, canonical(kind), config.times.get(name, ""), name in config.required)
        check_readable(wanted, nested=nested)
        found.append(wanted)
    return tuple(found)


def _parts(config: ParseConfig, parts: Mapping[str, str]) -> tuple[Wanted, ...]:
    types = config.types()
    known(types, parts, "columns")
    known(config.required, types or parts, "required")
    for name, kind in types.items():
        if isinstance(config.columns, dict) and canonical(kind) != parts[name]:
            raise WorkflowError(f"columns: {name} is of type {parts[name]}", hint="list the parts: [host, path]")
    return tuple(Wanted(name, parts[name], required=name in config.required) for name in types or parts)


def _by_pattern(config: ParseConfig) -> Reader:
    grok = GrokExpressions(config.patterns if config.format == "grok" else {})
    patterns = config.alternatives()
    if not any(patterns):
        raise WorkflowError("pattern: it is missing", hint="such as (?P<user>\\w+) or %{IPORHOST:client}")
    if config.format == "grok":
        patterns = [grok.expand(pattern) for pattern in patterns]
    pattern, groups = named_groups(patterns)
    names = grok.fields(groups)
    checked(pattern)
    if not any(names):
        hint = "name a group: %{WORD:user}" if config.format == "grok" else "name a group: (?P<user>\\w+)"
        raise WorkflowError("pattern: it has no named group, so there is nothing to read", hint=hint)
    _refuse_unknown(config.types(), names)
    types = {name: config.types().get(name) or grok.types.get(name, "string") for name in names if name}
    return TextReader(group_reading(pattern, names), _wanted(config, types))


def _refuse_unknown(types: Iterable[str], names: Iterable[str]) -> None:
    groups = list(dict.fromkeys(n for n in names if n))
    for name in types:
        if name not in groups:
            raise WorkflowError(f"columns: the pattern has no group {name!r}", hint=near(name, groups))


__all__ = ["Reader", "reader_of"]
