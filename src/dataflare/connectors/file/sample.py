"""Guesses the columns of files from a bounded sample: the first, the last and others of the first 10,000 of them."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from dataflare.component.deviations import wider_type
from dataflare.connectors.file.documents import first_lines, is_document
from dataflare.connectors.file.nature import check_lines
from dataflare.connectors.file.partitions import NAMES_LOOKED_AT_MAX, placed_types
from dataflare.connectors.file.settings import CONTAINERS, DOCUMENTS, FileSourceConfig, format_of
from dataflare.connectors.file.stores import Stores
from dataflare.connectors.file.text import TextFile
from dataflare.errors import DataError, Place
from dataflare.formats import guess
from dataflare.formats.csv import infer as csv
from dataflare.formats.jsonl import infer as jsonl
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.component import StageContext


def sampled_schema(context: StageContext, config: FileSourceConfig) -> Schema:
    """Return the union of the columns of the sampled files; columns of which only nulls were seen are strings.

    Raises UnavailableError where there is no file, DataError where files tell no columns, or not the same ones.
    """
    stores = Stores(context, config.s3)
    names = [e.name for e in islice(stores.behind(config, allow_empty=False), NAMES_LOOKED_AT_MAX)]
    most = max(1, config.sample_files - 1)
    spread = sorted({number * (len(names) - 1) // most for number in range(config.sample_files)})
    picked = [names[n] for n in spread]
    kinds = {name: format_of(name, config.format) for name in picked}
    kind = kinds[picked[0]]
    if len({*kinds.values()}) > 1:
        shown = ", ".join(f"{name} ({kinds[name]})" for name in picked)
        raise DataError(
            f"files of several formats: {shown}",
            hint="name those of one format, such as folder/*.csv, or declare `columns`",
        )
    kind = "csv" if kind == "excel" else kind
    placed = placed_types(config, names)
    if kind in CONTAINERS:
        return _with(_contained(stores, picked, kind), placed)
    found: dict[str, str | None] = {}
    for name in picked:
        file = TextFile(stores.of(name).open(name), config)
        try:
            whole = kind in DOCUMENTS and is_document(file, kind, config)
            limit = config.sample_bytes // len(picked)
            head = first_lines(file, config, limit) if whole else file.head(limit)
        finally:
            file.close()
        if kind != "csv":
            if not whole:
                check_lines(head, name)
            found = jsonl.unite(found, jsonl.infer(head))
        else:
            columns = _csv(head, config, name)
            if found and columns and config.header and not found.keys() & columns.keys():
                raise DataError(
                    f"the file has none of the columns of {picked[0]}: it has {', '.join(map(repr, columns))}",
                    hint="is its header there? else declare `columns`, or read these files by a source of their own",
                    place=Place(name),
                )
            for column, guessed in columns.items():
                found[column] = guess.wider(found.get(column), guessed) if guessed else found.get(column)
    if not found:
        raise DataError(
            f"{config.paths[0]} holds no {'header' if kind == 'csv' else 'row'} to tell the columns from",
            hint="declare them: columns: {id: int64, ...}",
        )
    nothing = "string" if kind == "csv" else "json"
    return _with(Schema.of({name: guessed or nothing for name, guessed in found.items()}), placed)


def _with(schema: Schema, placed: Mapping[str, str]) -> Schema:
    """Return the columns of the files and of their names; where both have one, that of the name counts."""
    return Schema.of({**{c.name: c.type for c in schema}, **placed}) if placed else schema


def _csv(head: bytes, config: FileSourceConfig, name: str) -> dict[str, str | None]:
    options = config.csv_options()
    try:
        fields, end = csv.first_record(head, options)
    except DataError as error:
        raise error.at(Place(name)) from None
    if not fields:
        return {}
    if not config.header:
        return csv.infer(head, [f"column_{n}" for n in range(1, len(fields) + 1)], options)
    return csv.infer(head[end:], csv.unique_names(fields), options)


def _contained(stores: Stores, names: list[str], kind: str) -> Schema:
    from dataflare.connectors.file.groups import open_container
    from dataflare.formats.container import infer

    found: dict[str, str] = {}
    for name in names:
        file = open_container(stores.of(name), name, kind)
        try:
            columns = infer(file.schema)
        finally:
            file.close()
        for column in columns:
            before = found.get(column.name, column.type)
            both = wider_type(before, column.type)
            if both is None:
                raise DataError(
                    f"column {column.name!r} is {column.type} here and {before} in other files",
                    hint="declare its type under `columns`",
                    place=Place(name),
                )
            found[column.name] = both
    return Schema.of(found)


__all__ = ["sampled_schema"]
