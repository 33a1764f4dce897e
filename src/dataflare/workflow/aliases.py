"""Rewrites older forms of a workflow into today's, in place, so that older files run unchanged.

Positions stay those of what the author wrote. Where an older and a new word say the same thing twice, the second is
an error.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dataflare.workflow.document import Document, Value, value_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.workflow.findings import Findings

SECTIONS = {"transforms": "transformations", "processors": "transformations", "sinks": "destinations"}
FILE_TYPES = ("arrow", "avro", "csv", "excel", "json", "jsonl", "parquet")
PROCESSOR_TYPES = {"enrich": "enrichment", "map": "mapping"}
CONFIG = {"username": "user"}
FILE_CONFIG = {"file_path": "path", "has_header": "header", "write_header": "header"}
ENRICHMENT_CONFIG = {"lookup_data": "rows", "target_field": "into"}
ENRICHMENT_KEYS = ("source_field", "lookup_key")
OPERATION = "cdc_operation"
BATCH = {"size": "rows", "flush_interval": "period", "max_rows": "rows", "max_bytes": "bytes"}


def rewrite(document: Document, findings: Findings) -> None:
    """Rewrite a whole document."""
    _Rewriter(document, findings).run()


class _Rewriter:
    def __init__(self, document: Document, findings: Findings) -> None:
        self._document, self._findings = document, findings

    def run(self) -> None:
        root = self._document.root
        self._rename(root, SECTIONS)
        self._name(root)
        version = root.map.get("version")
        if version is not None and version.text and isinstance(version.data, int | float):
            version.data = version.text
        for node in self._nodes("sources"):
            self._rename(node, {"collection_mode": "mode"})
            self._component(node)
        self._operation(self._nodes("transformations"))
        for node in self._nodes("transformations"):
            self._type(node, PROCESSOR_TYPES)
            self._component(node)
            self._enrichment(node)
        for node in self._nodes("destinations"):
            self._component(node)
            self._destination(node)

    def _nodes(self, section: str) -> list[Value]:
        found = self._document.root.map.get(section)
        return [v for v in found.map.values() if isinstance(v.data, dict)] if found is not None else []

    def _rename(self, value: Value, words: Mapping[str, str]) -> None:
        """Give entries their new names, keeping the order of the map."""
        if not any(word in value.map for word in words):
            return
        renamed: dict[str, Value] = {}
        for key, entry in value.map.items():
            name = words.get(key, key)
            if name in renamed or (name != key and name in value.map):
                place = self._document.place(())
                mark = entry.key_mark
                self._findings.error(
                    "duplicate_key",
                    f"{key!r} is the older word for {name!r}, which is there too",
                    type(place)(place.file, mark.line, mark.column, key),
                    "remove one of them",
                )
                continue
            renamed[name] = entry
        value.data = renamed

    def _name(self, root: Value) -> None:
        """`name` was a title beside `id`; it goes to the metadata."""
        name = root.map.pop("name", None)
        if name is None:
            return
        metadata = root.map.setdefault("metadata", Value({}, name.mark, name.key_mark))
        metadata.map.setdefault("name", name)

    def _operation(self, nodes: list[Value]) -> None:
        """Older expressions call the kind of a change `cdc_operation`; a column of that name keeps it."""
        configs = [node.map["config"] for node in nodes if "config" in node.map]
        values = (value for config in configs for _, value in config.walk())
        texts = [value for value in values if isinstance(value.data, str) and OPERATION in value.data]
        if texts and not any(path[-1:] == (OPERATION,) for path, _ in self._document.root.walk()):
            for value in texts:
                value.data = re.sub(rf"\b{OPERATION}\b", "_op", value.data)

    @staticmethod
    def _type(node: Value, words: Mapping[str, str]) -> None:
        kind = node.map.get("type")
        if kind is not None and isinstance(kind.data, str):
            kind.data = words.get(kind.data, kind.data)

    def _component(self, node: Value) -> None:
        on_error = node.map.get("on_error")
        if on_error is not None and isinstance(on_error.data, str):
            action = Value(on_error.data, on_error.mark, on_error.key_mark, on_error.text, on_error.ambiguous)
            on_error.data, on_error.text, on_error.ambiguous = {"action": action}, None, False
        config = node.map.get("config")
        if config is not None and isinstance(config.data, dict):
            self._rename(config, CONFIG)
        kind = node.map.get("type")
        if kind is None or not isinstance(kind.data, str):
            return
        if kind.data in FILE_TYPES:
            self._file(node, kind)
        elif kind.data == "file" and config is not None:
            self._rename(config, FILE_CONFIG)

    def _file(self, node: Value, kind: Value) -> None:
        """A type `csv` is a file of that format."""
        config = node.map.setdefault("config", Value({}, kind.mark, kind.key_mark))
        self._rename(config, FILE_CONFIG)
        config.map.setdefault("format", Value(kind.data, kind.mark, kind.key_mark))
        kind.data = "file"

    def _enrichment(self, node: Value) -> None:
        """The older form names two fields that are equal, and the lookup as the last input or as rows.

        Rows may be a map by key; what is found goes into `target_field`, the first row where a key has several.
        """
        config, kind = node.map.get("config"), node.map.get("type")
        if config is None or kind is None or kind.data != "enrichment":
            return
        if not any(word in config.map for word in (*ENRICHMENT_CONFIG, *ENRICHMENT_KEYS)):
            return
        self._rename(config, ENRICHMENT_CONFIG)
        field = config.map.pop("source_field", None)
        equal = config.map.pop("lookup_key", None) or field
        if field is not None and equal is not None:
            config.map.setdefault("keys", Value({str(field.data): equal}, field.mark, field.key_mark))
            config.map.setdefault("multiple", value_of("first", field.mark))
        rows = config.map.get("rows")
        if rows is not None and isinstance(rows.data, dict) and equal is not None:
            rows.data = [_row(key, value, equal) for key, value in rows.data.items()]
        elif rows is not None and isinstance(rows.data, str):
            node.map.setdefault("lookup", config.map.pop("rows"))
        inputs = node.map.get("inputs")
        if rows is None and "from" not in config.map and "lookup" not in node.map and inputs and len(inputs.list) > 1:
            node.map["lookup"] = inputs.list.pop()

    def _destination(self, node: Value) -> None:
        mode = node.map.get("write_mode")
        if mode is not None and isinstance(mode.data, dict):
            key = mode.map.get("merge_key") or mode.map.get("key")
            kind = mode.map.get("type") or mode.map.get("mode") or value_of("append", mode.mark)
            if key is not None and "key" not in node.map:
                node.map["key"] = key
            node.map["write_mode"] = kind
        key = node.map.get("key")
        if key is not None and isinstance(key.data, str):
            node.map["key"] = Value([Value(key.data, key.mark)], key.mark, key.key_mark)
        batch = node.map.get("batch")
        if batch is not None and isinstance(batch.data, dict):
            self._rename(batch, BATCH)


def _row(key: str, value: Value, named: Value) -> Value:
    """Return an entry of a map by key as a row with its key."""
    columns = value.data if isinstance(value.data, dict) else {"value": value}
    return Value({str(named.data): value_of(key, value.key_mark), **columns}, value.mark, value.key_mark)
